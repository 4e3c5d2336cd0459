"""What asks for a new TrainingRun: one pure function for each kind of trigger, all of them judged in every pass.

A function says when its trigger is ripe, on what evidence, and of what cause: the same cause is answered once,
whichever trigger sees it. Whether a run then starts is not its business; see `retraining`. A new kind is a field of
`api.deployment.Trigger` and a function in `KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from millrace.api import conditions
from millrace.api.base import Frozen
from millrace.api.deployment import DriftTrigger
from millrace.api.deployment_status import RevisionStatus
from millrace.api.quantities import seconds
from millrace.decide.status import later

from .monitoring import DRIFT_DETECTED, DriftReport
from .observation import Observation


class Situation(Frozen):
    """What a trigger looks at while a model serves."""

    seen: Observation
    stable: RevisionStatus
    drift: DriftReport

    @property
    def dataset_digest(self) -> str:
        """Of the version that a new run would train on; empty where there is none."""
        current = self.seen.dataset.status.current if self.seen.dataset is not None else None
        return current.digest if current is not None else ""


class Fired(Frozen):
    """A trigger that asks for a run: not before `ripe_at`."""

    trigger: str
    """Its name in the spec."""
    cause: tuple[str, ...]
    """What makes two demands the same one."""
    ripe_at: datetime
    evidence: str
    needs_newer_data: bool = False
    """Whether a run on the data that stable was trained on would be the same again."""


def judge(situation: Situation) -> tuple[Fired, ...]:
    """Every trigger of the spec that fires, in its order."""
    asked = situation.seen.deployment.spec.retraining
    found = (
        KINDS[kind](situation, trigger.name, wish)
        for trigger in (asked.triggers if asked is not None else ())
        for kind in KINDS
        if (wish := getattr(trigger, kind)) is not None
    )
    return tuple(one for one in found if one is not None)


def on_drift(situation: Situation, name: str, wish: DriftTrigger) -> Fired | None:
    """Drift that has lasted for as long as the trigger asks."""
    seen, mark = situation.seen, situation.drift.mark
    if mark is None or mark.status != "True":
        return None
    known = conditions.find(seen.deployment.status.conditions, DRIFT_DETECTED)
    since = known.last_transition_time if known is not None and known.status == "True" else seen.now
    return Fired(
        trigger=name,
        cause=("drift", situation.dataset_digest, situation.stable.digest),
        ripe_at=later(since, seconds(wish.for_)),
        evidence=f"drift of {situation.stable.model}",
        needs_newer_data=True,
    )


KINDS: Mapping[str, Callable[[Situation, str, Any], Fired | None]] = {"drift": on_drift}
"""By the field of `api.deployment.Trigger` that asks for it."""
