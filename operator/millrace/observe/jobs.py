"""Jobs and their pods, sorted into what decisions read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from millrace import errors
from millrace.api import resources
from millrace.clients.store import Manifest
from millrace.clients.world import World
from millrace.decide.job import PODLESS_SECONDS, REFUSED, Container, Job, Pod
from millrace.observe import pods as reading
from millrace.render.pod import Platform

JOB_NAME = "batch.kubernetes.io/job-name"
_TIME: TypeAdapter[datetime] = TypeAdapter(datetime)


def platform(world: World) -> Platform:
    """The settings as far as pods are made of them."""
    return Platform.model_validate(world.settings, from_attributes=True)


async def owned(world: World, owner_uid: str, *answers: str | None) -> tuple[Job, ...]:
    """The Jobs controlled by this object, by name.

    Of those called `answers` the pods are listed live once they have finished: the Job's end and the pod's termination
    message travel on two watches, and an answer that has not arrived yet must not count as none.
    """
    found = []
    for manifest in world.store.owned(resources.JOBS, owner_uid):
        seen = view(manifest, ())
        is_asked = seen.is_finished and seen.name in answers
        seen = view(manifest, await _pods(world, manifest, live=is_asked))
        found.append(seen.model_copy(update={"refusal": await _refusal(world, manifest, seen)}))
    return tuple(found)


async def _refusal(world: World, manifest: Manifest, seen: Job) -> str:
    """Why the API server takes no pod of a Job.

    A Job's status does not say so, only the Events of the Job controller do. They are not watched, as a cluster has
    many of them: those of this very Job are listed, and only while it has had no pod for some seconds.
    """
    newest = seen.pods[-1].created if seen.pods else seen.created
    if newest is None or seen.is_finished or seen.is_going or seen.live is not None:
        return ""
    if (world.clock.now() - newest).total_seconds() < PODLESS_SECONDS:
        return ""
    fields = {"involvedObject.uid": seen.uid, "reason": REFUSED}
    try:
        told = await world.kube.list(resources.EVENTS, manifest["metadata"]["namespace"], fields=fields)
    except errors.Forbidden:
        return ""  # the role is of an older release: it is not worth failing for
    last = max(told, key=_told, default=None)
    return reading.words(str(last.get("message") or "")) if last is not None and _told(last) >= newest else ""


def _told(event: Manifest) -> datetime:
    """When an Event was told last."""
    when = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp")
    return _time(when) or datetime.min.replace(tzinfo=UTC)


async def _pods(world: World, job: Manifest, *, live: bool) -> Iterable[Manifest]:
    metadata = job["metadata"]
    if live:
        labels = {JOB_NAME: metadata["name"]}
        pods: list[Manifest] = await world.kube.list(resources.PODS, metadata["namespace"], labels)
        return [pod for pod in pods if _belongs(pod, metadata["uid"])]
    return world.store.owned(resources.PODS, metadata["uid"])


def _belongs(pod: Mapping[str, Any], job_uid: str) -> bool:
    return any(reference.get("uid") == job_uid for reference in pod["metadata"].get("ownerReferences") or ())


def view(job: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> Job:
    """A Job and its pods. Total: what is missing or malformed counts as not there."""
    metadata, status = job["metadata"], job.get("status") or {}
    ending = _ending(status)
    state: Literal["Active", "Succeeded", "Failed"] = "Active"
    if ending:
        state = "Succeeded" if ending.get("type") == "Complete" else "Failed"
    attempts = sorted((_pod(pod) for pod in pods), key=lambda pod: (pod.created is not None, pod.created, pod.name))
    return Job(
        name=metadata["name"],
        uid=metadata.get("uid") or "",
        state=state,
        reason=str(ending.get("reason") or ""),
        message=str(ending.get("message") or ""),
        failed=int(status.get("failed") or 0),
        is_going="deletionTimestamp" in metadata,
        created=_time(metadata.get("creationTimestamp")),
        finished=_time(status.get("completionTime") or ending.get("lastTransitionTime")),
        pods=tuple(attempts),
    )


def _ending(status: Mapping[str, Any]) -> Mapping[str, Any]:
    """The condition that ends a Job: Complete or Failed. FailureTarget and SuccessCriteriaMet only announce it."""
    for condition in status.get("conditions") or ():
        if condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True":
            found: Mapping[str, Any] = condition
            return found
    return {}


def _pod(pod: Mapping[str, Any]) -> Pod:
    metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    told = {
        one.get("name"): one for key in ("initContainerStatuses", "containerStatuses") for one in status.get(key) or ()
    }
    names = [one.get("name") for key in ("initContainers", "containers") for one in spec.get(key) or ()] or list(told)
    reason, message = status.get("reason"), status.get("message")
    unscheduled = _unscheduled(status)
    if not reason and unscheduled:
        reason, message = unscheduled.get("reason"), unscheduled.get("message")
    return Pod(
        name=metadata["name"],
        created=_time(metadata.get("creationTimestamp")),
        phase=str(status.get("phase") or ""),
        reason=str(reason or ""),
        message=str(message or ""),
        containers=tuple(_container(str(name), told.get(name) or {}) for name in names),
    )


def _unscheduled(status: Mapping[str, Any]) -> Mapping[str, Any]:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            found: Mapping[str, Any] = condition
            return found
    return {}


def _container(name: str, status: Mapping[str, Any]) -> Container:
    state = status.get("state") or {}
    ended, running, waiting = state.get("terminated"), state.get("running"), state.get("waiting") or {}
    if ended is not None:
        return Container(
            name=name,
            state="Terminated",
            reason=str(ended.get("reason") or ""),
            message=str(ended.get("message") or ""),
            exit_code=int(ended.get("exitCode") or 0),
        )
    return Container(
        name=name,
        state="Running" if running is not None else "Waiting",
        reason=str(waiting.get("reason") or ""),
        message=str(waiting.get("message") or ""),
    )


def _time(text: object) -> datetime | None:
    try:
        return _TIME.validate_python(text) if text is not None else None
    except ValidationError:
        return None
