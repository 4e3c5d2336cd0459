"""The evaluator's other processes, run in this one: a test that looks at what a model answers starts none.

What they read and leave goes through the same files, and how they end by the same codes. What a process of its own is
for (`test_child`, `test_limits`, `test_vetting`) is tested with one.
"""

from __future__ import annotations

import importlib
import pathlib
import resource


def exit_code(module: str, folder: pathlib.Path, seconds: float) -> int:
    """In place of `child._exit_code`. A limit that the other process sets for good ends with the call."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    try:
        code: int = importlib.import_module(module)._child(folder)
        return code
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
