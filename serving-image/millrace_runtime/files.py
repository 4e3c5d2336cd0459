"""Reading files that somebody else wrote: plain ones alone, found through no link, and never more than a limit.

A named pipe would be waited for, a device read for ever, a link followed to a file of ours, a sparse file unpacked.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pathlib
import stat
from collections.abc import Iterator
from typing import IO, Any

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class NotPlainError(Exception):
    """A link, a folder, a pipe, a socket or a device."""


class TooLargeError(Exception):
    """More bytes than the limit."""


@contextlib.contextmanager
def opened(path: pathlib.Path, limit: int) -> Iterator[IO[bytes]]:
    """The file, to be read; neither it nor its folder may be a link.

    Raises FileNotFoundError, NotPlainError, TooLargeError (more than `limit` bytes by its own account).
    """
    folder = _opened(path.parent, os.O_DIRECTORY, None)
    try:
        descriptor = _opened(pathlib.Path(path.name), 0, folder)
    finally:
        os.close(folder)
    held = os.fstat(descriptor)
    if not stat.S_ISREG(held.st_mode) or held.st_size > limit:
        os.close(descriptor)
        raise TooLargeError(path) if stat.S_ISREG(held.st_mode) else NotPlainError(path)
    with os.fdopen(descriptor, "rb") as file:
        yield file


def read(path: pathlib.Path, limit: int) -> bytes:
    """Return the file's bytes. Raises as `opened`."""
    with opened(path, limit) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise TooLargeError(path)
    return data


def parsed(text: str | bytes) -> Any:
    """JSON that somebody else wrote. Raises ValueError: also for half a surrogate pair, which no UTF-8 can carry on,
    and for parts within parts without end.
    """
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("parts within parts without end") from error
    return value


def _opened(path: pathlib.Path, flags: int, folder: int | None) -> int:
    try:
        return os.open(path, _FLAGS | flags, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.EISDIR, errno.ENODEV):
            raise NotPlainError(path) from error
        raise
