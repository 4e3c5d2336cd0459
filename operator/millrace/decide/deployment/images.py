"""Which image the servers of a revision run: its own, until the next rollout or until an upgrade in place is asked for.

The image is no part of what a revision is: another image under the same bytes and resources is the same revision. A
newer operator brings a newer image, and by itself changes no server that runs. What does:

    a rollout                        a new revision starts with today's image
    no server of the canary is up    it has nothing to lose: today's may be the one that was corrected
    stable cannot pull its image     the right model under another image is better than none
    server.upgradePolicy: Rolling    stable, in place, pod by pod, a few Deployments at a time

In place means that a pod of the new image must reproduce the golden set before an old one goes. The revision stays, and
with it its counters, its drift and its place in the router.
"""

from __future__ import annotations

from datetime import datetime

from millrace.api.deployment_status import DeploymentStatus, RevisionStatus
from millrace.api.reasons.deployment import DeploymentReason as Reason
from millrace.decide.plan import Event
from millrace.decide.status import later

from . import messages, progress
from .moves import Transition
from .observation import Observation, Server

PULLING = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
)
ROLLING = "Rolling"
ASK_AGAIN_SECONDS = 300.0
"""An upgrade that waits for its turn is woken when another ends; this is for when that event is lost."""


def settled(seen: Observation, transition: Transition) -> Transition:
    """The status with the image that each revision is to run now, and how far stable is in running it."""
    state = transition.state
    changes: dict[str, RevisionStatus | None] = {}
    if state.canary is not None:
        changes["canary"] = _of_canary(seen, state.canary)
    if state.stable is None:
        return transition.then(**changes) if changes else transition
    stable = _counted(seen, _of_stable(seen, state, _known(seen, state.stable)))
    return transition.then(*_told(seen, state.stable, stable), stable=stable, **changes)


def is_upgrading(state: DeploymentStatus) -> bool:
    """Whether servers of stable run an image that is not to stay."""
    return state.stable is not None and state.stable.image_time is not None


def due(seen: Observation, state: DeploymentStatus) -> datetime | None:
    """When an upgrade that has not come to its end is stalled, or one that waits for its turn is looked at again; None
    where nothing is to come, and once it is stalled.
    """
    if state.stable is None:
        return None
    since = state.stable.image_time
    if since is None:
        waits = (
            seen.deployment.spec.server.upgrade_policy == ROLLING and state.stable.image != seen.platform.server_image
        )
        return later(seen.now, ASK_AGAIN_SECONDS) if waits else None
    end = progress.due(seen, since)
    return end if seen.now < end else None


def how_far(seen: Observation, state: DeploymentStatus) -> str:
    """How many servers run the new image, and what keeps the others from it."""
    stable, wanted = state.stable, seen.deployment.spec.replicas
    if stable is None:
        return ""
    what = f"{stable.updated_replicas or 0} of {wanted} servers of {stable.model} run {stable.image}"
    return f"{what}{progress.said(seen.trouble(stable.revision))}"


def _told(seen: Observation, before: RevisionStatus, after: RevisionStatus) -> tuple[Event, ...]:
    """An event when the image changes, and when all servers run it."""
    if before.image is not None and before.image != after.image:
        text = f"the servers of {after.model} change from {before.image} to {after.image}, one after the other"
        return (messages.event(seen, Reason.ServersUpgrading, text),)
    if before.image_time is not None and after.image_time is None:
        text = f"all servers of {after.model} run {after.image} and gave the known answers to its golden set"
        return (messages.event(seen, Reason.ServersUpgraded, text),)
    return ()


def _known(seen: Observation, served: RevisionStatus) -> RevisionStatus:
    """With the image that its workload says, where the status does not."""
    server = seen.server(served.revision)
    if served.image is not None or server is None:
        return served
    return served.model_copy(update={"image": server.bundle.template.image})


def _of_canary(seen: Observation, canary: RevisionStatus) -> RevisionStatus:
    canary = _known(seen, canary)
    waits = canary.weight == 0 and seen.ready(canary.revision) == 0
    return canary.model_copy(update={"image": seen.platform.server_image}) if waits else canary


def _of_stable(seen: Observation, state: DeploymentStatus, stable: RevisionStatus) -> RevisionStatus:
    trouble = seen.trouble(stable.revision)
    is_lost = seen.ready(stable.revision) == 0 and trouble is not None and trouble.reason in PULLING
    asked = seen.deployment.spec.server.upgrade_policy == ROLLING and seen.may_upgrade
    is_well = state.canary is None and seen.ready(stable.revision) >= seen.deployment.spec.replicas
    # One that is under way and has a newer image to go to is as good as one that begins.
    goes_on = asked and stable.image_time is not None
    return _with(seen, stable) if is_lost or goes_on or (asked and is_well) else stable


def _with(seen: Observation, served: RevisionStatus) -> RevisionStatus:
    """With today's image."""
    if served.image == seen.platform.server_image:
        return served
    return served.model_copy(update={"image": seen.platform.server_image, "image_time": seen.now})


def _counted(seen: Observation, stable: RevisionStatus) -> RevisionStatus:
    """With the servers that run the image; without the memory of an upgrade once all do."""
    server = seen.server(stable.revision)
    if stable.image_time is None or server is None:
        return stable
    if server.bundle.template.image != stable.image:
        return stable.model_copy(update={"updated_replicas": 0})
    if _is_done(server, seen.deployment.spec.replicas):
        return stable.model_copy(update={"updated_replicas": None, "image_time": None})
    return stable.model_copy(update={"updated_replicas": server.updated})


def _is_done(server: Server, wanted: int) -> bool:
    """As `kubectl rollout status` has it: all are of the new template, no other is left, and all are ready."""
    return server.updated >= max(wanted, server.replicas) and server.ready >= server.replicas
