"""Which bytes may not be rolled out: what failed in any Deployment of the namespace and was not let go by a person.

    a canary fails --> an entry in status.quarantined and a record of it, the record first
    a record       --> an entry in every Deployment that could serve those bytes
    unquarantine   --> a record that lifts them; in the next pass every such entry goes

Records (`render.quarantine`) belong to nobody, so neither a Deployment that is deleted nor a Model that is made again
loses one. The status keeps what it knows until it sees that a person lifted it: a cache that is behind, or a list from
the past, brings nothing back.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from millrace.api.deployment_status import DeploymentStatus, Quarantined
from millrace.api.reasons.deployment import DeploymentReason as Reason
from millrace.decide.plan import Event, Manifest
from millrace.render import quarantine as records
from millrace.render import server
from millrace.render.quarantine import Condemned, Record, Released

from . import actions, messages, target
from .observation import Observation

MOST_SHOWN = 50
"""What status.quarantined and status.released hold; the records hold the rest."""


def merged(seen: Observation, state: DeploymentStatus) -> tuple[DeploymentStatus, tuple[Event, ...]]:
    """The memory with every condemnation that holds, its own and others', and without those that were lifted.

    What this Deployment was asked to lift, and has lifted since its status was written, is told and marked as done.
    """
    released = [fact for fact in seen.records if isinstance(fact, Released)]
    lifted = {*state.released, *(record for fact in released for record in fact.lifts)}
    known = {one.record: one for one in (_named(seen, entry) for entry in state.quarantined)}
    for fact in seen.records:
        if isinstance(fact, Condemned) and _concerns(seen, state, fact):
            known.setdefault(fact.record, _entry(fact))
    events: list[Event] = []
    held_before, remembered = {one.record for one in state.quarantined}, set(state.released)
    for fact in released:
        # Of more than are remembered, what was held until now is news alone.
        is_unknown = len(remembered) < MOST_SHOWN and not set(fact.lifts) <= remembered
        is_news = is_unknown or not held_before.isdisjoint(fact.lifts)
        if is_news and fact.deployment_uid == seen.deployment.metadata.uid:
            state = actions.carried_out(seen, state, fact.request)
            events += [told(seen, known[record]) for record in fact.lifts[:1] if record in known]
    held = sorted((one for one in known.values() if one.record not in lifted), key=lambda one: (one.time, one.revision))
    changes = {"quarantined": tuple(held), "released": _remembered(lifted, released)}
    return state.model_copy(update=changes), tuple(events)


def _concerns(seen: Observation, state: DeploymentStatus, fact: Condemned) -> bool:
    """Whether it is about a Model that this Deployment has to do with."""
    models = {model.metadata.name for model in seen.models if model.spec.artifact.digest == fact.digest}
    models |= {one.model for one in (state.stable, state.canary) if one is not None and one.digest == fact.digest}
    return any(records.is_about(fact, name) for name in models)


def condemned(seen: Observation, state: DeploymentStatus, cause: str, why: str) -> DeploymentStatus:
    """The memory with the canary's bytes in quarantine; unchanged if they are already."""
    canary, memory = state.canary, state.rollout
    if canary is None or target.quarantine_of(state, canary) is not None:
        return state
    fact = records.condemned(
        seen.deployment.metadata.uid,
        (memory.started_time if memory is not None else None) or canary.since,
        digest=canary.digest,
        model=canary.model,
        revision=canary.revision,
        deployment=seen.deployment.metadata.name,
        cause=cause,
        reason=why[:256],
        time=seen.now,
    )
    return state.model_copy(update={"quarantined": (*state.quarantined, _entry(fact))})


def lifted_by(seen: Observation, state: DeploymentStatus, action: str) -> tuple[Quarantined, ...]:
    """The entries that an open request lifts: all of the bytes that it names, by the revision that failed or by the one
    that would be served here. `retry` lifts only what a person stopped.
    """
    request = actions.requested(seen, action)
    if request is None:
        return ()
    bundles = [server.bundle(model, target.template(seen)) for model in seen.models]
    named = {one.digest for one in state.quarantined if one.revision == request.revision}
    named |= {one.digest for one in bundles if one.revision == request.revision}
    entries = tuple(one for one in state.quarantined if one.digest in named)
    stopped = all(one.cause == "Aborted" for one in entries)
    allowed = action == actions.UNQUARANTINE or stopped
    return entries if allowed and actions.is_open(seen, state, action, request.revision) else ()


def unwritten(seen: Observation, state: DeploymentStatus) -> tuple[Manifest, ...]:
    """Records of this Deployment that no watch has shown yet: of what it condemned, and of what a person lets go.

    What is let go is out of quarantine once the record of it is there, in every Deployment at once.
    """
    metadata = seen.deployment.metadata
    written = {fact.record for fact in seen.records}
    facts: list[Record] = [
        Condemned.model_validate(one.wire())
        for one in state.quarantined
        if one.deployment == metadata.name and one.record not in written
    ]
    asked = (_released(seen, state, action) for action in (actions.RETRY, actions.UNQUARANTINE))
    facts += list(itertools.islice((fact for fact in asked if fact is not None), 1))
    return tuple(records.manifest(metadata.namespace, fact) for fact in facts)


def shown(entries: Iterable[Quarantined]) -> tuple[Quarantined, ...]:
    """As many as the status holds, the newest."""
    return tuple(entries)[-MOST_SHOWN:]


def ended(entry: Quarantined) -> str:
    """What happened to the bytes."""
    return "failed" if entry.cause == "Failed" else "was stopped by a person"


def told(seen: Observation, entry: Quarantined) -> Event:
    """That a person lets bytes be rolled out again."""
    return messages.event(seen, Reason.Unquarantined, f"{entry.model} may be rolled out again")


def _released(seen: Observation, state: DeploymentStatus, action: str) -> Released | None:
    """What is to be written of a request, if it is open and there is something to lift."""
    entries = lifted_by(seen, state, action)
    metadata = seen.deployment.metadata
    if not entries:
        return None
    return records.released(
        digest=entries[0].digest,
        deployment=metadata.name,
        deployment_uid=metadata.uid,
        request=actions.fingerprint(seen, action),
        lifts=tuple(one.record for one in entries if one.record is not None),
        time=seen.now,
    )


def _remembered(lifted: set[str], released: Iterable[Released]) -> tuple[str, ...]:
    """The same for the same records, so that a pass that learns nothing writes nothing. Of too many those stay that no
    record tells of any more, then the newest.
    """
    told_at = {record: fact.time.timestamp() for fact in released for record in fact.lifts}
    newest = sorted(lifted, key=lambda record: (record not in told_at, told_at.get(record, 0.0), record))
    return tuple(sorted(newest[-MOST_SHOWN:]))


def _named(seen: Observation, entry: Quarantined) -> Quarantined:
    """An entry of a version that wrote no records is written now."""
    if entry.record is not None:
        return entry
    metadata = seen.deployment.metadata
    fact = records.condemned(metadata.uid, entry.time, **{**_facts(entry), "deployment": metadata.name})
    return _entry(fact)


def _facts(entry: Quarantined) -> dict[str, object]:
    names = ("digest", "model", "revision", "cause", "reason", "time")
    return {name: getattr(entry, name) for name in names}


def _entry(fact: Condemned) -> Quarantined:
    return Quarantined.model_validate(fact.model_dump(by_alias=True))
