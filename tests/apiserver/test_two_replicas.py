"""Two replicas of the operator as installed, as processes: what a death of the leader costs, and what a stop costs.

Five pairs at once, each with a namespace and a Lease of its own, so that twenty deaths under the production lease times
take a minute and a half. Whoever dies is replaced by a process of another name, as a pod on another node would be.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from millrace import errors
from millrace.api import keys, resources
from millrace.clients import credentials
from millrace.clients.kube import METADATA_ONLY, Kube
from millrace.controller.leader import Election
from millrace.render import roles
from millrace_cluster import ports
from millrace_cluster.control_plane import ControlPlane
from millrace_kit.clock import ManualClock
from millrace_kit.network import FaultyProxy

ROOT = Path(__file__).parents[2]
LEASE = "millrace-operator"
PAIRS = 5
DEATHS_EACH = 4
WORST_SECONDS = 20.0
HANDOVER_SECONDS = 2.0


class Recorder(FaultyProxy):
    """Between one replica and the API server: what it lists, and what it writes, since `forget`."""

    def __init__(self, upstream: credentials.Credentials) -> None:
        super().__init__(upstream)
        self.listed: list[str] = []
        self.written: list[str] = []

    def forget(self) -> None:
        self.listed, self.written = [], []

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        asked = request.query
        line = f"{request.method} {request.path_qs}"
        if request.method != "GET":
            if "dryRun" not in asked and "/leases" not in request.path:
                self.written.append(line)
        elif _is_collection(request.path) and asked.get("watch") != "true" and not _is_audit(request):
            self.listed.append(line)
        return await super()._pass(request)


def _is_audit(request: web.Request) -> bool:
    """The comparison of names and versions that every replica makes now and then."""
    return request.headers.get("Accept") == METADATA_ONLY


def _is_collection(path: str) -> bool:
    parts = path.strip("/").split("/")
    return "namespaces" in parts and len(parts) == parts.index("namespaces") + 3


@dataclass
class Member:
    """One life of a replica."""

    name: str
    proxy: Recorder
    port: int
    process: asyncio.subprocess.Process
    doors: contextlib.AsyncExitStack

    async def is_ready(self) -> bool:
        """What the kubelet would be told."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self.port}/readyz") as answer,
            ):
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def end(self, number: signal.Signals) -> None:
        if self.process.returncode is None:
            self.process.send_signal(number)
        await self.process.wait()
        await self.doors.aclose()


@dataclass
class Pair:
    """Two replicas of one namespace; `members` by name."""

    namespace: str
    folder: Path
    upstream: credentials.Credentials
    kube: Kube
    members: dict[str, Member] = field(default_factory=dict)
    lives: int = 0
    wishes: int = 0

    async def start(self) -> Member:
        self.lives += 1
        name = f"{self.namespace}-{self.lives}"
        doors = contextlib.AsyncExitStack()
        proxy = await doors.enter_async_context(Recorder(self.upstream))
        port = ports.free_port()
        kubeconfig = self.folder / f"{name}.yaml"
        kubeconfig.write_text(yaml.safe_dump(_kubeconfig(proxy.credentials)))
        log = doors.enter_context((self.folder / f"{name}.log").open("wb"))
        process = await asyncio.create_subprocess_exec(
            *_command(),
            env={**os.environ, **_environment(self.namespace, name, port, kubeconfig)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        member = self.members[name] = Member(name, proxy, port, process, doors)
        return member

    async def settle(self) -> tuple[Member, Member]:
        """The leader and the standby, once both are ready and one leads."""

        async def settled() -> bool:
            ready = [await one.is_ready() for one in self.members.values()]
            return all(ready) and await self.holder() in self.members

        await until(settled, f"{self.namespace}: two replicas are ready and one leads", 60)
        holder = await self.holder()
        (standby,) = (one for name, one in self.members.items() if name != holder)
        return self.members[holder], standby

    async def holder(self) -> str:
        """Who holds the Lease, empty if nobody."""
        try:
            lease = await self.kube.get(resources.LEASES, self.namespace, LEASE)
        except errors.NotFound:
            return ""
        return str(lease["spec"].get("holderIdentity") or "")

    async def wish(self) -> str:
        """Ask for something that takes a write: a new Dataset."""
        self.wishes += 1
        name = f"wish-{self.wishes}"
        spec = {"source": {"storageUri": "s3://lake/rows.parquet"}, "format": "Parquet"}
        metadata = {"name": name, "namespace": self.namespace}
        manifest = {"apiVersion": keys.API_VERSION, "kind": "Dataset", "metadata": metadata, "spec": spec}
        await self.kube.create(resources.DATASETS, manifest)
        return name

    async def fulfilled(self, wish: str) -> bool:
        """Whether the wish has its Job."""
        labels = {keys.DATASET: wish}
        return bool(await self.kube.list(resources.JOBS, self.namespace, labels))

    async def succeed(self, end: Callable[[Member], Awaitable[None]], seconds: float) -> tuple[float, Member]:
        """End the leader, wish for something at that moment; seconds until the standby's first effective write."""
        leader, standby = await self.settle()
        assert standby.proxy.written == [], "a standby writes nothing"
        assert standby.proxy.listed, "a standby fills its cache when it starts"
        standby.proxy.forget()
        began = time.monotonic()
        ending = asyncio.ensure_future(end(leader))
        wish = await self.wish()

        async def done() -> bool:
            return await self.holder() == standby.name and await self.fulfilled(wish)

        await until(done, f"{self.namespace}: the standby leads and writes", seconds + 10, pause=0.05)
        took = time.monotonic() - began
        await ending
        del self.members[leader.name]
        assert standby.proxy.listed == [], "a standby is warm: it lists nothing when it begins to lead"
        assert standby.proxy.written
        return took, standby


def _command() -> list[str]:
    """Should the tests be killed, the kernel ends their operators with them."""
    guard = shutil.which("setpriv")
    return [*([guard, "--pdeathsig", "KILL"] if guard else []), sys.executable, "-m", "millrace", "run"]


def _environment(namespace: str, name: str, port: int, kubeconfig: Path) -> dict[str, str]:
    return {
        "KUBECONFIG": str(kubeconfig),
        "PYTHONPATH": str(ROOT / "operator"),
        "MILLRACE_NAMESPACE": namespace,
        "MILLRACE_LEASE_NAME": LEASE,
        "MILLRACE_POD_NAME": name,
        "MILLRACE_METRICS_PORT": str(port),
        **{f"MILLRACE_{image}_IMAGE": "i" for image in ("TRAINER", "SERVER", "ROUTER")},
    }


def _kubeconfig(access: credentials.Credentials) -> dict[str, Any]:
    return {
        "current-context": "it",
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "clusters": [{"name": "it", "cluster": {"server": access.server}}],
        "users": [{"name": "it", "user": {"token": access.token()}}],
    }


async def until(condition: Callable[[], Awaitable[bool]], what: str, seconds: float, pause: float = 0.1) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        await asyncio.sleep(pause)


def install(plane: ControlPlane, namespace: str) -> None:
    """The namespace and the operator's rights in it."""
    rules = [*roles.operator_rules(), *roles.lease_rules(LEASE)]
    binding = roles.role_binding("operator", namespace, account="operator", account_namespace=namespace)
    binding["subjects"] = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "operator"}]
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    plane.kubectl(
        "apply", "-f", "-", stdin=yaml.safe_dump_all([space, roles.role("operator", namespace, rules), binding])
    )


