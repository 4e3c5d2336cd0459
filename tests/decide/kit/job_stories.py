"""Whatever a Job and its pods may look like: strategies shared by the laws of those who read them."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from millrace.decide.job import Container, Job, Pod

texts = st.text(max_size=1200)


def lost(stage: str, *before: str) -> dict[str, Pod]:
    """Pods whose container of that stage ended without a fault of its own, after these others had ended well."""
    done = tuple(Container(name=name, state="Terminated", exit_code=0) for name in before)

    def ended(**container: object) -> tuple[Container, ...]:
        fields = {"name": stage, "state": "Terminated", "message": "epoch 3 of 10", **container}
        return (*done, Container.model_validate(fields))

    gone, full = "The container could not be located when the pod was terminated", "no space left on device"
    return {
        "evicted": Pod(
            name="p", phase="Failed", reason="Evicted", message="The node was low on resource: memory.",
            containers=ended(exit_code=137, reason="Error"),
        ),
        "preempted": Pod(
            name="p", phase="Failed", reason="Preempting", message="Preempted in order to admit critical pod",
            containers=ended(exit_code=143, reason="Error"),
        ),
        "node restarted": Pod(
            name="p", phase="Failed", containers=ended(exit_code=137, reason="ContainerStatusUnknown", message=gone)
        ),
        "not started": Pod(
            name="p", phase="Failed", containers=ended(exit_code=128, reason="StartError", message=full)
        ),
    }  # fmt: skip


def jobs(stages: Sequence[str], messages: SearchStrategy[str], ended: SearchStrategy[object]) -> SearchStrategy[Job]:
    """Jobs whose containers are of these stages and say these things; `ended` is when a Job finished."""
    containers = st.builds(
        Container,
        name=st.sampled_from(stages),
        state=st.sampled_from(["Waiting", "Running", "Terminated"]),
        reason=st.sampled_from(["", "OOMKilled", "ImagePullBackOff", "ContainerStatusUnknown", "StartError"]),
        message=messages,
        exit_code=st.sampled_from([None, 0, 1, 2, 137]),
    )
    pods = st.builds(
        Pod,
        name=texts,
        phase=st.sampled_from(["", "Pending", "Running", "Failed", "Succeeded"]),
        reason=st.sampled_from(["", "Evicted", "Unschedulable"]),
        message=texts,
        containers=st.lists(containers, max_size=3).map(tuple),
    )
    return st.builds(
        Job,
        name=st.just("stray"),
        uid=st.uuids().map(str),
        state=st.sampled_from(["Active", "Succeeded", "Failed"]),
        reason=st.sampled_from(["", "DeadlineExceeded", "BackoffLimitExceeded"]),
        message=texts,
        failed=st.integers(0, 5000),
        is_going=st.booleans(),
        finished=ended,
        pods=st.lists(pods, max_size=3).map(tuple),
    )
