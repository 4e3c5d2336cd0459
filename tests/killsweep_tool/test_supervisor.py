"""The proxy and the supervisor against a real API server, with a small writer in the operator's place."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from millrace.clients import credentials
from millrace_cluster.control_plane import ControlPlane
from millrace_killsweep import access
from millrace_killsweep.points import Points
from millrace_killsweep.proxy import AfterWrite, Proxy
from millrace_killsweep.supervisor import TLS_SECONDS, Supervisor, wait_until
from millrace_killsweep.writes import Write

pytestmark = pytest.mark.apiserver

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
APPLY = "application/apply-patch+yaml"

WRITER = """
import json, sys, os, urllib.request, yaml
config = yaml.safe_load(open(os.environ["KUBECONFIG"]))
server, token = config["clusters"][0]["cluster"]["server"], config["users"][0]["user"]["token"]
def send(method, path, body=None, content="application/apply-patch+yaml"):
    request = urllib.request.Request(server + path, method=method, data=json.dumps(body).encode() if body else None)
    request.add_header("Authorization", "Bearer " + token)
    request.add_header("Content-Type", content)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)
maps = "/api/v1/namespaces/default/configmaps"
for name in ("one", "two"):
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}}
    for _ in range(2):
        send("PATCH", f"{maps}/{name}?fieldManager=test&force=true", body)
lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}}
send("PATCH", "/apis/coordination.k8s.io/v1/namespaces/default/leases/l?fieldManager=test&force=true", lease)
try:
    send("DELETE", f"{maps}/one")
except urllib.error.HTTPError as error:
    assert error.code == 404, error
