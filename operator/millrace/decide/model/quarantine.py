"""What a Model says of the quarantine of its bytes: the records say it, whatever becomes of Deployments and Models."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from millrace.api.conditions import Mark
from millrace.api.model import Model, Quarantine
from millrace.api.reasons.pipeline import ModelReason as Reason
from millrace.decide import status
from millrace.render.quarantine import Condemned, Record, Released, is_about, request

QUARANTINED = "Quarantined"
ABORTED = "Aborted: "
"""What the reason of a quarantine begins with that a person asked for."""


def standing(records: Iterable[Record], model: str) -> Quarantine | None:
    """The last condemnation that is about this Model and was not lifted."""
    known = list(records)
    lifted = {record for fact in known if isinstance(fact, Released) for record in fact.lifts}
    condemned = [fact for fact in known if isinstance(fact, Condemned) and is_about(fact, model)]
    held = [fact for fact in condemned if fact.record not in lifted]
    last = max(held, key=lambda fact: (fact.time, fact.record), default=None)
    return Quarantine.model_validate(last.model_dump(by_alias=True)) if last is not None else None


def mark(model: Model, found: Quarantine | None, wanting: Collection[str]) -> Mark:
    """The condition, with the command that ends a quarantine: in the Deployment it failed in, or one that wants it."""
    if found is None:
        return status.mark(QUARANTINED, False, Reason.NotQuarantined, Reason.NotQuarantined.sentence)
    whom = model.metadata
    ended = "was stopped by a person" if found.reason.startswith(ABORTED) else "failed"
    why = f"{whom.name} {ended} in mdep/{found.deployment} ({found.reason}), so no Deployment rolls it out"
    where = found.deployment if found.deployment in wanting or not wanting else min(wanting)
    more = {"deployment": where, "revision": found.revision, "asked": request(found.time)}
    reason = Reason.Quarantined if wanting else None
    text = status.message(reason, why, namespace=whom.namespace, name=whom.name, **more)
    return status.mark(QUARANTINED, True, Reason.Quarantined, text)
