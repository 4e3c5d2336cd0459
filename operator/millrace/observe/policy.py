"""Whether the admission policies that guard approvals are in force.

Asked by trying what they forbid, never by reading them: a policy can exist without its binding, or with another text.
The operator has the verb `register` and not `approve`, so a forged approval must be refused to it like to anybody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from millrace import errors
from millrace.api import keys
from millrace.api.resources import DEPLOYMENTS, MODELS, TRAINING_RUNS, ResourceType
from millrace.clients.world import PolicyStatus, World
from millrace.render import admission
from millrace.telemetry import Log

log = Log(__name__)

INTERVAL_SECONDS: Final = 600.0
"""Between two looks while the policies are in force."""
IMPATIENT_SECONDS: Final = 10.0
"""Between two looks while they are not, or while nobody knows."""

IN_FORCE: Final = PolicyStatus(in_force=True, message="a forged approval was refused by the admission policies")

_NOBODY: Final = "millrace:nobody"
_DIGEST: Final = f"sha256:{'0' * 64}"

Sleep = Callable[[float], Awaitable[None]]


async def watch(world: World, sleep: Sleep = asyncio.sleep) -> None:
    """Keep ``world.policy`` true; when it changes every Model and Deployment is looked at again. Never returns."""
    while True:
        found = await look(world)
        if found.in_force != world.policy.in_force:
            log.info("admission policies", in_force=found.in_force, finding=found.message)
            world.policy = found
            for resource in (MODELS, DEPLOYMENTS):
                for one in world.store.list(resource):
                    world.enqueue(resource, one["metadata"]["namespace"], one["metadata"]["name"])
        world.policy = found
        await sleep(INTERVAL_SECONDS if found.in_force else IMPATIENT_SECONDS)


async def look(world: World) -> PolicyStatus:
    """Try what the policies forbid, without creating anything.

    While the API server is unreachable the last answer stands; where the question cannot be asked at all, the answer is
    unknown.
    """
    namespace = world.settings.namespace
    tries = ((MODELS, admission.APPROVALS, forged_model), (TRAINING_RUNS, admission.RUNS, forged_run))
    for resource, policy, forged in tries:
        try:
            refused = await _is_refused(world, resource, policy, forged(namespace))
        except errors.Unavailable as error:
            return world.policy if world.policy.in_force is not None else _unknown(error)
        except errors.ApiError as error:
            return _unknown(error)
        if not refused:
            return PolicyStatus(
                in_force=False,
                message=f"the admission policy {policy} is not in force: the API server would accept a forged "
                f"{resource.kind}. Next: kubectl get validatingadmissionpolicybinding {policy}",
            )
    return IN_FORCE


def forged_model(namespace: str) -> dict[str, Any]:
    """A Model that carries an approval in somebody else's name."""
    uri = "s3://millrace/policy-probe"
    tensor = {"name": "x", "datatype": "FP32", "shape": [-1, 1]}
    return {
        "apiVersion": keys.API_VERSION,
        "kind": MODELS.kind,
        "metadata": {"name": f"{admission.PROBE}-1", "namespace": namespace},
        "spec": {
            "modelName": admission.PROBE,
            "version": "1",
            "artifact": {"storageUri": uri, "digest": _DIGEST},
            "signature": {"inputs": [tensor], "outputs": [tensor]},
            "goldenSetUri": uri,
            "referenceProfileUri": uri,
            "provenance": {"author": _NOBODY},
            "approvals": [{"user": _NOBODY, "decision": "Approve", "digest": _DIGEST}],
        },
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


async def _is_refused(world: World, resource: ResourceType, policy: str, forged: dict[str, Any]) -> bool:
    """Whether that very policy refuses the object. Raises ApiError when something else does."""
    try:
        await world.kube.create(resource, forged, dry_run=True)
    except errors.AlreadyExists:
        return False  # it came past admission
    except errors.Forbidden as error:
        if f"ValidatingAdmissionPolicy '{policy}'" not in str(error):
            raise
        return True
    return False


def _unknown(error: errors.ApiError) -> PolicyStatus:
    return PolicyStatus(
        in_force=None,
        message=f"whether the admission policies are in force could not be asked: {error}",
    )
