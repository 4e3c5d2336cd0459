"""How much a container says: MILLRACE_LOG_LEVEL, one of DEBUG, INFO (the default), WARNING and ERROR."""

from __future__ import annotations

import os

from millrace.contract import environment

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


def shows(level: str) -> bool:
    """Whether a line of that level is written. A level nobody knows hides nothing that INFO would show."""
    wanted = os.environ.get(environment.LOG_LEVEL, "info").strip().lower()
    return _LEVELS.get(level, 20) >= _LEVELS.get(wanted, 20)
