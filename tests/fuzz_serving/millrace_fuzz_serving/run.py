"""So many requests to one server, and what became of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from millrace_fuzz_serving import lanes, mutations, verdict
from millrace_fuzz_serving.corpus import Corpus
from millrace_fuzz_serving.mutations import Case

LANES = 48
WARM = 0.2
"""This share of the requests is over when the memory is first looked at."""


@dataclass(frozen=True)
class Id:
    """A request that can be sent again."""

    model: str
    kind: str
    number: int

    def __str__(self) -> str:
        return f"{self.model}/{self.kind}/{self.number}"

    @classmethod
    def parse(cls, text: str) -> Id:
        """Raises ValueError."""
        model, kind, number = text.split("/")
        if kind not in mutations.KINDS:
            raise ValueError(f"no kind {kind}; there are {', '.join(mutations.KINDS)}")
        return cls(model, kind, int(number))


@dataclass
class Findings:
    """Answers by kind and class, and every request that was answered wrongly."""

    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: list[tuple[Id, str, bytes]] = field(default_factory=list)
    warm_kib: int = 0
    last_kib: int = 0

    @property
    def requests(self) -> int:
        """How many were sent."""
        return self.answers.total()

    def count(self, kind: str) -> int:
        """How many faults of a kind."""
        return sum(found == kind for _, found, _ in self.faults)

    @property
    def growth(self) -> float:
        """Of the resident memory since it was warm: 0.1 is a tenth."""
        return self.last_kib / self.warm_kib - 1 if self.warm_kib else 0.0


def ids(model: str, requests: int, seed: int) -> Iterator[Id]:
    """In an order by chance, each kind as often as its weight says."""
    random = Random(f"{seed}/{model}")
    kinds, weights = zip(*mutations.WEIGHTS.items(), strict=True)
    numbers: Counter[str] = Counter()
    for kind in random.choices(kinds, weights, k=requests):
        numbers[kind] += 1
        yield Id(model, kind, numbers[kind])


async def against(
    port: int, pid: int, wanted: list[Id], seed: int, corpora: Mapping[str, Corpus], told: Callable[[], None]
) -> Findings:
    """Send them all; ``told`` is called after each."""
    findings = Findings()
    queue = iter(wanted)

    async def lane() -> None:
        for one in queue:
            sent = mutations.case(one.kind, one.number, seed, corpora, one.model)
            _note(findings, one, sent, await lanes.ask(port, sent))
            if findings.requests == int(len(wanted) * WARM):
                findings.warm_kib = resident_kib(pid)
            told()

    await asyncio.gather(*(lane() for _ in range(LANES)))
    findings.last_kib = resident_kib(pid)
    return findings


def _note(findings: Findings, one: Id, sent: Case, heard: lanes.Heard) -> None:
    status = f"{heard.statuses[0] // 100}xx" if heard.statuses else "closed"
    findings.answers[one.kind, status] += 1
    found = verdict.fault(sent, heard)
    if found:
        findings.faults.append((one, found, heard.data[:300]))


def resident_kib(pid: int) -> int:
    """VmRSS; 0 for a process that is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return int(text.split("VmRSS:")[1].split()[0]) if "VmRSS:" in text else 0
