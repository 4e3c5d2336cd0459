"""Carrying out a Plan: records, children, creates, deletes, status, events, nudges, in this order.

Each write alone is harmless: a crash after any of them is repaired by the next pass, because children have
deterministic names, the status is written after what it claims and events follow only once it has landed. A plan that
is true already writes nothing. A child, or an object to delete, that somebody else has changed since ends the pass: the
rest of the plan was decided on what is no longer so, and the status would forget what is still there. A write that is
refused does not end it: what depends on it is left out (`failing`), the rest is written, and the status reports it.

An object of a wanted name that somebody else controls, or nobody, is never taken over: `NameConflict`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from millrace import errors
from millrace.api import keys, resources
from millrace.api.resources import ResourceType
from millrace.apply import intent as intents
from millrace.apply.events import Recorder
from millrace.apply.failing import GUARDED, Failure, Part, as_far_as_it_came, is_of_one_write
from millrace.apply.ledger import Ledger
from millrace.clients.kube import Kube
from millrace.clients.store import Key, Manifest, Store, controller_of
from millrace.decide.plan import Delete, Nudge, Plan

CREATED_ONCE: Final = frozenset({resources.JOBS})
"""Kinds whose spec cannot be changed: one that is there is left alone, its name says what it was made from."""

Report = Callable[[Plan, Sequence[Failure]], Plan]
"""Adds the failed writes of a plan to its status and its events."""


@dataclass
class Outcome:
    """What a pass did. ``stale`` asks for another pass at once: somebody was faster."""

    writes: int = 0
    status_written: bool = False
    stale: bool = False
    outdated: bool = False
    """The object itself is not what the pass looked at."""
    failures: list[Failure] = field(default_factory=list)


@dataclass(frozen=True)
class _Applied:
    """What the API server made of an intent, where that cannot be compared with the intent itself."""

    stamp: str
    uid: str
    projection: object


class Executor:
    """Carries out plans for one API server. What is as the plan wants it is not written again."""

    def __init__(self, kube: Kube, store: Store, ledger: Ledger, recorder: Recorder) -> None:
        self._kube = kube
        self._store = store
        self._ledger = ledger
        self._recorder = recorder
        self._applied: dict[Key, _Applied] = {}

    async def execute(
        self, resource: ResourceType, owner: Manifest, plan: Plan, report: Report = lambda plan, _: plan
    ) -> Outcome:
        """Make the plan true. ``owner`` is the object as it was when the pass began.

        Raises NotLeader and any ApiError that is not about one write alone; what was written before stays written.
        The other errors are in the outcome, and ``report`` puts them into the status.
        """
        metadata = owner["metadata"]
        key = Key(resource, metadata["namespace"], metadata["name"])
        outcome = Outcome()
        if not await self._parts(key, owner, plan, outcome):
            return outcome
        if outcome.failures:
            plan = report(as_far_as_it_came(plan, owner, outcome.failures), outcome.failures)
        refused = await self._write_status_and_events(key, owner, plan, outcome)
        for nudge in plan.nudges:
            pod = Key(resources.PODS, nudge.namespace, nudge.pod)
            await self._try(Part.NUDGE, pod, self._nudge(key, nudge, outcome), outcome)
        if refused is not None:
            raise refused
        return outcome

    async def _parts(self, key: Key, owner: Manifest, plan: Plan, outcome: Outcome) -> bool:
        """What the status claims. False if the pass is to begin again."""
        for manifest in plan.records:
            if not await self._try(Part.CREATE, _key(manifest, key), self._create(key, manifest, outcome), outcome):
                return False
        for child in plan.children:
            if not await self._try(Part.CHILD, _key(child, key), self._child(key, owner, child, outcome), outcome):
                return False
        for manifest in plan.creates:
            if not await self._try(Part.CREATE, _key(manifest, key), self._create(key, manifest, outcome), outcome):
                return False
        if any(one.moves_traffic for one in outcome.failures):
            return True
        return await self._deletes(key, plan.deletes, outcome)

    async def _deletes(self, key: Key, deletes: Sequence[Delete], outcome: Outcome) -> bool:
        """In order; after a failed one, no other of the same name. False if the pass is to begin again."""
        failed: set[tuple[str, str]] = set()
        for one in deletes:
            target, known = Key(one.resource, one.namespace, one.name), len(outcome.failures)
            if target[1:] in failed:
                continue
            if not await self._try(Part.DELETE, target, self._delete(key, one, outcome), outcome):
                return False
            if len(outcome.failures) > known:
                failed.add(target[1:])
        return True

    async def _try(self, part: Part, target: Key, write: Awaitable[bool], outcome: Outcome) -> bool:
        """Whether the pass goes on. An error that is about one write alone is kept in the outcome."""
        try:
            return await write
        except errors.MillraceError as error:
            if not is_of_one_write(error):
                raise
            outcome.failures.append(Failure(part, target, error))
            return True

    async def _write_status_and_events(
        self, key: Key, owner: Manifest, plan: Plan, outcome: Outcome
    ) -> errors.ApiError | None:
        """The status, and the events if it was written. Returns the error if it was refused."""
        try:
            if plan.status is not None:
                await self.write_status(key, owner, plan.status, outcome)
        except errors.ApiError as error:
            if not is_of_one_write(error):
                raise
            return error
        if outcome.status_written:
            for event in plan.events:
                await self._recorder.record(owner, event)
        return None

    async def write_status(self, key: Key, owner: Manifest, status: Manifest, outcome: Outcome) -> None:
        """Write the status if it says something new, on top of the very version the pass looked at."""
        if intents.same_status(status, owner.get("status") or {}):
            return
        metadata = owner["metadata"]
        try:
            answer = await self._kube.patch_status(*key, status, resource_version=metadata["resourceVersion"])
        except errors.Conflict:
            outcome.stale = outcome.outdated = True
            return
        except errors.NotFound:
            return
        outcome.writes += 1
        if answer["metadata"]["resourceVersion"] != metadata["resourceVersion"]:
            outcome.status_written = True
            self._ledger.wrote(key, key, answer)

    def forget(self, gone: Key) -> None:
        """An object is gone: what was applied to it counts no more."""
        self._applied.pop(gone, None)

    async def _child(self, key: Key, owner: Manifest, manifest: Manifest, outcome: Outcome) -> bool:
        """Make one child true. False if it cannot be claimed now, and the pass is to begin again."""
        resource = resources.of(manifest)
        wanted = intents.stamped(intents.owned(_labelled(manifest, key.namespace), owner))
        child = Key(resource, wanted["metadata"]["namespace"], wanted["metadata"]["name"])
        found = self._store.get(*child)
        if found is not None and self._is_satisfied(child, found, wanted, owner):
            return True
        if found is None or resource in GUARDED:
            found = await self._read(child)
        if found is not None:
            _refuse_strangers(child, found, wanted)
            if "deletionTimestamp" in found["metadata"]:
                outcome.stale = True  # its successor can be made once the name is free
                return resource not in GUARDED
            if resource in CREATED_ONCE:
                return True
            wanted = _on_top_of(found, wanted, whole=resource in GUARDED)
        try:
            answer = await self._kube.apply(resource, wanted)
        except errors.Conflict:
            outcome.stale = True
            return False
        self._remember(child, answer, wanted)
        outcome.writes += 1
        if found is None or answer["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]:
            self._ledger.wrote(key, child, answer)
        return True

    def _is_satisfied(self, child: Key, found: Manifest, wanted: Manifest, owner: Manifest) -> bool:
        """Whether nothing is to be written: the object is what the intent says, as far as can be told from it."""
        if _is_going(found):
            return False
        if child.resource in CREATED_ONCE:
            controller = controller_of(found)
            return controller is not None and controller["uid"] == owner["metadata"]["uid"]
        if intents.agrees(found, wanted):
            return True
        applied = self._applied.get(child)
        return (
            applied is not None
            and (applied.uid, applied.stamp) == (found["metadata"]["uid"], _stamp(wanted))
            and applied.projection == intents.project(found, wanted)
        )

    def _remember(self, child: Key, answer: Manifest, wanted: Manifest) -> None:
        """Keep what the API server made of an intent, where that cannot be compared with the intent."""
        if intents.agrees(answer, wanted):
            self._applied.pop(child, None)
        else:
            projection = intents.project(answer, wanted)
            self._applied[child] = _Applied(_stamp(wanted), answer["metadata"]["uid"], projection)

    async def _read(self, key: Key) -> Manifest | None:
        """The live object: the watches show only what carries our label, and a name may be taken by anything."""
        try:
            return await self._kube.get(*key)
        except errors.NotFound:
            return None

    async def _create(self, key: Key, manifest: Manifest, outcome: Outcome) -> bool:
        """Make an object that is not looked after. False if the pass is to begin again."""
        resource = resources.of(manifest)
        wanted = _labelled(manifest, key.namespace)
        try:
            answer = await self._kube.create(resource, wanted)
        except (errors.AlreadyExists, errors.Conflict) as taken:
            outcome.stale = True
            return isinstance(taken, errors.AlreadyExists)
        outcome.writes += 1
        metadata = answer["metadata"]
        self._ledger.wrote(key, Key(resource, metadata["namespace"], metadata["name"]), answer)
        return True

    async def _delete(self, key: Key, delete: Delete, outcome: Outcome) -> bool:
        """Delete that very object, in the very version that is live now. False if the pass is to begin again."""
        target = Key(delete.resource, delete.namespace, delete.name)
        live = await self._read(target)
        if live is None or live["metadata"]["uid"] != delete.uid or _is_going(live):
            return True
        if delete.resource_version not in ("", live["metadata"]["resourceVersion"]):
            outcome.stale = True
            return False
        try:
            await self._kube.delete(*target, uid=delete.uid, resource_version=live["metadata"]["resourceVersion"])
        except errors.Conflict:
            outcome.stale = True
            return False
        outcome.writes += 1
        self._ledger.deleted(key, target, delete.uid)
        return True

    async def _nudge(self, key: Key, nudge: Nudge, outcome: Outcome) -> bool:
        """Annotate a pod. Always True: a nudge ends no pass."""
        pod = Key(resources.PODS, nudge.namespace, nudge.pod)
        known = self._store.get(*pod)
        if known is None or (known["metadata"].get("annotations") or {}).get(nudge.annotation) == nudge.value:
            return True
        body = {"metadata": {"uid": known["metadata"]["uid"], "annotations": {nudge.annotation: nudge.value}}}
        try:
            answer = await self._kube.patch(*pod, body)
        except (errors.NotFound, errors.Conflict):
            return True  # the pod went; its successor mounts what is current
        outcome.writes += 1
        self._ledger.wrote(key, pod, answer)
        return True


def _key(manifest: Manifest, owner: Key) -> Key:
    """Which object a manifest is about; without a namespace it is its owner's."""
    metadata = manifest["metadata"]
    return Key(resources.of(manifest), metadata.get("namespace") or owner.namespace, metadata["name"])


