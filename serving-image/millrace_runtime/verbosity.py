"""How much a container says: MILLRACE_LOG_LEVEL, one of DEBUG, INFO (the default), WARNING and ERROR."""

from __future__ import annotations

import logging
import os

from millrace.contract import environment

_LEVELS = logging.getLevelNamesMapping()


def shows(level: int) -> bool:
    """Whether a line of that level is written. A level nobody knows hides nothing that INFO would show."""
    return level >= _LEVELS.get(os.environ.get(environment.LOG_LEVEL, "").strip().upper(), logging.INFO)


def number(level: str) -> int:
    """`info` as logging's number; INFO for a word it does not know."""
    return _LEVELS.get(level.upper(), logging.INFO)
