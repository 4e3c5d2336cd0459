"""The closed loop once, told to an operator that is being killed, with a caller that must not notice."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from millrace_demo import data, objects, sources, timeline, traffic
from millrace_demo.kubectl import Kubectl, Manifest, TimedOut, is_true

from .forward import forwarded
from .supervisor import Supervisor, wait_until

NAME = "visits"
GRACE_SECONDS = 60.0
"""Pods that are being deleted have 30 s to answer what they were asked."""
RATE = 100.0
ROWS_OF_A = 1500
REFRESH = "30s"

Watcher = Callable[[str, traffic.Tally | None], None]
"""Called about twice a second with the last word of the story and what the caller saw so far."""


@dataclass(frozen=True)
class Told:
    """What was seen while the story was told."""

    moments: list[timeline.Moment]
    words: list[str]
    tally: traffic.Tally


def tell(kubectl: Kubectl, supervisor: Supervisor, patience: float, watcher: Watcher) -> Told:
    """The whole story. Raises TimedOut with the last status when a part of it takes longer than `patience` seconds."""
    first, second = data.slices()
    with sources.open_sources(kubectl) as store, timeline.Timeline(kubectl, only=NAME) as seen:
        uri = store.put(f"sources/{NAME}/a.csv", first.csv).rsplit("/", 1)[0] + "/"
        kubectl.apply(
            objects.dataset(NAME, uri, REFRESH),
            objects.training_run(NAME, NAME, NAME, kubectl.whoami()),
            objects.deployment(NAME, NAME, NAME),
        )
        pace = _Pace(kubectl, supervisor, seen, watcher, patience)
        pace.until(lambda: "serving" in seen.words(), "Ready")
        with forwarded(kubectl, f"svc/{NAME}", 80) as url, traffic.Caller(url, NAME, first.rows, RATE) as caller:
            pace.tally = caller.tally
            pace.until(lambda: caller.tally.sent >= ROWS_OF_A, f"{ROWS_OF_A} requests of slice A")
            store.put(f"sources/{NAME}/b.csv", second.csv)
            caller.rows = second.rows
            pace.until(lambda: "promoted" in seen.words(), "promoted")
            # From now on people of both slices call, as the new model expects: nothing is left to be done.
            caller.rows = random.Random(0).sample(first.rows + second.rows, len(first.rows) + len(second.rows))
            pace.until(lambda: _is_settled(kubectl.get("mdep", NAME)), "settled: nothing retiring, ready")
            wait_until(lambda: not _are_going(kubectl.list("pods")), GRACE_SECONDS, pause=1.0)
        return Told(list(seen.moments), seen.words(), caller.tally)


@dataclass
class _Pace:
    """Waits, shows how it goes, and gives up."""

    kubectl: Kubectl
    supervisor: Supervisor
    seen: timeline.Timeline
    watcher: Watcher
    patience: float
    tally: traffic.Tally | None = None

    def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + self.patience
        while not wait_until(condition, 0.5, pause=0.25):
            self.supervisor.check()
            words = self.seen.words()
            self.watcher(words[-1] if words else "applied", self.tally)
            if time.monotonic() >= deadline:
                found = self.kubectl.get("mdep", NAME) or {}
                raise TimedOut(f"not within {self.patience:.0f} s: {what}; mdep/{NAME}: {found.get('status')}")


def _are_going(pods: list[Manifest]) -> bool:
    return any("deletionTimestamp" in pod["metadata"] for pod in pods)


def _is_settled(item: Manifest | None) -> bool:
    if item is None or not is_true(item, "Ready"):
        return False
    status = item["status"]
    return not status.get("retiring") and not status.get("canary") and status["stable"]["weight"] == 100
