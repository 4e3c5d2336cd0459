"""A condition before its message is written."""

from __future__ import annotations

from pydantic import Field

from millrace.api.base import Frozen
from millrace.api.conditions import Mark
from millrace.api.reasons.deployment import DeploymentReason as Reason

from . import messages
from .finding import Awaits, Finding
from .observation import Observation

HELD_UP = frozenset({Reason.PodNotStarted, Reason.PodRefused, Reason.ProgressDeadlineExceeded})
"""What is more than a matter of seconds."""


class Statement(Frozen):
    """A condition before its message is written; `why` is what there is to add to the reason."""

    kind: str
    holds: bool
    reason: Reason
    why: str = ""
    advice: Reason | None = None
    fields: dict[str, str] = Field(default_factory=dict)

    def mark(self, seen: Observation) -> Mark:
        """The condition."""
        return messages.mark(seen, self.kind, self.holds, self.reason, self.why, self.advice, **self.fields)

    def message(self, seen: Observation, why: str = "") -> str:
        """The condition's message, with `why` in place of its own."""
        return messages.message(seen, self.reason, why or self.why, self.advice, **self.fields)


def missing(kind: str, finding: Finding, *, holds: bool) -> Statement:
    """What is waited for; where a run under way brings it, the run is what to look at."""
    advice = Reason.RunStarted if finding.awaits is Awaits.MACHINE else finding.advice
    return Statement(
        kind=kind,
        holds=holds,
        reason=finding.reason or Reason.NoApprovedModel,
        why=why_of(finding),
        advice=advice,
        fields=finding.fields,
    )


def why_of(finding: Finding) -> str:
    """What is to be said of it."""
    return finding.why or f"waiting for {finding.waiting_for}"
