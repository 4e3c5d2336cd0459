"""Laws about what is made and unmade: I4, I7, I10, I11, and I13 (one operator writes)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from millrace_harness.history import Change, History, Manifest, Name, World

from . import finding, retention
from .finding import IN_FLIGHT_SECONDS, OWN, Finding

_NOT_STATE: Final = frozenset({"events", "leases"})
_FENCED: Final = frozenset({*OWN, "configmaps"})


def one_job_per_run(history: History) -> Iterator[Finding]:
    """I4: at most one live Job per UID of a TrainingRun; none is made again unless somebody else deleted it."""
    made: dict[str, Manifest] = {}
    for change in history.of("jobs"):
        run = finding.label(change.present, "training-run-uid")
        if not run:
            continue
        if change.before is None:
            if run in made:
                yield Finding("I4", change.at, f"{change.name} was made beside {made[run]['metadata']['name']}")
            made[run] = change.present
        elif change.after is None and not change.is_ours:
            made.pop(run, None)


def capacity_stays(history: History) -> Iterator[Finding]:
    """I7: the operator never takes servers of the stable revision away while it is stable: its workload is not deleted,
    nor shrunk below what the spec asks for, or asked for within the last `IN_FLIGHT_SECONDS`.
    """
    asked: dict[Name, list[tuple[float, int]]] = {}
    for change, before, _ in history.walk():
        if change.name.kind == "deployments" and change.after is not None:
            replicas = finding.spec_of(change.after).get("replicas", 1)
            asked.setdefault(change.name, []).append((change.at, replicas))
        if change.name.kind != "workloads" or not change.is_ours or change.before is None:
            continue
        owner = Name("deployments", change.name.namespace, finding.label(change.before, "deployment"))
        deployment = before.get(owner)
        revision = finding.label(change.before, "revision")
        if not revision or not _is_owned_by(change.before, deployment) or revision != finding.stable_of(deployment):
            continue
        if change.after is None:
            yield Finding("I7", change.at, f"{change.sender} deleted {change.name}, which serves as stable")
            continue
        old, new = (finding.spec_of(one).get("replicas", 1) for one in (change.before, change.after))
        floor = _least(asked.get(owner, []), change.at - IN_FLIGHT_SECONDS)
        if new < old and new < floor:
            yield Finding(
                "I7", change.at, f"{change.name}, stable, went from {old} to {new} servers, asked are {floor}"
            )


def _least(asked: list[tuple[float, int]], since: float) -> int:
    """The least that was asked for since a moment: what held at it, and everything later."""
    recent = [replicas for at, replicas in asked if at >= since]
    earlier = [replicas for at, replicas in asked if at < since]
    return min([*recent, *earlier[-1:]], default=0)


def one_run_per_trigger(history: History) -> Iterator[Finding]:
    """I10: a trigger makes one run or one recorded suppression: no cause is answered twice, no more runs are under way
    than limits.maxConcurrent, and whenever a status says that there is drift it says what came of it. A run that a user
    makes again is the user's.
    """
    causes: dict[tuple[str, str, str], str] = {}
    for change, before, _ in history.walk():
        is_run = change.name.kind == "trainingruns" and change.before is None and change.is_ours
        if is_run and finding.label(change.present, "trigger"):
            yield from _is_first(change, before, causes)
        if change.name.kind == "deployments" and change.after is not None:
            told = {one["type"] for one in finding.status_of(change.after).get("conditions") or ()}
            wishes = finding.spec_of(change.after).get("retraining")
            if wishes and finding.says(change.after, "DriftDetected") and "RetrainingBlocked" not in told:
                yield Finding("I10", change.at, f"{change.name} drifted and does not say what came of it")


def _is_first(change: Change, before: World, causes: dict[tuple[str, str, str], str]) -> Iterator[Finding]:
    clone = change.present
    owner = finding.label(clone, "deployment-uid")
    annotations = clone["metadata"].get("annotations") or {}
    data = _newest(before, clone)
    cause = (owner, str(annotations.get(f"{finding.GROUP}/cause")), data)
    if cause in causes:
        yield Finding("I10", change.at, f"{change.name} answers what {causes[cause]} answered: {cause[1]}")
    causes[cause] = change.name.name
    runs = [
        run
        for run in before.of("trainingruns", change.name.namespace)
        if finding.label(run, "deployment-uid") == owner
        and finding.label(run, "trigger")
        and not (finding.says(run, "Complete") or finding.says(run, "Failed"))
    ]
    deployment = before.get(Name("deployments", change.name.namespace, finding.label(clone, "deployment")))
    limits: Mapping[str, Any] = (finding.spec_of(deployment).get("retraining") or {}).get("limits") or {}
    if len(runs) >= limits.get("maxConcurrent", 1):
        yield Finding("I10", change.at, f"{change.name} was started while {len(runs)} runs were under way")


def _newest(world: World, run: Manifest) -> str:
    """The digest of the data that a run would train on."""
    wanted = (finding.spec_of(run).get("datasetRef") or {}).get("name") or ""
    dataset = world.get(Name("datasets", run["metadata"]["namespace"], wanted))
    return str((finding.status_of(dataset).get("current") or {}).get("digest"))


def deletions_are_ours(history: History) -> Iterator[Finding]:
    """I11: the operator deletes only what a Millrace object controls that is there under that very UID, saying the UID
    and the version it means; never servers that get traffic, nor an object of a user but what retention may take.
    """
    for change, before, _ in history.walk():
        if not change.is_ours or change.before is None or not _is_deletion(change):
            continue
        gone = change.before
        if change.name.kind in OWN:
            yield from (Finding("I11", change.at, text) for text in retention.faults(change, before))
            if change.request is not None and not _says_which(change.request.body, gone):
                yield Finding("I11", change.at, f"{change.sender} deleted {change.name} and did not say which one")
            continue
        owners = {finding.uid(one) for kind in OWN for one in before.of(kind, change.name.namespace)}
        if not owners & {one["uid"] for one in gone["metadata"].get("ownerReferences") or ()}:
            yield Finding("I11", change.at, f"{change.sender} deleted {change.name}, which nobody of ours controls")
        if change.request is not None and not _says_which(change.request.body, gone):
            yield Finding("I11", change.at, f"{change.sender} deleted {change.name} without saying which one it means")
        yield from _is_idle(change, before)


def _is_deletion(change: Change) -> bool:
    """Gone, or going from now on."""
    assert change.before is not None
    if change.after is None:
        return True
    return "deletionTimestamp" in change.after["metadata"] and "deletionTimestamp" not in change.before["metadata"]


def _says_which(body: Mapping[str, Any] | None, gone: Manifest) -> bool:
    said = (body or {}).get("preconditions") or {}
    metadata = gone["metadata"]
    return bool(said.get("uid") == metadata["uid"] and said.get("resourceVersion") == metadata["resourceVersion"])


def _is_idle(change: Change, before: World) -> Iterator[Finding]:
    """A server workload or its Service goes only when its revision has no role and no traffic, live."""
    gone, revision = change.present, finding.label(change.present, "revision")
    deployment = before.get(Name("deployments", change.name.namespace, finding.label(gone, "deployment")))
    if not revision or not _is_owned_by(gone, deployment) or deployment is None:
        return
    roles = {one.get("revision") for role in ("stable", "canary") if (one := finding.status_of(deployment).get(role))}
    if revision in roles:
        yield Finding("I11", change.at, f"{change.sender} deleted {change.name}, which has a role")
    if revision in finding.weights(finding.router_of(before, deployment)):
        yield Finding("I11", change.at, f"{change.sender} deleted {change.name}, which gets traffic")


def _is_owned_by(manifest: Manifest, owner: Manifest | None) -> bool:
    references = manifest["metadata"].get("ownerReferences") or ()
    return owner is not None and any(one["uid"] == finding.uid(owner) for one in references)


def one_operator_writes(history: History) -> Iterator[Finding]:
    """I13: whoever writes holds the lease, or held it less than `IN_FLIGHT_SECONDS` ago. Nobody writes before it is
    taken. Histories without a lease have nothing to say.

    A request that was in a leader's hands when it was paused arrives when it wakes: nothing can hold it back, so one is
    allowed, unless it moves traffic or says something in a status: these carry the version they were decided on.
    """
    holder, until, late = "", {}, set()
    known = any(change.name.kind == "leases" for change in history.changes)
    for change in history.changes:
        if change.name.kind == "leases":
            taken = change.sender if finding.spec_of(change.after).get("holderIdentity") else ""
            if holder and taken != holder:
                until[holder] = change.at
            holder = taken
            continue
        if not (known and change.is_ours) or change.name.kind in _NOT_STATE or change.sender == holder:
            continue
        if change.at - until.get(change.sender, float("-inf")) <= IN_FLIGHT_SECONDS:
            continue
        if change.sender in until and change.sender not in late and change.name.kind not in _FENCED:
            late.add(change.sender)
            continue
        yield Finding("I13", change.at, f"{change.sender} wrote {change.name} while {holder or 'nobody'} led")
