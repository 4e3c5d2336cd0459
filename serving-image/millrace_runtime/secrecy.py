"""Keeps a container's credentials from processes of the same user: what runs a stranger's model runs as we do.

Another process of this user may read `/proc/PID/environ`, the environment a process was started with, and attach to
it or read its memory (ptrace(2)). So the bytes of that first environment are overwritten once they are copied, and the
process is marked as not dumpable (prctl(2)), by which all three need a privilege that no container of ours has.
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_DUMPABLE = 4


def keep() -> None:
    """Hide this process. Its own variables stay as they are; does nothing on systems without /proc."""
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    _overwrite_environment(libc)


def _overwrite_environment(libc: ctypes.CDLL) -> None:
    """Variables are put where malloc finds room; the strings that the kernel laid out at the start become zeros."""
    held = dict(os.environb)
    first = ctypes.POINTER(ctypes.c_void_p).in_dll(libc, "environ")
    places: list[int] = []
    if bool(first):  # a null pointer is false
        while (place := first[len(places)]) is not None:
            places.append(place)
    for place in places:
        ctypes.memset(place, 0, len(ctypes.string_at(place)))
    libc.clearenv()
    for name, value in held.items():
        os.putenv(name, value)
