"""Laws about who gets how much traffic: I1, I2, I3, I6, I12."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from millrace_harness.history import Change, History, Manifest, Name, World

from . import finding
from .finding import IN_FLIGHT_SECONDS, INTERVAL_SECONDS, Finding

RECORDS = "controllerrevisions"


def weights_add_up(history: History) -> Iterator[Finding]:
    """I1: weights are in 0..100 and add up to 100, in the router's files and in the status; or nothing serves."""
    for change in history.of("configmaps"):
        if change.after is not None and finding.is_router(change.after):
            found = finding.weights(change.after)
            if not _is_whole(found):
                yield Finding("I1", change.at, f"the router's weights are {found} in {change.name}")
    for change in history.of("deployments"):
        found = finding.claimed(change.after)
        if not _is_whole(found):
            yield Finding("I1", change.at, f"the status of {change.name} says {found}")


def _is_whole(found: Mapping[str, int]) -> bool:
    return all(0 <= weight <= 100 for weight in found.values()) and sum(found.values()) in (0, 100)


def traffic_has_approval(history: History) -> Iterator[Finding]:
    """I2: no revision is given traffic, or more of it, whose Model had no live approval (`finding.is_approved`) at any
    moment of the last `IN_FLIGHT_SECONDS`.

    What the status calls stable is exempt: it gets back what a canary loses, since serving does not stop by itself.
    Without servers nothing is given traffic, but for the files of an owner who is gone (`_is_orphan`).
    """
    approved = _Approvals()
    for change, before, after in history.walk():
        approved.see(change)
        for deployment, revision in _raised(change, before, after):
            if revision == finding.stable_of(deployment):
                continue
            served = finding.served_by(after, deployment, revision)
            if served is None and _is_orphan(change, deployment):
                continue
            if served is None:
                yield Finding("I2", change.at, f"revision {revision} of {change.name} gets traffic and has no servers")
            elif not approved.held(deployment["metadata"]["namespace"], served, change.at - IN_FLIGHT_SECONDS):
                text = f"revision {revision} of {change.name} gets traffic, but {served.model} is not approved"
                yield Finding("I2", change.at, text)


def _is_orphan(change: Change, deployment: Manifest) -> bool:
    """Whether files were made, not changed, for an owner of that name who is gone: they reach nobody, and the garbage
    collector takes them with the servers that were made for them.
    """
    owners = {one["uid"] for one in change.present["metadata"].get("ownerReferences") or ()}
    return change.before is None and finding.uid(deployment) not in owners


class _Approvals:
    """Until when each (Model, digest) was approved; still, if that is infinite."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, str, str], float] = {}

    def see(self, change: Change) -> None:
        if change.name.kind != "models":
            return
        model = change.present
        key = (change.name.namespace, change.name.name, finding.spec_of(model)["artifact"]["digest"])
        if change.after is not None and finding.is_approved(model):
            self._until[key] = float("inf")
        elif self._until.get(key) == float("inf"):
            self._until[key] = change.at

    def held(self, namespace: str, served: finding.Bytes, since: float) -> bool:
        return self._until.get((namespace, served.model, served.digest), float("-inf")) >= since


def _raised(change: Change, before: World, after: World) -> Iterator[tuple[Manifest, str]]:
    """Revisions whose share of a router's traffic a change makes larger, with their Deployment as it was before."""
    if change.name.kind != "configmaps" or change.after is None or not finding.is_router(change.after):
        return
    deployment = finding.deployment_of(before, change.after) or finding.deployment_of(after, change.after)
    if deployment is None:
        return
    old, new = finding.weights(change.before), finding.weights(change.after)
    for revision, weight in new.items():
        if weight > old.get(revision, 0):
            yield deployment, revision


def at_most_one_canary(history: History) -> Iterator[Finding]:
    """I3: at most one revision besides the stable one gets traffic."""
    for change, before, after in history.walk():
        if change.name.kind != "configmaps" or change.after is None or not finding.is_router(change.after):
            continue
        deployment = finding.deployment_of(before, change.after) or finding.deployment_of(after, change.after)
        others = set(finding.weights(change.after)) - {finding.stable_of(deployment)}
        if len(others) > 1:
            yield Finding("I3", change.at, f"{sorted(others)} of {change.name} get traffic besides stable")


