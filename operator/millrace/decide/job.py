"""A Job and its pods as decisions see them: which container is where, and what it left behind.

Job ── pod (attempt 1, failed) ── fetch ✓  train ✗ exit 1
    └─ pod (attempt 2, live)   ── fetch ✓  train …  evaluate
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from millrace.api.base import Frozen
from millrace.contract.record import MalformedRecord
from millrace.contract.removal import EraseReport
from millrace.contract.report import SnapshotReport, StageFailure, TrainingReport

OUT_OF_MEMORY = "OOMKilled"
DEADLINE_EXCEEDED = "DeadlineExceeded"
REFUSED = "FailedCreate"
"""What the controllers of Jobs and workloads call it when the API server takes no pod of theirs."""
_OF_AMOUNTS = ("quota", "usage per", "limit is", "request is")
"""In what quotas and limit ranges say of a pod that asks for too much or too little."""
PODLESS_SECONDS = 5.0
"""A Job without a pod for so long is asked about."""
ASK_AGAIN_SECONDS = 30.0
_GONE = "ContainerStatusUnknown"
"""What the kubelet says of a container that it does not find any more, as after its node was started again."""
_NEVER_RAN = frozenset({"StartError", "ContainerCannotRun"})
_KILLED = frozenset({137, 143})
"""Exit codes of a process that SIGKILL or SIGTERM ended."""
_PASSING = frozenset({"", "PodInitializing", "ContainerCreating"})


class Container(Frozen):
    """One container of a pod, init containers first in `Pod.containers`."""

    name: str
    state: Literal["Waiting", "Running", "Terminated"] = "Waiting"
    reason: str = ""
    """Why it waits (`ImagePullBackOff`) or ended (`OOMKilled`)."""
    message: str = ""
    """What the kubelet says about waiting, or the termination message."""
    exit_code: int | None = None

    @property
    def is_done(self) -> bool:
        """It ended well: the next one may start."""
        return self.state == "Terminated" and self.exit_code == 0

    @property
    def is_failed(self) -> bool:
        """It ended otherwise."""
        return self.state == "Terminated" and self.exit_code != 0


class Pod(Frozen):
    """One attempt of a Job. `reason` says why the kubelet ended it, if it did."""

    name: str
    created: datetime | None = None
    phase: str = ""
    reason: str = ""
    """Of the whole pod: `Evicted`, or `Unschedulable` while no node takes it."""
    message: str = ""
    containers: tuple[Container, ...] = ()

    @property
    def current(self) -> Container | None:
        """The container that has the turn: the first that has not ended well."""
        return next((container for container in self.containers if not container.is_done), None)

    def loss_of(self, container: Container) -> str:
        """Why a container failed without a fault of its own, or nothing: it could not be started, its pod was evicted,
        its node was shut down or started again. One that ran out of memory has its own fault.
        """
        if container.reason in _NEVER_RAN:
            return (
                f"container {container.name} could not be started: {last_line(container.message) or container.reason}"
            )
        if container.reason == _GONE:
            return f"{_GONE}: {last_line(container.message) or 'its node was started again'}"
        is_killed = container.exit_code in _KILLED and container.reason != OUT_OF_MEMORY
        return f"{self.reason}: {self.message}".removesuffix(": ") if self.reason and is_killed else ""

    @property
    def trouble(self) -> str:
        """Why it does not start, or nothing: a pull, a missing Secret, no node with room."""
        if self.phase in ("Failed", "Succeeded"):
            return ""
        if self.reason == "Unschedulable":
            return f"{self.reason}: {self.message}"
        waiting = (one for one in self.containers if one.state == "Waiting" and one.reason not in _PASSING)
        found = next(waiting, None)
        return f"{found.reason}: {found.message}" if found is not None else ""


class Job(Frozen):
    """A Job of ours. `pods` are sorted, the newest last."""

    name: str
    uid: str
    state: Literal["Active", "Succeeded", "Failed"] = "Active"
    reason: str = ""
    """Why it failed, in Kubernetes' words: `BackoffLimitExceeded`, `DeadlineExceeded`, `PodFailurePolicy`."""
    message: str = ""
    failed: int = 0
    is_going: bool = False
    created: datetime | None = None
    finished: datetime | None = None
    refusal: str = ""
    """What the API server says while it takes no pod of this Job: a quota, a limit range, Pod Security."""
    pods: tuple[Pod, ...] = ()

    @property
    def is_finished(self) -> bool:
        return self.state != "Active"

    @property
    def live(self) -> Pod | None:
        """The newest pod that has not ended."""
        alive = [pod for pod in self.pods if pod.phase not in ("Failed", "Succeeded")]
        return alive[-1] if alive else None

    @property
    def trouble(self) -> str:
        """Why the live pod does not start."""
        return self.live.trouble if self.live is not None else ""

    def look_again(self, now: datetime) -> float | None:
        """Seconds until it is worth asking why there is no pod: no watch would tell. None while there is one."""
        if self.is_finished or self.is_going or self.live is not None:
            return None
        age = (now - self.created).total_seconds() if self.created is not None else 0.0
        return max(1.0, PODLESS_SECONDS - age) if age < PODLESS_SECONDS else ASK_AGAIN_SECONDS

    def termination_messages(self) -> Iterator[tuple[Pod, Container]]:
        """Ended containers that left a message, the newest pod's last container first."""
        for pod in reversed(self.pods):
            for container in reversed(pod.containers):
                if container.state == "Terminated" and container.message:
                    yield pod, container

    def first_failure(self) -> tuple[Pod, Container | None] | None:
        """The newest pod that failed, and its first container that did; None when no failed pod is left."""
        for pod in reversed(self.pods):
            failed = next((container for container in pod.containers if container.is_failed), None)
            if failed is not None or pod.phase == "Failed":
                return pod, failed
        return None


def snapshot_report(job: Job) -> SnapshotReport | None:
    """What the newest snapshot container reported, if it can be read."""
    for _, container in job.termination_messages():
        try:
            return SnapshotReport.from_json(container.message)
        except MalformedRecord:
            continue
    return None


def erase_reports(job: Job) -> list[EraseReport]:
    """What its attempts reported, as far as their pods are there and it can be read, the last one first."""
    found = []
    for _, container in job.termination_messages():
        try:
            found.append(EraseReport.from_json(container.message))
        except MalformedRecord:
            continue
    return found


def training_report(container: Container) -> TrainingReport | None:
    """The evaluator's report, if this is one."""
    try:
        return TrainingReport.from_json(container.message)
    except MalformedRecord:
        return None


def stage_failure(container: Container) -> StageFailure | None:
    """What a stage says about its failure, if it says so."""
    try:
        return StageFailure.from_json(container.message)
    except MalformedRecord:
        return None


def is_forbidden(words: str) -> bool:
    """Whether the API server refuses a pod for what it is, such as Pod Security or a webhook, and no quota or limit."""
    return "forbidden" in words and not any(sign in words for sign in _OF_AMOUNTS)


def last_line(text: str, limit: int = 300) -> str:
    """The last line that says something: of a traceback it is the one people read."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:limit] if lines else ""
