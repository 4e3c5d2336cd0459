"""What a look at a rollout finds: a signal, why, and what is waited for."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from pydantic import Field

from millrace.api.base import Frozen
from millrace.api.deployment_status import AnalysisResult
from millrace.api.reasons.deployment import DeploymentReason as Reason


class Signal(Enum):
    """What was seen. Of several the first in this order counts."""

    RELEASED = "a person lifts a quarantine"
    ABORTED = "a person stops this canary"
    WITHDRAWN = "the canary's Model is not approved any more"
    SUPERSEDED = "another revision is wanted"
    BROKEN = "the model cannot be served"
    FAILED = "an analysis failed"
    OVERDUE = "the servers did not get ready in time"
    EXTENDED = "a person gives a held analysis more time"
    NEW = "a revision is wanted that is not served"
    READY = "the next weight may be set"
    DONE = "the step is over"
    INCONCLUSIVE = "the analysis ran out of time"
    WAITING = "something is not there yet"
    SETTLED = "stable is what is wanted"


class Finding(Frozen):
    """What a check found. `reason` is None where there is nothing to report, `why` is about this case."""

    signal: Signal
    reason: Reason | None = None
    why: str = ""
    fields: dict[str, str] = Field(default_factory=dict)
    """What the reason's next command is to be filled in with."""
    action: str = ""
    """The request in spec.actions that is being carried out."""
    waiting_for: str = ""
    until: datetime | None = None
    """When time alone may change the finding."""
    results: tuple[AnalysisResult, ...] = ()
