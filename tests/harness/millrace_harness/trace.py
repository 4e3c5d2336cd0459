"""What an operator asked and was shown during a run: the places where a fault can be put."""

from __future__ import annotations

from dataclasses import dataclass, field

UNCOUNTED = frozenset({"leases", "events"})
"""Leases say who is alive, Events are a courtesy: a crash around them is no new state of the world."""


@dataclass(frozen=True)
class Asked:
    """A request. `nth` counts the requests of its site, `effect` those of them that changed something (else 0)."""

    site: str
    nth: int
    at: float
    status: int
    effect: int = 0

    @property
    def kind(self) -> str:
        return self.site.partition(" ")[2]


@dataclass(frozen=True)
class Shown:
    """An event of a watch. `nth` counts those of its kind."""

    kind: str
    nth: int
    at: float
    event: str
    name: str
    uid: str
    version: str


@dataclass
class Trace:
    """One run, in order."""

    asked: list[Asked] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    written: set[str] = field(default_factory=set)
    """Versions that the operator made."""
    is_closed: bool = False
    """Nothing is recorded any more: the workload is over, and what comes is the look at whether it is at rest."""

    def ask(self, one: Asked) -> None:
        if not self.is_closed:
            self.asked.append(one)

    def show(self, one: Shown) -> None:
        if not self.is_closed:
            self.shown.append(one)

    @property
    def effects(self) -> list[Asked]:
        """Requests that changed something that counts."""
        return [one for one in self.asked if one.effect and one.kind not in UNCOUNTED]

    @property
    def sites(self) -> dict[str, int]:
        """Every call site, with how often it was used."""
        found: dict[str, int] = {}
        for one in self.asked:
            found[one.site] = found.get(one.site, 0) + 1
        return found

    def followed(self, one: Shown, within: float) -> bool:
        """Whether the next thing that happened to that very object, within so many seconds, was somebody else's: it
        happens whether or not the operator sees this. What comes after a write of the operator's may wait for it, and
        so may whoever deletes the object: the operator cleans up what it has seen, a person what came to its end.
        """
        later = self.shown[self.shown.index(one) + 1 :]
        following = next((other for other in later if other.uid == one.uid), None)
        if following is None or following.event == "DELETED" or following.version in self.written:
            return False
        return following.at <= one.at + within