print("done", flush=True)
import time; time.sleep(60)
"""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("plane"), users={"writer": ["system:masters"]}) as started:
        started.kubectl("create", "namespace", "default", check=False)
        yield started


def _supervisor(plane: ControlPlane, folder: Path, most: int, program: str = WRITER) -> Supervisor:
    return Supervisor(
        [sys.executable, "-c", program],
        {"PATH": "/usr/bin:/bin"},
        access.upstream(credentials.from_kubeconfig(plane.kubeconfig_for("admin"))),
        Points(most=most),
        folder=folder,
        kubeconfig_of=lambda server: access.kubeconfig(server, plane.token("writer"), "default"),
    )


def _has_said(supervisor: Supervisor, word: bytes) -> bool:
    return supervisor.log.exists() and word in supervisor.log.read_bytes()


def _clean(plane: ControlPlane) -> None:
    plane.kubectl("delete", "configmap", "one", "two", "--ignore-not-found")


def test_the_writer_dies_after_each_effective_write_and_the_write_stays(plane: ControlPlane, tmp_path: Path):
    _clean(plane)
    with _supervisor(plane, tmp_path, most=10) as supervisor:
        assert wait_until(lambda: _has_said(supervisor, b"done"), 30)
    points = supervisor._points
    killed = [(one.write.verb, one.write.target.name) for one in points.seen if one.fate == "killed"]
    assert killed == [("apply", "one"), ("apply", "two"), ("delete", "one")]
    assert supervisor.starts == 4
    assert supervisor.crashes == []
    names = json.loads(plane.kubectl("get", "configmap", "-o", "json").stdout)["items"]
    assert [item["metadata"]["name"] for item in names] == ["two"]


def test_without_kills_the_writer_lives_once_and_no_op_applies_are_not_counted(plane: ControlPlane, tmp_path: Path):
    _clean(plane)
    with _supervisor(plane, tmp_path, most=0) as supervisor:
        assert wait_until(lambda: _has_said(supervisor, b"done"), 30)
    written = [(one.write.verb, one.write.target.name, one.ordinal) for one in supervisor._points.seen]
    assert written == [("apply", "one", 1), ("apply", "two", 1), ("delete", "one", 1)]
    assert supervisor.starts == 1


def test_an_end_that_nobody_caused_is_told(plane: ControlPlane, tmp_path: Path):
    with _supervisor(plane, tmp_path, most=1, program="raise SystemExit(3)") as supervisor:
        assert wait_until(lambda: bool(supervisor.crashes), 20)
    assert supervisor.crashes[0] == "start 1 ended by itself with exit code 3"


@asynccontextmanager
async def _proxied(plane: ControlPlane, after_write: AfterWrite) -> AsyncIterator[tuple[str, aiohttp.ClientSession]]:
    """The address of a proxy, and a session of the writer."""
    upstream = access.upstream(credentials.from_kubeconfig(plane.kubeconfig_for("admin")))
    headers = {"Authorization": f"Bearer {plane.token('writer')}"}
    async with Proxy(upstream, after_write) as proxy, aiohttp.ClientSession(headers=headers) as session:
        yield f"http://127.0.0.1:{proxy.port}", session
    await asyncio.sleep(TLS_SECONDS)


async def test_watches_stream_through_and_refusals_keep_their_words(plane: ControlPlane):
    plane.kubectl("delete", "configmap", "seen", "--ignore-not-found")
    heard: list[Write] = []

    async def after_write(write: Write) -> bool:
        heard.append(write)
        return False

    async with _proxied(plane, after_write) as (base, session):
        async with session.get(f"{base}{CONFIG_MAPS}?limit=500") as listed:
            version = (await listed.json())["metadata"]["resourceVersion"]
        watch = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "5"}
        async with session.get(base + CONFIG_MAPS, params=watch) as stream:
            events = []
            started = time.monotonic()
            for value in ("1", "2"):
                body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "seen"}, "data": {"v": value}}
                async with session.patch(f"{base}{CONFIG_MAPS}/seen?fieldManager=t&force=true", json=body,
                                         headers={"Content-Type": APPLY}) as answer:  # fmt: skip
                    assert answer.status < 300
                events.append(json.loads(await stream.content.readline()))
            assert time.monotonic() - started < 3
            assert [(one["type"], one["object"]["data"]["v"]) for one in events] == [("ADDED", "1"), ("MODIFIED", "2")]
        async with session.post(base + CONFIG_MAPS, json={"kind": "ConfigMap", "apiVersion": "v1",
                                                         "metadata": {"name": "seen"}}) as refused:  # fmt: skip
            assert refused.status == 409
            assert (await refused.json())["reason"] == "AlreadyExists"
        async with session.get(base + "/api/v1/nodes", headers={"Authorization": "Bearer wrong"}) as stranger:
            assert stranger.status == 401
    assert [write.verb for write in heard] == ["apply", "apply"]


async def test_a_write_that_waited_while_its_sender_died_is_not_committed(plane: ControlPlane):
    plane.kubectl("delete", "configmap", "p0", "p1", "p2", "--ignore-not-found")

    async def after_write(_: Write) -> bool:
        await asyncio.sleep(0.3)
        return True

    async with _proxied(plane, after_write) as (base, session):

        async def create(number: int) -> Any:
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"p{number}"}}
            async with session.post(base + CONFIG_MAPS, json=body) as answer:
                return await answer.read()

        results = await asyncio.gather(*(create(number) for number in range(3)), return_exceptions=True)
    assert all(isinstance(result, aiohttp.ClientError) for result in results), results
    found = json.loads(plane.kubectl("get", "configmap", "-o", "json").stdout)["items"]
    assert len([item for item in found if item["metadata"]["name"].startswith("p")]) == 1


def test_the_supervisor_leaves_no_process_and_no_thread(plane: ControlPlane, tmp_path: Path):
    _clean(plane)
    before = threading.active_count()
    with _supervisor(plane, tmp_path, most=0, program="import time; print('up', flush=True); time.sleep(60)") as one:
        assert wait_until(lambda: _has_said(one, b"up"), 20)
    assert threading.active_count() == before
