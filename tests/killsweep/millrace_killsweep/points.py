"""Which writes the operator is killed after, and the record of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from .writes import Write

Fate = Literal["killed", "repeated", "spared", "undisturbed"]


@dataclass(frozen=True)
class Point:
    """An effective write: seconds since the start, the how-manieth of its verb on that object, and what came of it."""

    at: float
    write: Write
    ordinal: int
    fate: Fate


@dataclass
class Points:
    """Every effective write of the sweep.

    Two bounds keep the operator from never getting anywhere: the same content on the same object is killed once, and a
    place (verb, kind, name without its hash) at most `most` times; 0 kills never.
    """

    most: int
    clock: Callable[[], float] = time.monotonic
    seen: list[Point] = field(default_factory=list)
    _begun: float = 0.0
    _killed: set[Write] = field(default_factory=set)
    _places: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    _ordinals: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._begun = self.clock()

    def judge(self, write: Write) -> bool:
        """Note an effective write; whether the operator dies of it."""
        target = write.target
        identity = (write.verb, target.kind, target.namespace, target.name)
        self._ordinals[identity] += 1
        fate = self._fate(write)
        if fate == "killed":
            self._killed.add(write)
            self._places[write.place] += 1
        self.seen.append(Point(self.clock() - self._begun, write, self._ordinals[identity], fate))
        return fate == "killed"

    def _fate(self, write: Write) -> Fate:
        if self.most == 0:
            return "undisturbed"
        if write in self._killed:
            return "repeated"
        return "killed" if self._places[write.place] < self.most else "spared"

    @property
    def kills(self) -> int:
        """How often the operator was killed."""
        return len(self._killed)

    def created(self, resource: str) -> Counter[str]:
        """How often an object of each name was effectively created or applied."""
        names = (one.write.target.name for one in self.seen if one.write.verb in {"create", "apply"}
                 and one.write.target.kind == resource)  # fmt: skip
        return Counter(names)
