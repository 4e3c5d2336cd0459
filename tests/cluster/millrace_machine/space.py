"""How much disk a command takes that has never run here, and whether that much is free."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from millrace_machine import packages, places, wants
from millrace_machine.problem import Problem

SPARE_GIB = 1.0


@dataclass(frozen=True)
class Room:
    """What fills up a directory once. `taken` says that it is there already."""

    what: str
    needed_for: frozenset[str]
    gib: float
    place: Callable[[], Path]
    taken: Callable[[], bool]


def _any(place: Callable[[], Path], pattern: str) -> Callable[[], bool]:
    return lambda: any(place().glob(pattern))


# Measured with du and rounded up; images, peers and cluster are generous guesses.
ROOMS = (
    Room("the Python environment", frozenset({packages.PYTHON}), 1.2, lambda: places.CHECKOUT,
         lambda: any((places.CHECKOUT / ".venv").glob(".lock-*"))),
    Room("Python packages as they were downloaded", frozenset({packages.PYTHON}), 1.2, places.user_cache,
         lambda: any((places.CHECKOUT / ".venv").glob(".lock-*"))),
    Room("Go's downloads", frozenset({packages.PROGRAMS}), 1.4, places.go_modules,
         _any(places.cache, "bin/versitygw-*/versitygw")),
    Room("what Go compiled", frozenset({packages.PROGRAMS}), 3.5, places.go_builds,
         _any(places.cache, "bin/versitygw-*/versitygw")),
    Room("the programs", frozenset({packages.PROGRAMS}), 0.8, places.cache,
         _any(places.cache, "bin/versitygw-*/versitygw")),
    Room("the images", frozenset({wants.IMAGES}), 4.0, places.cache, _any(places.cache, "images/trainer-*.tar")),
    Room("the peers' environments", frozenset({wants.PEERS}), 3.0, places.cache,
         _any(places.cache, "peers/*/complete")),
    Room("the cluster while it runs", frozenset({packages.NODE}), 4.0, lambda: places.CLUSTER, lambda: False),
)  # fmt: skip


def check(needs: Iterable[str]) -> None:
    """Raises Problem, for the first file system that has too little room."""
    wanted = frozenset(needs)
    filling: dict[int, list[tuple[Room, Path]]] = {}
    for room in ROOMS:
        if room.needed_for & wanted and not room.taken():
            place = _existing(room.place())
            filling.setdefault(place.stat().st_dev, []).append((room, place))
    for rooms in filling.values():
        needed = sum(room.gib for room, _ in rooms) + SPARE_GIB
        place = rooms[0][1]
        free = shutil.disk_usage(place).free / 2**30
        if free < needed:
            each = ", ".join(f"{room.gib:g} GiB for {room.what}" for room, _ in rooms)
            raise Problem(f"the disk of {place} has {free:.1f} GiB free, {needed:.1f} GiB are needed", each,
                          f"df -h {place}  # or keep what is built on another: MILLRACE_CACHE=<directory>")  # fmt: skip


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
