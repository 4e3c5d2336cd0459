"""Whether the admission policies that guard approvals are in force, and whether they were all the time.

That they are is asked by trying what they forbid, never by reading them: a policy can exist without its binding, or
with another text. The operator has not the verb `approve`, so a forged approval must be refused to it like to anybody;
from the refusal of names that the policies reserve it learns how new their rules are.

That they were is read: the policies and their bindings, by identity and generation, make an epoch. As long as it is the
same nobody has taken one away, changed it or put it back.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from millrace import errors
from millrace.api import keys
from millrace.api.resources import DEPLOYMENTS, MODELS, TRAINING_RUNS, WITNESSED, ResourceType
from millrace.clients.world import PolicyStatus, World
from millrace.render import admission
from millrace.render.names import digest
from millrace.telemetry import Log

log = Log(__name__)

INTERVAL_SECONDS: Final = 600.0
"""Between two trials while the policies are in force."""
GLANCE_SECONDS: Final = 60.0
"""Between two looks at whether they are still the same."""
IMPATIENT_SECONDS: Final = 10.0
"""Between two trials while they are not in force, or while nobody knows."""
LOADED_WITHIN: Final = timedelta(seconds=3)
"""An API server looks for new policies every second."""

_GLANCES: Final = round(GLANCE_SECONDS / IMPATIENT_SECONDS)

GUARDS: Final = (admission.APPROVALS, admission.RUNS)
"""Over approvals and over runs."""
_NOBODY: Final = "millrace:nobody"
_DIGEST: Final = f"sha256:{'0' * 64}"

Sleep = Callable[[float], Awaitable[None]]


async def watch(world: World, sleep: Sleep = asyncio.sleep) -> None:
    """Keep ``world.policy`` true; when it changes every Model, run and Deployment is looked at again. Never returns."""
    while True:
        _learn(world, await look(world))
        for slept in range(round(INTERVAL_SECONDS / IMPATIENT_SECONDS)):
            # A pass over a Model may have found out meanwhile.
            if slept and not world.policy.in_force:
                break
            if slept and slept % _GLANCES == 0 and await _has_changed(world):
                break
            await sleep(IMPATIENT_SECONDS)


async def _has_changed(world: World) -> bool:
    try:
        return await epoch(world) != (world.policy.epoch, world.policy.since)
    except errors.ApiError:
        return False  # the trial will tell, in time


def _learn(world: World, found: PolicyStatus) -> None:
    known, world.policy = world.policy, found
    if (found.in_force, found.epoch) == (known.in_force, known.epoch):
        return
    log.info("admission policies", in_force=found.in_force, epoch=found.epoch, finding=found.message)
    for resource in (MODELS, TRAINING_RUNS, DEPLOYMENTS):
        for one in world.store.list(resource):
            world.enqueue(resource, one["metadata"]["namespace"], one["metadata"]["name"])


async def recheck(world: World) -> PolicyStatus:
    """``world.policy`` as of now: for what was written a moment ago, the last look is too old. Raises ApiError."""
    if not world.policy.in_force or await epoch(world) != (world.policy.epoch, world.policy.since):
        _learn(world, await look(world))
    return world.policy


async def look(world: World) -> PolicyStatus:
    """Try what the policies forbid, without creating anything.

    While the API server is unreachable the last answer stands; where the question cannot be asked at all, the answer is
    unknown.
    """
    try:
        read = await epoch(world)
        found = [await _tried(world, namespace) for namespace in world.territory.asked]
    except errors.Unavailable as error:
        return world.policy if world.policy.in_force is not None else _unknown(error)
    except errors.ApiError as error:
        return _unknown(error)
    if not found:
        return _unknown("no namespace that is watched is there")
    missing = next((one for one in found if one is not None), None)
    if missing is not None:
        return missing
    if read is None:  # an API server needs a moment to take notice
        guards = " or ".join(_named(world, one) for one in GUARDS)
        return _missing("it, or its binding, was deleted", guards)
    text, since = read
    message = "a forged approval was refused by the admission policies"
    return PolicyStatus(in_force=True, message=message, epoch=text, since=since)


async def epoch(world: World) -> tuple[str, datetime] | None:
    """What policies and bindings are there, and when one was last changed; None if one is missing. Raises ApiError."""
    try:
        found = [await world.kube.get(kind, "", _named(world, one)) for one in GUARDS for kind in WITNESSED]
    except errors.NotFound:
        return None
    known = [(one["metadata"]["uid"], one["metadata"].get("generation")) for one in found]
    return digest(*known, length=16), max(_changed(one["metadata"]) for one in found)


def _named(world: World, policy: str) -> str:
    return admission.of_release(policy, world.settings.policies)


def admitted(policy: PolicyStatus, created: datetime | None) -> bool | None:
    """Whether the policies checked an object made at that time; None while nobody knows."""
    if policy.in_force is None:
        return None
    since = policy.since if policy.in_force else None
    return since is not None and created is not None and created > since + LOADED_WITHIN


def _changed(metadata: Mapping[str, Any]) -> datetime:
    """When it was made or last changed, as far as the API server noted it; its status counts for nothing."""
    noted: Iterable[Mapping[str, Any]] = metadata.get("managedFields") or ()
    times = [one["time"] for one in noted if one.get("time") and not one.get("subresource")]
    return max(datetime.fromisoformat(one) for one in (metadata["creationTimestamp"], *times))


async def _tried(world: World, namespace: str) -> PolicyStatus | None:
    """What is missing in that namespace; None when everything forged is refused. Raises ApiError."""
    tries = (
        (MODELS, admission.APPROVALS, forged_model(namespace, "millrace-nobody"), 0),
        (MODELS, admission.APPROVALS, forged_model(namespace, admission.PROBE), admission.RULES),
        (TRAINING_RUNS, admission.RUNS, forged_run(namespace), admission.RULES),
    )
    for resource, guard, forged, rules in tries:
        policy = _named(world, guard)
        refused = await _refusal(world, resource, policy, forged)
        if refused is None:
            return _missing(f"the API server would accept a forged {resource.kind} in {namespace}", policy)
        if rules and _rules_of(refused) < rules:
            return _missing("its rules are those of an earlier version", policy)
    return None


def _rules_of(refusal: str) -> int:
    found = re.search(r"\(rules (\d+)\)", refusal)
    return int(found[1]) if found else 0


def forged_model(namespace: str, name: str) -> dict[str, Any]:
    """A Model of a reserved name, or one that carries an approval in somebody else's name."""
    uri = "s3://millrace/policy-probe"
    tensor = {"name": "x", "datatype": "FP32", "shape": [-1, 1]}
    spec: dict[str, Any] = {
        "modelName": name,
        "version": "1",
        "artifact": {"storageUri": uri, "digest": _DIGEST},
        "signature": {"inputs": [tensor], "outputs": [tensor]},
        "goldenSetUri": uri,
        "referenceProfileUri": uri,
        "provenance": {"author": _NOBODY},
    }
    if name != admission.PROBE:
        spec["approvals"] = [{"user": _NOBODY, "decision": "Approve", "digest": _DIGEST}]
    return {
        "apiVersion": keys.API_VERSION,
        "kind": MODELS.kind,
        "metadata": {"name": f"{name}-1", "namespace": namespace},
        "spec": spec,
    }


