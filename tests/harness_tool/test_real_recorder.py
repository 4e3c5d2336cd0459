"""Who did what on the real tier: what the watches showed, and what the answers said."""

from __future__ import annotations

import asyncio
from typing import Any

from millrace_harness.recorder import CONTROLLERS, Recorder
from millrace_harness.wire import APPLY, Request, Response

PATH = "/apis/apps/v1/namespaces/ml/deployments/one"


def make(version: int, *, status: str = "", name: str = "one", **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "ml", "uid": f"uid-{name}", "resourceVersion": str(version)}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec, "status": {"it": status}}


def make_request(method: str = "PATCH", sender: str = "operator-1") -> Request:
    return Request(sender, method, PATH, {}, {}, APPLY)


def show(recorder: Recorder, manifest: dict[str, Any], kind: str = "MODIFIED") -> None:
    recorder.learn({"type": kind, "object": manifest})


def complete() -> None:
    """No watch has ended."""


def told(recorder: Recorder) -> list[tuple[str, str | None]]:
    """Sender, and the version that came of it."""
    return [
        (one.sender, one.after["metadata"]["resourceVersion"] if one.after is not None else None)
        for one in recorder.history().changes
    ]


async def test_commits_are_told_in_their_order_whichever_watch_was_faster() -> None:
    recorder = Recorder(complete)
    show(recorder, make(5, name="two"), "ADDED")
    show(recorder, make(4), "ADDED")
    assert told(recorder) == [(CONTROLLERS, "4"), (CONTROLLERS, "5")]


async def test_a_write_is_its_senders() -> None:
    recorder = Recorder(complete)
    answered = recorder.note(make_request())
    show(recorder, make(4, replicas=1), "ADDED")
    answered(Response(201, make(4, replicas=1)))
    assert told(recorder) == [("operator-1", "4")]


async def test_a_write_that_changed_nothing_is_none() -> None:
    recorder = Recorder(complete)
    show(recorder, make(4, replicas=1), "ADDED")
    recorder.note(make_request())(Response(200, make(4, replicas=1)))
    assert told(recorder) == [(CONTROLLERS, "4")]


async def test_a_write_that_changed_nothing_right_after_a_controller_is_not_the_controllers_change() -> None:
    recorder = Recorder(complete)
    show(recorder, make(4, replicas=1), "ADDED")
    answered = recorder.note(make_request())
    show(recorder, make(6, status="scaled", replicas=1))
    answered(Response(200, make(6, status="scaled", replicas=1)))
    assert told(recorder) == [(CONTROLLERS, "4"), (CONTROLLERS, "6")]


async def test_a_deletion_is_its_senders_and_a_collectors_is_nobodys() -> None:
    recorder = Recorder(complete)
    for name in ("one", "two"):
        show(recorder, make(4, name=name), "ADDED")
    recorder.note(make_request("DELETE"))(Response(200, {"kind": "Status", "details": {"uid": "uid-one"}}))
    show(recorder, make(7), "DELETED")
    show(recorder, make(8, name="two"), "DELETED")
    assert told(recorder)[2:] == [("operator-1", None), (CONTROLLERS, None)]


async def test_users_see_what_they_wrote() -> None:
    recorder = Recorder(complete)
    recorder.note(make_request(sender="user"))(Response(200, make(4)))
    looking = asyncio.create_task(recorder.is_current("workloads"))
    await asyncio.sleep(0.02)
    assert not looking.done()
    show(recorder, make(4), "ADDED")
    assert await looking
