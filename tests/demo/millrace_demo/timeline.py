"""Notices what happens to the objects of the story, and when."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from .kubectl import CommandFailed, Kubectl, is_true

Manifest = dict[str, Any]
STORY = ("frozen", "succeeded", "approved", "serving", "drift", "started", "canary", "promoted")
BY_CAUSE = (
    "frozen", "drift", "started", "fetching", "training", "succeeded", "failed", "approved", "serving", "canary",
    "rolled-back", "promoted",
)  # fmt: skip
"""The order in which what is seen in one look is told: what caused something comes before it."""
KINDS = "jobs.batch,datasets.millrace.dev,trainingruns.millrace.dev,models.millrace.dev,deployments.millrace.dev"
"""What is looked at, by one kubectl."""


@dataclass(frozen=True)
class Moment:
    """One line of the timeline: seconds since the start, the word, and what it was about."""

    at: float
    word: str
    detail: str


class Timeline:
    """Polls objects whose names start with `only` in the background and keeps when each thing was first seen."""

    def __init__(self, kubectl: Kubectl, say: Callable[[Moment], None] = lambda _: None, only: str = "") -> None:
        self.moments: list[Moment] = []
        self._kubectl = kubectl
        self._say = say
        self._only = only
        self._seen: set[tuple[str, str]] = set()
        self._begun = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="timeline", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    def note(self, word: str, detail: str) -> None:
        """Add a line, unless the same was noted before."""
        if (word, detail) in self._seen:
            return
        self._seen.add((word, detail))
        moment = Moment(time.monotonic() - self._begun, word, detail)
        self.moments.append(moment)
        self._say(moment)

    def words(self) -> list[str]:
        """The words of the story in the order of their first appearance."""
        firsts = dict.fromkeys(moment.word for moment in self.moments)
        return [word for word in firsts if word in STORY]

    def told(self) -> bool:
        """Whether the whole story was seen, in order."""
        return self.words() == list(STORY)

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                self._look()
            except CommandFailed as error:
                self.note("unseen", str(error)[:120])
            self._stop.wait(0.4)

    def _look(self) -> None:
        for word, detail in noticed(self._kubectl.list(KINDS), self._only):
            self.note(word, detail)


def noticed(items: Sequence[Manifest], only: str = "") -> list[tuple[str, str]]:
    """(word, detail) of all that objects whose names start with `only` say now, causes before what they caused."""
    # A Model may be approved a moment before its run says that it succeeded: it is told once the run has.
    under_way = {
        item["metadata"]["name"] for item in items if item["kind"] == "TrainingRun" and not is_true(item, "Complete")
    }
    found = [
        notice
        for item in items
        if item["metadata"]["name"].startswith(only) and _run_of(item) not in under_way
        for notice in NOTICE[item["kind"]](item)
    ]
    return sorted(found, key=lambda notice: BY_CAUSE.index(notice[0]))


def _job(item: Manifest) -> Iterator[tuple[str, str]]:
    if item["metadata"].get("labels", {}).get("millrace.dev/component") == "training":
        yield "fetching", f"Job {item['metadata']['name']} begins with the rows to train on"


def _run_of(item: Manifest) -> str:
    """The run that made a Model; empty for everything else."""
    provenance = item["spec"].get("provenance", {}) if item["kind"] == "Model" else {}
    return str(provenance.get("trainingRunRef", {}).get("name", ""))


def _dataset(item: Manifest) -> Iterator[tuple[str, str]]:
    name = item["metadata"]["name"]
    for version in reversed(item.get("status", {}).get("versions", [])):
        yield "frozen", f"Dataset {name} version {version['version']}, {version['rows']} rows"


def _training_run(item: Manifest) -> Iterator[tuple[str, str]]:
    name, status = item["metadata"]["name"], item.get("status", {})
    labels = item["metadata"].get("labels", {})
    if "millrace.dev/trigger" in labels:
        trigger, deployment = labels["millrace.dev/trigger"], labels.get("millrace.dev/deployment")
        yield "started", f"TrainingRun {name}, by trigger {trigger} of Deployment {deployment}"
    if status.get("stage") in ("Training", "Evaluating") or is_true(item, "Complete"):
        yield "training", f"TrainingRun {name}"
    if is_true(item, "Complete"):
        made = f"TrainingRun {name} made Model {status.get('modelRef', {}).get('name')}"
        yield "succeeded", f"{made} ({_measured(status)})"
    if is_true(item, "Failed"):
        yield "failed", f"TrainingRun {name}: {status.get('message', '')}"


def _measured(status: Manifest) -> str:
    """The model's numbers, and those of the champion, which can be held against them: they are of the same rows."""
    champion = status.get("resolved", {}).get("champion")
    theirs = _listed(status.get("championMetrics", []))
    return _listed(status.get("metrics", [])) + (f"; {champion['name']} on the same rows: {theirs}" if champion else "")


def _listed(metrics: Sequence[Manifest]) -> str:
    return ", ".join(f"{metric['name']} {float(metric['value']):.3f}" for metric in metrics)


def _model(item: Manifest) -> Iterator[tuple[str, str]]:
    if is_true(item, "Approved"):
        yield "approved", f"Model {item['metadata']['name']}"


def _deployment(item: Manifest) -> Iterator[tuple[str, str]]:
    status = item.get("status", {})
    stable, canary, rollout = status.get("stable"), status.get("canary"), status.get("rollout", {})
    replaced = [entry for entry in status.get("history", []) if entry.get("outcome") == "Replaced"]
    if stable and is_true(item, "Ready") and not replaced and stable["weight"] == 100:
        yield "serving", f"{stable['model']} at 100 %"
    if is_true(item, "DriftDetected"):
        drift = status.get("monitoring", {}).get("drift", {})
        feature, score = drift.get("worstFeature"), drift.get("score")
        yield "drift", f"in {feature}: {score} apart from the rows trained on (0 is alike, 1 has nothing in common)"
    if stable and canary and canary["weight"] > 0:
        yield "canary", f"{canary['model']} at {canary['weight']} %"
    if rollout.get("lastVerdict") == "RolledBack":
        yield "rolled-back", f"{rollout.get('lastVerdictRevision')}: {rollout.get('lastVerdictReason')}"
    if replaced and stable:
        yield "promoted", f"{stable['model']} serves all traffic in place of {replaced[0]['model']}"


NOTICE: dict[str, Callable[[Manifest], Iterator[tuple[str, str]]]] = {
    "Job": _job,
    "Dataset": _dataset,
    "TrainingRun": _training_run,
    "Model": _model,
    "Deployment": _deployment,
}
