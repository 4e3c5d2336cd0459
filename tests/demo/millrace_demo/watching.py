"""One object as the API server tells of its changes: a single kubectl that stays, where asking again and again would
start one for every answer, and might miss a state that does not last.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from typing import Any

Manifest = dict[str, Any]


class Ended(RuntimeError):
    """kubectl said no; the message is what it said."""


def states(command: Sequence[str], deadline: float) -> Generator[Manifest | None, None, None]:
    """Each state of one object, the present one first, and None when it is deleted; until `deadline` (time.monotonic).

    `command` is a kubectl that prints watch events as JSON. API servers end a watch after a while: then this ends too.

    Raises:
        Ended: kubectl failed, and had told nothing before.
    """
    with tempfile.TemporaryFile("w+") as said, subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said
    ) as process:  # fmt: skip
        assert process.stdout is not None
        told = False
        try:
            for event in _events(process.stdout.fileno(), deadline):
                if event["type"] == "ERROR":
                    break
                told = True
                yield None if event["type"] == "DELETED" else event["object"]
            else:
                if time.monotonic() < deadline and process.wait() and not told:
                    said.seek(0)
                    raise Ended(said.read().strip())
        finally:
            process.kill()


def _events(descriptor: int, deadline: float) -> Iterator[dict[str, Any]]:
    """What is printed, one JSON value a line, each as soon as it is whole, until the end or `deadline`."""
    begun = b""
    while (left := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select([descriptor], [], [], left)
        chunk = os.read(descriptor, 1 << 16) if ready else b""
        if not chunk:
            return
        *lines, begun = (begun + chunk).split(b"\n")
        yield from map(json.loads, lines)