def aborted_stays_out(history: History) -> Iterator[Finding]:
    """I6: a quarantined digest gets no traffic from any Deployment until a person asks for it again, and leaves the
    quarantine only so; what is written of a quarantine is never changed or removed.

    Asked for: spec.actions.unquarantine, or retry of what a person stopped, names a revision of that digest. The bytes
    that serve as stable are not bad, whatever revision of them failed. What another Deployment wrote within the last
    `IN_FLIGHT_SECONDS` may not have been read yet.
    """
    written: dict[tuple[str, str], float] = {}
    for change, before, after in history.walk():
        if change.name.kind == RECORDS:
            written[change.name[1:]] = change.at
            yield from _is_kept(change)
        for deployment, revision in _raised(change, before, after):
            served = finding.served_by(after, deployment, revision)
            if served is None or revision == finding.stable_of(deployment):
                continue
            if served.digest == _stable_digest(deployment):
                continue
            held = _held(after, deployment["metadata"]["namespace"], served.digest)
            known = [name for name in held if change.at - written[name] > finding.IN_FLIGHT_SECONDS]
            if known or served.digest in _quarantined(deployment):
                yield Finding("I6", change.at, f"revision {revision} of {change.name} gets traffic in quarantine")
        if change.name.kind == "deployments" and change.before is not None and change.after is not None:
            yield from _let_out(change, after)


def _is_kept(change: Change) -> Iterator[Finding]:
    if change.after is None or change.before is not None:
        yield Finding("I6", change.at, f"{change.name}, which tells of a quarantine, was changed or removed")


def _held(world: World, namespace: str, digest: str) -> list[tuple[str, str]]:
    """Records of quarantines of a digest that no other record lifts."""
    found = {one["metadata"]["name"]: one["data"] for one in world.of(RECORDS, namespace)}
    lifted = {name for data in found.values() for name in data.get("lifts") or ()}
    return [
        (namespace, name)
        for name, data in found.items()
        if data["kind"] == "Condemned" and data["digest"] == digest and name not in lifted
    ]


def _let_out(change: Change, world: World) -> Iterator[Finding]:
    """An entry leaves a status when a person asked this Deployment, or when it is written that one was asked."""
    assert change.before is not None
    old, new = _quarantined(change.before), _quarantined(change.after)
    actions = finding.spec_of(change.after).get("actions") or {}
    named = {(actions.get(action) or {}).get("revision") for action in ("retry", "unquarantine")}
    for digest in set(old) - set(new):
        records = world.of(RECORDS, change.name.namespace)
        is_lifted = any(one["data"]["kind"] == "Released" and one["data"]["digest"] == digest for one in records)
        if not old[digest] & named and not is_lifted and len(old) < 50:
            yield Finding("I6", change.at, f"{digest[:15]} left the quarantine of {change.name} unasked")


def _quarantined(deployment: Manifest | None) -> dict[str, set[str]]:
    """Revisions by digest."""
    found: dict[str, set[str]] = {}
    for one in finding.status_of(deployment).get("quarantined") or ():
        found.setdefault(one["digest"], set()).add(one["revision"])
    return found


def _stable_digest(deployment: Manifest) -> str:
    return str((finding.status_of(deployment).get("stable") or {}).get("digest") or "")


def status_is_true(history: History) -> Iterator[Finding]:
    """I12: what a status claims is so. New weights, a promotion or a made Model are claimed only once they are there;
    and a claim about weights that has become untrue is mended within `INTERVAL_SECONDS`.
    """
    wrong_since: dict[Name, float] = {}
    existed: set[tuple[str, str]] = set()
    for change, before, after in history.walk():
        if change.name.kind == "models":
            existed.add(change.name[1:])
        if change.name.kind == "trainingruns":
            yield from _model_is_there(change, existed)
        yield from _claims(change, before, after)
        yield from _mended(change, after, wrong_since)
    for name, since in wrong_since.items():
        if history.ended - since > INTERVAL_SECONDS:
            yield Finding("I12", since, f"the status of {name} and its router differ until the end")


def _model_is_there(change: Change, existed: set[tuple[str, str]]) -> Iterator[Finding]:
    made = (finding.status_of(change.after).get("modelRef") or {}).get("name")
    if made and (change.name.namespace, made) not in existed:
        yield Finding("I12", change.at, f"{change.name} says that it made Model {made}, which never was")


def _claims(change: Change, before: World, after: World) -> Iterator[Finding]:
    if change.name.kind != "deployments" or change.after is None:
        return
    new = finding.claimed(change.after)
    if new == finding.claimed(change.before):
        return
    applied = finding.weights(finding.router_of(after, change.after))
    if new != applied:
        yield Finding("I12", change.at, f"the status of {change.name} says {new}, its router's files {applied}")


def _mended(change: Change, after: World, wrong_since: dict[Name, float]) -> Iterator[Finding]:
    if change.name.kind == "configmaps" and finding.is_router(change.present):
        deployment = finding.deployment_of(after, change.present)
    else:
        deployment = change.after if change.name.kind == "deployments" else None
    if deployment is None:
        wrong_since.pop(change.name, None)
        return
    name = Name("deployments", deployment["metadata"]["namespace"], deployment["metadata"]["name"])
    if finding.claimed(deployment) == finding.weights(finding.router_of(after, deployment)):
        since = wrong_since.pop(name, change.at)
        if change.at - since > INTERVAL_SECONDS:
            yield Finding("I12", since, f"the status of {name} and its router differed for {change.at - since:.0f} s")
    else:
        wrong_since.setdefault(name, change.at)
