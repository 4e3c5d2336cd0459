"""What a look at a rollout finds: a signal, why, and what is waited for."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from pydantic import Field

from millrace.api.base import Frozen
from millrace.api.deployment_status import AnalysisResult, DeploymentStatus, RevisionStatus
from millrace.api.reasons.deployment import DeploymentReason as Reason

from .observation import Observation


class Signal(Enum):
    """What was seen. Of several the first in this order counts."""

    LOST = "the Model that serves and its servers were deleted"
    ABORTED = "a person stops this canary"
    WITHDRAWN = "the canary's Model is not approved any more"
    CONDEMNED = "the canary's bytes are in quarantine"
    SUPERSEDED = "another revision is wanted"
    BROKEN = "the model cannot be served"
    FAILED = "an analysis failed"
    EXTENDED = "a person gives a held analysis more time"
    RESUMED = "the servers are back, and the analysis had no time"
    NEW = "a revision is wanted that is not served"
    RENAMED = "the bytes that serve are wanted under another Model's name"
    READY = "the next weight may be set"
    DONE = "the step is over"
    INCONCLUSIVE = "the analysis ran out of time"
    STUCK = "pods are not there, and have not been for longer than the spec allows"
    WAITING = "something is not there yet"
    HELD = "what is wanted needs a person's word"
    SETTLED = "stable is what is wanted"


class CanaryContext(Frozen):
    """What a check looks at while there is a canary."""

    seen: Observation
    state: DeploymentStatus
    canary: RevisionStatus


class Awaits(Enum):
    """Who can bring what is not there: what only a person can bring is stalled."""

    MACHINE = "a run is under way, or a Model is about to be judged"
    ANYBODY = "it may be on its way: for as long as a rollout may wait"
    PERSON = "a person decides"


class Finding(Frozen):
    """What a check found. `reason` is None where there is nothing to report, `why` is about this case."""

    signal: Signal
    reason: Reason | None = None
    why: str = ""
    fields: dict[str, str] = Field(default_factory=dict)
    """What the reason's next command is to be filled in with."""
    advice: Reason | None = None
    """Whose next command helps, if it is not the reason's own."""
    waiting_for: str = ""
    until: datetime | None = None
    """When time alone may change the finding."""
    results: tuple[AnalysisResult, ...] = ()
    awaits: Awaits | None = None
    """Who can bring what the spec asks for and what is not there."""
