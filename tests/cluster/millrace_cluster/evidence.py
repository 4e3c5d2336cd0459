"""What to read when something failed: whoever starts a process says where its last words are.

    with evidence.offered(lambda: {"envoy.log": log.read_text()}):
        ...

`collect` is asked when a test failed, while its fixtures are up, and by the demo before it takes its cluster down.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

LINES = 40
SOURCES = 6
"""Of everything that runs, what was started last is nearest to the failure."""

Source = Callable[[], Mapping[str, str]]
"""Title -> text, of which the end is read."""

_offered: list[tuple[object, Source]] = []


def offer(owner: object, source: Source) -> None:
    """Read from `source` until `withdraw(owner)`."""
    withdraw(owner)
    _offered.append((owner, source))


def withdraw(owner: object) -> None:
    """The owner's process is gone, or nobody's business any more. Harmless when it never offered anything."""
    _offered[:] = [(one, source) for one, source in _offered if one is not owner]


@contextlib.contextmanager
def offered(source: Source) -> Iterator[None]:
    """Read from `source` while the block runs."""
    offer(source, source)
    try:
        yield
    finally:
        withdraw(source)


def logs(folder: Path) -> dict[str, str]:
    """Every log file of a folder, by its name and the folder's."""
    return {f"{folder.name}/{path.name}": path.read_text(errors="replace") for path in sorted(folder.glob("*.log"))}


def collect() -> dict[str, str]:
    """Title -> the last LINES lines, of what was offered last; empty logs are left out.

    Never raises: a source that cannot be read says why in place of its text.
    """
    found: dict[str, str] = {}
    for _, source in _offered[-SOURCES:]:
        try:
            texts = source()
        except Exception as error:  # noqa: BLE001  the failure that is told of matters more
            texts = {"what could not be read": f"{type(error).__name__}: {error}"}
        for title, text in texts.items():
            lines = text.rstrip().splitlines()[-LINES:]
            if lines:
                found[title] = "\n".join(lines)
    return found
