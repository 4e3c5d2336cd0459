"""The client against a server that answers as told: repetitions, refusals, fences."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from millrace import errors
from millrace.api import resources
from millrace.clients import kube as kubes
from millrace.clients.credentials import Credentials
from millrace.clients.kube import Kube
from millrace_kit.manifests import make_manifest

JOB = make_manifest(resources.JOBS, "j")


class Server:
    """Answers each request with the next of `answers`, the last one for ever; keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any] | Callable[[web.Request], Any]] = []
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.asked.append((request.method, request.path_qs, dict(request.headers), body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            found: web.StreamResponse = await answer(request)
            return found
        status, content = answer
        return web.json_response(content, status=status)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"  # type: ignore[attr-defined]
    yield server
    await runner.cleanup()


@pytest.fixture
async def kube(server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Kube]:
    monkeypatch.setattr(kubes, "PAUSE_SECONDS", 0.001)
    async with Kube(Credentials(server=server.url, fixed_token="secret"), timeout=1) as kube:  # type: ignore[attr-defined]
        yield kube


def _status(code: int, reason: str = "", message: str = "no") -> tuple[int, dict[str, Any]]:
    return code, {"kind": "Status", "reason": reason, "message": message, "code": code}


async def test_a_patch_for_another_object_of_the_name_is_a_conflict(server: Server, kube: Kube) -> None:
    status, body = _status(422, "Invalid")
    server.answers = [(status, {**body, "details": {"causes": [{"field": "metadata.uid", "message": "immutable"}]}})]
    with pytest.raises(errors.Conflict):
        await kube.apply(resources.JOBS, JOB)


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (_status(400), errors.BadRequest),
        (_status(403), errors.Forbidden),
        (_status(404), errors.NotFound),
        (_status(409, "AlreadyExists"), errors.AlreadyExists),
        (_status(409, "Conflict"), errors.Conflict),
        (_status(410), errors.Gone),
        (_status(422), errors.Invalid),
        (_status(418), errors.ApiError),
        (_status(429), errors.Unavailable),
        (_status(500), errors.Unavailable),
        (_status(500, "", "failed to create typed patch object (d/j; batch/v1, Kind=Job): no"), errors.Invalid),
    ],
)
async def test_each_refusal_is_its_own_exception_with_the_servers_words(
    server: Server, kube: Kube, answer: tuple[int, Any], raised: type[errors.ApiError]
) -> None:
    server.answers = [answer]
    with pytest.raises(raised, match="no") as caught:
        await kube.create(resources.JOBS, JOB)
    assert type(caught.value) is raised
    assert caught.value.status == answer[0]


async def test_what_may_be_repeated_is_tried_three_times_and_a_create_once(server: Server, kube: Kube) -> None:
    server.answers = [_status(503), _status(503), (200, JOB)]
    assert await kube.apply(resources.JOBS, JOB) == JOB
    assert len(server.asked) == 3
    server.answers = [_status(503)]
    with pytest.raises(errors.Unavailable):
        await kube.apply(resources.JOBS, JOB)
    assert len(server.asked) == 6
    with pytest.raises(errors.Unavailable):
        await kube.create(resources.JOBS, JOB)
    assert len(server.asked) == 7


async def test_retry_after_is_obeyed(server: Server, kube: Kube) -> None:
    async def busy(request: web.Request) -> web.Response:
        return web.json_response({}, status=429, headers={"Retry-After": "0.2"})

    server.answers = [busy, (200, JOB)]
    started = asyncio.get_running_loop().time()
    await kube.get(resources.JOBS, "default", "j")
    assert asyncio.get_running_loop().time() - started >= 0.15


async def test_a_broken_connection_and_a_server_that_hangs_are_unavailable(server: Server, kube: Kube) -> None:
    async def hang_up(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def hang(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    server.answers = [hang_up]
    with pytest.raises(errors.Unavailable, match="cannot be reached"):
        await kube.create(resources.JOBS, JOB)
    server.answers = [hang]
    with pytest.raises(errors.Unavailable, match="cannot be reached"):
        await kube.create(resources.JOBS, JOB)


async def test_no_write_leaves_without_the_lease_and_it_is_asked_for_before_each_repetition(
    server: Server, kube: Kube
) -> None:
    holds = [True, False]
    kube.may_write = lambda: holds.pop(0)
    server.answers = [_status(503)]
    with pytest.raises(errors.NotLeader):
        await kube.apply(resources.JOBS, JOB)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "write",
    [
        lambda kube: kube.apply(resources.JOBS, JOB),
        lambda kube: kube.create(resources.JOBS, JOB),
        lambda kube: kube.patch(resources.JOBS, "default", "j", {}),
        lambda kube: kube.patch_status(resources.JOBS, "default", "j", {}),
        lambda kube: kube.delete(resources.JOBS, "default", "j", uid="u"),
        lambda kube: kube.replace(resources.JOBS, JOB),
    ],
    ids=["apply", "create", "patch", "patch_status", "delete", "replace"],
)
async def test_every_kind_of_write_is_fenced(server: Server, kube: Kube, write: Callable[[Kube], Any]) -> None:
    kube.may_write = bool
    with pytest.raises(errors.NotLeader):
        await write(kube)
    assert server.asked == []


async def test_reads_and_dry_runs_are_not_fenced(server: Server, kube: Kube) -> None:
    kube.may_write = bool
    server.answers = [(200, JOB)]
    await kube.get(resources.JOBS, "default", "j")
    await kube.create(resources.JOBS, JOB, dry_run=True)
    assert "dryRun=All" in server.asked[-1][1]


async def test_a_delete_carries_its_preconditions_and_gone_is_success(server: Server, kube: Kube) -> None:
    server.answers = [_status(404)]
    await kube.delete(resources.JOBS, "default", "j", uid="u", resource_version="7")
    method, _, _, body = server.asked[0]
    assert (method, body["preconditions"]) == ("DELETE", {"uid": "u", "resourceVersion": "7"})


async def test_a_list_is_read_to_its_last_page_and_its_items_know_their_kind(server: Server, kube: Kube) -> None:
    server.answers = [
        (200, {"metadata": {"continue": "more"}, "items": [{"metadata": {"name": "a"}}]}),
        (200, {"metadata": {}, "items": [{"metadata": {"name": "b"}}]}),
    ]
    found = await kube.list(resources.JOBS, "default", {"x": "1", "a": "2"})
    assert [(one["kind"], one["apiVersion"], one["metadata"]["name"]) for one in found] == [
        ("Job", "batch/v1", "a"),
        ("Job", "batch/v1", "b"),
    ]
    assert "labelSelector=a%3D2,x%3D1" in server.asked[0][1] or "labelSelector=a=2,x=1" in server.asked[0][1]
    assert "continue=more" in server.asked[1][1]


async def test_a_refused_token_is_read_again(server: Server, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubes, "PAUSE_SECONDS", 0.001)
    token = tmp_path / "token"
    token.write_text("old")
    credentials = Credentials(server=server.url, token_file=str(token))  # type: ignore[attr-defined]
    server.answers = [(200, JOB), _status(401), (200, JOB)]
    async with Kube(credentials) as kube:
        await kube.get(resources.JOBS, "default", "j")
        token.write_text("new\n")
        await kube.create(resources.JOBS, JOB)
    assert [headers["Authorization"] for _, _, headers, _ in server.asked] == ["Bearer old", "Bearer old", "Bearer new"]
