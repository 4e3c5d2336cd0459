"""The Job controller, as far as Jobs of one pod at a time need it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from millrace.api import resources
from millrace.api.resources import ResourceType

from .desk import Desk, condition, controller_of, is_going, is_ready, reference
from .server import ApiServer
from .storage import Change, Manifest
from .writes import rfc3339

DELAY_SECONDS: Final = 0.02
BACKOFF_SECONDS: Final = 10.0
LONGEST_BACKOFF_SECONDS: Final = 360.0
TRACKING: Final = "batch.kubernetes.io/job-tracking"
ENDINGS: Final = frozenset({"Complete", "Failed"})
TARGETS: Final = {"SuccessCriteriaMet": "Complete", "FailureTarget": "Failed"}


class JobController:
    """Makes the pods of Jobs, counts how they end, and says so: first the announcement, then the end."""

    def __init__(self, server: ApiServer) -> None:
        self._desk = Desk(server, DELAY_SECONDS, self._sync)
        self._failed_at: dict[str, float] = {}
        server.subscribe(self._saw)

    def _saw(self, change: Change) -> None:
        if change.resource is resources.JOBS:
            self._desk.soon(change.resource, change.namespace, change.name)
        elif change.resource is resources.PODS:
            owner = controller_of(change.manifest)
            if owner is not None and owner["kind"] == "Job":
                self._desk.soon(resources.JOBS, change.namespace, owner["name"])
                if change.after is not None and is_going(change.after):
                    self._desk.soon(change.resource, change.namespace, change.name)

    def _sync(self, resource: ResourceType, namespace: str, name: str) -> None:
        found = self._desk.get(resource, namespace, name)
        if found is None:
            return
        if resource is resources.PODS:
            self._let_orphan_go(found)
        elif not is_going(found):
            self._sync_job(found)

    def _let_orphan_go(self, pod: Manifest) -> None:
        """A pod whose Job is gone, or going, is not counted any more."""
        owner = controller_of(pod)
        job = self._desk.get(resources.JOBS, pod["metadata"]["namespace"], owner["name"]) if owner else None
        if owner is None or job is None or job["metadata"]["uid"] != owner["uid"] or is_going(job) or _ending(job):
            self._untrack(pod)

    def _untrack(self, pod: Manifest) -> None:
        finalizers = pod["metadata"].get("finalizers") or []
        if TRACKING in finalizers:
            kept = [one for one in finalizers if one != TRACKING]
            self._desk.patch(resources.PODS, pod, {"metadata": {"finalizers": kept}})

    def _sync_job(self, job: Manifest) -> None:
        pods = self._desk.owned(resources.PODS, job)
        if _ending(job):
            for pod in pods:
                self._untrack(pod)
            return
        counted = [pod for pod in pods if _is_over(pod) and TRACKING in (pod["metadata"].get("finalizers") or ())]
        active = [pod for pod in pods if not _is_over(pod)]
        status = self._status(job, counted, active)
        self._desk.status(resources.JOBS, job, status)
        for pod in counted:
            self._untrack(pod)
        target = _target(status["conditions"])
        if target is not None:
            self._end(job, target, active)
        elif not active:
            self._start(job, status)

    def _status(self, job: Manifest, counted: list[Manifest], active: list[Manifest]) -> Manifest:
        held, now = job.get("status") or {}, self._desk.server.clock.now()
        succeeded = sum(_phase(pod) == "Succeeded" for pod in counted)
        failed = sum(_phase(pod) != "Succeeded" and not _is_ignored(job, pod) for pod in counted)
        if any(_phase(pod) != "Succeeded" for pod in counted):
            self._failed_at[job["metadata"]["uid"]] = self._desk.server.loop.time()
        status: Manifest = {
            "startTime": held.get("startTime") or rfc3339(now),
            "active": sum(not is_going(pod) for pod in active),
            "ready": sum(is_ready(pod) and not is_going(pod) for pod in active),
            "terminating": sum(is_going(pod) for pod in active),
            "succeeded": held.get("succeeded", 0) + succeeded,
            "failed": held.get("failed", 0) + failed,
            "uncountedTerminatedPods": {},
            "conditions": held.get("conditions") or [],
        }
        if _target(status["conditions"]) is None:
            verdict = self._verdict(job, counted, status, now)
            if verdict is not None:
                status["conditions"] = [*status["conditions"], verdict]
        return status

    def _verdict(self, job: Manifest, counted: list[Manifest], status: Manifest, now: datetime) -> Manifest | None:
        """The announcement of the end, if there is a reason for one."""
        spec, failing = job["spec"], (_verdict_rule(job, pod) for pod in counted)
        if status["succeeded"] >= spec["completions"]:
            words = "Reached expected number of succeeded pods"
            return condition("SuccessCriteriaMet", now, "CompletionsReached", words)
        words = next((one for one in failing if one), "")
        if words:
            return condition("FailureTarget", now, "PodFailurePolicy", words)
        if status["failed"] > spec["backoffLimit"]:
            words = "Job has reached the specified backoff limit"
            return condition("FailureTarget", now, "BackoffLimitExceeded", words)
        deadline = spec.get("activeDeadlineSeconds")
        if deadline is None:
            return None
        left = deadline - (now - datetime.fromisoformat(status["startTime"])).total_seconds()
        if left <= 0:
            words = "Job was active longer than specified deadline"
            return condition("FailureTarget", now, "DeadlineExceeded", words)
        metadata = job["metadata"]
        self._desk.after(left, resources.JOBS, metadata["namespace"], metadata["name"])
        return None

    def _end(self, job: Manifest, target: Manifest, active: list[Manifest]) -> None:
        """Stop what still runs; say the end once nothing does. The announcement and the end are two writes."""
        for pod in active:
            if not is_going(pod):
                self._desk.delete(resources.PODS, pod)
        if active or _target((job.get("status") or {}).get("conditions") or ()) is None:
            return
        now = self._desk.server.clock.now()
        ending = condition(TARGETS[target["type"]], now, target["reason"], target["message"])
        status: Manifest = {"conditions": [*job["status"]["conditions"], ending], "active": 0, "terminating": 0}
        if ending["type"] == "Complete":
            status["completionTime"] = rfc3339(now)
        self._desk.status(resources.JOBS, job, status)

    def _start(self, job: Manifest, status: Manifest) -> None:
        """The next pod, after a pause that doubles with each failure."""
        metadata = job["metadata"]
        failed_at = self._failed_at.get(metadata["uid"])
        if failed_at is not None and status["failed"]:
            pause = min(LONGEST_BACKOFF_SECONDS, BACKOFF_SECONDS * 2 ** (status["failed"] - 1))
            left = failed_at + pause - self._desk.server.loop.time()
            if left > 0:
                self._desk.after(left, resources.JOBS, metadata["namespace"], metadata["name"])
                return
        template = job["spec"]["template"]
        self._desk.create(
            resources.PODS,
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    **template["metadata"],
                    "namespace": metadata["namespace"],
                    "generateName": f"{metadata['name']}-",
                    "ownerReferences": [reference(resources.JOBS, job)],
                    "finalizers": [TRACKING],
                },
                "spec": template["spec"],
            },
        )


def _phase(pod: Manifest) -> str:
    return str((pod.get("status") or {}).get("phase") or "")


def _is_over(pod: Manifest) -> bool:
    """Ended; or deleted before it was started, or by a kubelet that said nothing."""
    if _phase(pod) in {"Succeeded", "Failed"}:
        return True
    return is_going(pod) and not pod["metadata"].get("deletionGracePeriodSeconds")


def _ending(job: Manifest) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(one["type"] in ENDINGS and one["status"] == "True" for one in conditions)


def _target(conditions: Any) -> Manifest | None:
    return next((one for one in conditions if one["type"] in TARGETS and one["status"] == "True"), None)


def _rules(job: Manifest) -> list[Mapping[str, Any]]:
    return list((job["spec"].get("podFailurePolicy") or {}).get("rules") or ())


def _is_ignored(job: Manifest, pod: Manifest) -> bool:
    """Whether a rule says that this failure does not count."""
    conditions = {(one["type"], one["status"]) for one in (pod.get("status") or {}).get("conditions") or ()}
    codes = {code for _, code in _exit_codes(pod)}
    ignoring = [rule for rule in _rules(job) if rule["action"] == "Ignore"]
    wanted = [one for rule in ignoring for one in rule.get("onPodConditions") or ()]
    values = {code for rule in ignoring for code in (rule.get("onExitCodes") or {}).get("values") or ()}
    return bool(codes & values) or any((one["type"], one.get("status", "True")) in conditions for one in wanted)


def _verdict_rule(job: Manifest, pod: Manifest) -> str:
    """Why a rule fails the whole Job because of how this pod ended, or nothing."""
    for index, rule in enumerate(_rules(job)):
        codes = (rule.get("onExitCodes") or {}).get("values") or ()
        for name, code in _exit_codes(pod):
            if rule["action"] == "FailJob" and code in codes:
                metadata = pod["metadata"]
                return (
                    f"Container {name} for pod {metadata['namespace']}/{metadata['name']} failed with exit code {code} "
                    f"matching FailJob rule at index {index}"
                )
    return ""


def _exit_codes(pod: Manifest) -> list[tuple[str, int]]:
    if _phase(pod) != "Failed":
        return []
    status = pod["status"]
    parts = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    ended = [(part["name"], (part.get("state") or {}).get("terminated")) for part in parts]
    return [(name, state["exitCode"]) for name, state in ended if state and state.get("exitCode")]