def _labelled(manifest: Manifest, namespace: str) -> Manifest:
    """The manifest with its namespace, and with the label without which the watches would not show it."""
    metadata = manifest["metadata"]
    labels = {keys.MANAGED_BY: keys.MANAGED_BY_VALUE, **(metadata.get("labels") or {})}
    return {**manifest, "metadata": {"namespace": namespace, **metadata, "labels": labels}}


def _on_top_of(found: Manifest, wanted: Manifest, *, whole: bool) -> Manifest:
    """The manifest as an update of that very object; of that very version of it, if `whole`."""
    kept = ("uid", "resourceVersion") if whole else ("uid",)
    return {**wanted, "metadata": {**wanted["metadata"], **{name: found["metadata"][name] for name in kept}}}


def _stamp(wanted: Manifest) -> str:
    return str(wanted["metadata"]["annotations"][keys.APPLIED])


def _is_going(found: Manifest) -> bool:
    return "deletionTimestamp" in found["metadata"]


def _refuse_strangers(child: Key, found: Manifest, wanted: Manifest) -> None:
    """Raise NameConflict unless the object found is controlled by the one we apply for."""
    ours, theirs = controller_of(wanted), controller_of(found)
    if ours is not None and theirs is not None and theirs["uid"] == ours["uid"]:
        return
    owner = f"{theirs['kind']} {theirs['name']}" if theirs is not None else "nobody that Millrace knows"
    raise errors.NameConflict(child.resource.kind, child.namespace, child.name, owner)
