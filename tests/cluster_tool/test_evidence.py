"""What is read when something failed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from millrace_cluster import evidence, pods


@pytest.fixture(autouse=True)
def _nothing_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "_offered", [])


def test_the_end_of_each_log_is_read_and_silence_left_out():
    evidence.offer("a", lambda: {"a.log": "\n".join(map(str, range(100))) + "\n\n", "b.log": "\n"})
    assert list(evidence.collect()) == ["a.log"]
    assert evidence.collect()["a.log"].splitlines()[:: evidence.LINES - 1] == ["60", "99"]


def test_of_many_processes_the_ones_started_last_are_read():
    for number in range(10):
        evidence.offer(f"owner {number}", lambda number=number: {f"{number}.log": "words"})
    assert list(evidence.collect()) == [f"{number}.log" for number in range(10 - evidence.SOURCES, 10)]


def test_what_was_withdrawn_is_not_read():
    owner = object()
    evidence.offer(owner, lambda: {"a.log": "words"})
    evidence.withdraw(owner)
    evidence.withdraw(owner)
    assert evidence.collect() == {}


def container(name: str, *, ready: bool = True, restarts: int = 0, **waiting: str) -> dict[str, Any]:
    return {
        "name": name, "ready": ready, "restartCount": restarts, "state": {"waiting": waiting} if waiting else {},
    }  # fmt: skip


def pod(name: str, *containers: dict[str, Any], phase: str = "Running") -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"phase": phase, "containerStatuses": list(containers)}}


def kubectl(*items: dict[str, Any], silent: str = ""):
    def run(*arguments: str) -> str:
        if arguments[:2] == ("get", "pods"):
            return json.dumps({"items": items})
        if arguments[:2] == ("get", "events"):
            return "".join(f"12:00 churn FailedScheduling {n}\n" for n in range(30))
        if arguments[1] == silent:
            raise RuntimeError("kubectl logs: container is waiting to start")
        return f"{arguments[1]} said this{' before it restarted' if '--previous' in arguments else ''}\n"

    return run


def test_a_pod_in_trouble_comes_after_those_that_are_well_and_events_last():
    found = pods.last_words(
        kubectl(
            pod("a-server", container("server", ready=False), phase="Pending"),
            pod("operator", container("operator")),
            pod("router", container("envoy", restarts=2)),
        )
    )
    assert list(found) == [
        "pod operator (Running)", "pod router (Running, 2 restarts)", "pod a-server (Pending)", "Warning events",
    ]  # fmt: skip
    assert found["Warning events"].splitlines() == [f"12:00 churn FailedScheduling {n}" for n in range(10, 30)]


def test_a_pod_that_restarted_shows_what_it_said_before():
    found = pods.last_words(kubectl(pod("router", container("envoy", restarts=1))))
    assert found["pod router (Running, 1 restarts)"] == "router said this before it restarted\nrouter said this"


def test_a_pod_that_never_started_shows_why_it_waits():
    waiting = container("server", ready=False, reason="ImagePullBackOff", message="no such image")
    found = pods.last_words(kubectl(pod("churn", waiting, phase="Pending"), silent="churn"))
    assert found["pod churn (Pending)"] == (
        "kubectl logs: container is waiting to start\nserver: ImagePullBackOff no such image"
    )


def test_a_pod_that_has_no_node_shows_what_the_scheduler_said():
    stuck = pod("churn", phase="Pending")
    stuck["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: Insufficient cpu."},
        {"type": "Initialized", "status": "True", "message": "well"},
    ]
    words = pods.last_words(kubectl(stuck, silent="churn"))["pod churn (Pending)"]
    assert words.splitlines()[1:] == ["PodScheduled: 0/1 nodes are available: Insufficient cpu."]


def test_a_job_that_is_done_is_no_trouble():
    done, stuck = container("train", ready=False), container("server", ready=False)
    found = pods.last_words(kubectl(pod("a-server", stuck), pod("job", done, phase="Succeeded")))
    assert list(found)[:2] == ["pod job (Succeeded)", "pod a-server (Running)"]