def forged_run(namespace: str) -> dict[str, Any]:
    """A TrainingRun of the name that the policy reserves for this question."""
    return {
        "apiVersion": keys.API_VERSION,
        "kind": TRAINING_RUNS.kind,
        "metadata": {"name": admission.PROBE, "namespace": namespace},
        "spec": {
            "author": _NOBODY,
            "datasetRef": {"name": admission.PROBE},
            "trainer": {"builtin": {"estimator": "sklearn.dummy.DummyClassifier", "task": "Classification"}},
            "evaluation": {"metrics": ["accuracy"]},
            "output": {"modelName": admission.PROBE},
        },
    }


async def _refusal(world: World, resource: ResourceType, policy: str, forged: dict[str, Any]) -> str | None:
    """What that very policy says against the object. Raises ApiError when something else refuses it."""
    try:
        await world.kube.create(resource, forged, dry_run=True)
    except errors.AlreadyExists:
        return None  # it came past admission
    except errors.Forbidden as error:
        if f"ValidatingAdmissionPolicy '{policy}'" not in str(error):
            raise
        return str(error)
    return None


def _missing(what: str, policy: str) -> PolicyStatus:
    return PolicyStatus(
        in_force=False,
        message=f"the admission policy {policy} is not in force: {what}",
    )


def _unknown(why: object) -> PolicyStatus:
    return PolicyStatus(in_force=None, message=f"whether the admission policies are in force could not be asked: {why}")