@pytest.fixture
async def pairs(control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[list[Pair]]:
    upstream = credentials.from_kubeconfig(control_plane.kubeconfig_for("operator"))
    async with Kube(credentials.from_kubeconfig(control_plane.kubeconfig_for("admin"))) as kube:
        made = [Pair(f"pair-{number}", tmp_path, upstream, kube) for number in range(PAIRS)]
        for pair in made:
            await asyncio.to_thread(install, control_plane, pair.namespace)
            await pair.start()
            await pair.start()
        try:
            yield made
        finally:
            await asyncio.gather(*(one.end(signal.SIGKILL) for pair in made for one in pair.members.values()))


def killed(member: Member) -> Awaitable[None]:
    return member.end(signal.SIGKILL)


def stopped(member: Member) -> Awaitable[None]:
    return member.end(signal.SIGTERM)


def told(what: str, times: list[float]) -> None:
    ordered = sorted(times)
    print(
        f"\n{what}: {len(ordered)} times, median {ordered[len(ordered) // 2]:.1f} s, worst {ordered[-1]:.1f} s; "
        + " ".join(f"{one:.1f}" for one in ordered)
    )


async def test_a_standby_looks_soon_enough_for_a_handover_and_when_the_lease_gets_free(
    control_plane: ControlPlane,
) -> None:
    clock = ManualClock()
    async with Kube(credentials.from_kubeconfig(control_plane.kubeconfig_for("admin"))) as kube:
        holder, standby = (
            Election(kube, clock, namespace="default", name="looks", identity=name) for name in ("holder", "standby")
        )
        assert await holder._attempt()
        assert not await standby._attempt()
        assert max(standby._until_next_look() for _ in range(100)) <= 1.2
        clock.advance(14.5)
        assert not await standby._attempt()
        assert 0.5 <= min(standby._until_next_look() for _ in range(100)) < 0.55
        clock.advance(0.5)
        assert await standby._attempt()


async def test_a_warm_standby_writes_soon_after_the_leader_was_killed_or_stopped(pairs: list[Pair]) -> None:
    async def die_often(pair: Pair) -> list[float]:
        times = []
        for _ in range(DEATHS_EACH):
            await pair.settle()
            await asyncio.sleep(random.uniform(0, 2))  # anywhere between two renewals
            times.append((await pair.succeed(killed, WORST_SECONDS))[0])
            await pair.start()
        return times

    deaths = [took for times in await asyncio.gather(*map(die_often, pairs)) for took in times]
    told("leader killed -> next effective write", deaths)
    stops = [(await pair.succeed(stopped, HANDOVER_SECONDS))[0] for pair in pairs]
    told("leader stopped -> next effective write", stops)
    assert len(deaths) == PAIRS * DEATHS_EACH
    assert max(deaths) <= WORST_SECONDS
    assert max(stops) <= HANDOVER_SECONDS
