"""What a process prints, read while it prints: through a terminal of its own where we have one, else through a pipe."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
from collections.abc import Callable, Iterator

CHUNK = 65536
PAUSE = 0.2
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b\][^\x07]*\x07")


def opened(*, terminal: bool) -> tuple[int, int]:
    """Two file descriptors: where we read, and where the process writes."""
    if not terminal:
        return os.pipe()
    ours, theirs = pty.openpty()
    width, height = os.get_terminal_size(sys.stdout.fileno())
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    return ours, theirs


def chunks(descriptor: int, ended: Callable[[], bool]) -> Iterator[bytes]:
    """What comes until nobody can write any more, or the process has ended and what it left behind is silent."""
    while True:
        ready, _, _ = select.select([descriptor], [], [], PAUSE)
        if not ready:
            if ended():
                return
            continue
        try:
            chunk = os.read(descriptor, CHUNK)
        except OSError:  # a terminal that nobody has open any more
            return
        if not chunk:
            return
        yield chunk


def last_lines(printed: bytes, count: int) -> list[str]:
    """Its last lines as a terminal would show them: what was drawn over is gone, colours too."""
    text = _CONTROL.sub("", printed.decode(errors="replace"))
    lines = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines[-count:]
