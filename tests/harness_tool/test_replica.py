"""The real operator on the model of the API server: it works, it dies, it is paused, it is succeeded."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from millrace import errors
from millrace.api import resources
from millrace.clients.store import Manifest
from millrace.contract.report import SnapshotOutcome, SnapshotReport
from millrace.settings import Settings
from millrace_harness.apiserver import ApiServer, Controllers
from millrace_harness.replica import Process, SimKube
from millrace_harness.virtual import VirtualLoop
from millrace_harness.wire import MERGE, Exchange, Lost, Request, Response

NS = "ml"
DIGEST = f"sha256:{'c' * 64}"


class Sim:
    """A server with its controllers, a user, and a kubelet that ends every snapshot well."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self.loop = loop
        self.server = ApiServer(loop)
        Controllers(self.server)
        self.user = SimKube("user", self.server.exchange)

    def process(self, sender: str, identity: str = "", **options: Any) -> Process:
        settings = Settings(
            namespace=NS, trainer_image="t:1", server_image="s:1", router_image="r:1", identity=identity
        )
        made = Process(self.server, sender, settings, **options)
        made.start()
        return made

    async def until(self, condition: Callable[[], Any], seconds: float = 60) -> float:
        """Virtual seconds until the condition held. Raises TimeoutError."""
        started = self.loop.time()
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - waiting takes no time here
                await asyncio.sleep(0.05)
        return self.loop.time() - started

    async def add_dataset(self, name: str = "churn") -> None:
        spec = {"source": {"storageUri": "s3://lake/churn.csv"}, "format": "CSV"}
        metadata = {"name": name, "namespace": NS}
        manifest = {"apiVersion": "millrace.dev/v1alpha1", "kind": "Dataset", "metadata": metadata, "spec": spec}
        await self.user.create(resources.DATASETS, manifest)

    async def freeze(self) -> None:
        """What the kubelet does with the pod of a snapshot, two seconds later."""
        await self.until(lambda: self.find(resources.PODS))
        await asyncio.sleep(2)
        words = SnapshotReport(
            SnapshotOutcome.FROZEN, digest=DIGEST, source_digest=DIGEST, uri="s3://millrace/d/", rows=100, bytes=999
        )
        ended = {"terminated": {"exitCode": 0, "reason": "Completed", "message": words.to_json()}}
        status = {"phase": "Succeeded", "containerStatuses": [{"name": "snapshot", "state": ended}]}
        for pod in self.find(resources.PODS):
            path = resources.PODS.path(NS, pod["metadata"]["name"], "status")
            await self.user._request("PATCH", path, {}, {"status": status}, MERGE, {})

    def find(self, resource: Any) -> list[Manifest]:
        return list(self.server.storage.list(resource, NS))

    def is_frozen(self) -> bool:
        conditions = [(found.get("status") or {}).get("conditions") or () for found in self.find(resources.DATASETS)]
        return any(one["type"] == "Ready" and one["status"] == "True" for every in conditions for one in every)

    def holder(self) -> str:
        (lease,) = self.find(resources.LEASES)
        return str(lease["spec"]["holderIdentity"])

    def written(self, sender: str, since: float = 0.0) -> list[str]:
        """Effective writes of a sender but for the lease, since a moment."""
        found = [one for one in self.server.changes if one.sender == sender and one.at >= since]
        return [one.request.site for one in found if one.resource is not resources.LEASES]


def run(story: Callable[[Sim], Coroutine[Any, Any, Any]], seed: int = 1) -> Any:
    async def told() -> Any:
        return await story(Sim())

    random.seed(seed)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(told())


async def frozen(sim: Sim) -> str:
    """A Dataset from nothing to Ready; a digest of everything that was written."""
    process = sim.process("operator-1")
    await sim.until(lambda: process.leads)
    await sim.add_dataset()
    await sim.freeze()
    await sim.until(sim.is_frozen)
    await asyncio.sleep(100)
    await process.stop()
    text = repr([(one.version, one.at, one.sender, one.manifest) for one in sim.server.changes])
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_dataset_is_frozen_in_few_writes_and_then_nothing_is_written() -> None:
    async def story(sim: Sim) -> None:
        await frozen(sim)
        assert sim.written("operator-1") == [
            "apply jobs", "patch_status datasets", "patch_status datasets", "create events", "delete jobs",
        ]  # fmt: skip
        assert sim.find(resources.JOBS) + sim.find(resources.PODS) == []

    run(story)


def test_a_workload_runs_twice_in_the_same_way() -> None:
    assert run(frozen) == run(frozen)
    assert run(frozen) != run(frozen, seed=2)


def test_a_story_does_not_depend_on_the_seed_of_hashes() -> None:
    code = "import test_replica; print(test_replica.run(test_replica.frozen))"
    told = set()
    for seed in ("1", "2"):
        paths = [str(Path(__file__).parent), *sys.path]
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(paths)}
        told.add(subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout)
    assert told == {f"{run(frozen)}\n".encode()}


def test_a_killed_leader_writes_nothing_more_and_keeps_its_lease() -> None:
    async def story(sim: Sim) -> None:
        process = sim.process("operator-1")
        await sim.until(lambda: process.leads)
        await sim.add_dataset()
        await sim.until(lambda: sim.written("operator-1"))
        process.kill()
        moment = sim.loop.time()
        await process.ended()
        await asyncio.sleep(30)
        assert sim.written("operator-1", since=moment) == []
        assert sim.holder() == "operator-1"
        assert not process.leads

    run(story)


def test_a_process_can_be_killed_from_within_its_own_request() -> None:
    async def story(sim: Sim) -> None:
        victims: list[Process] = []

        def killing(exchange: Exchange) -> Exchange:
            async def ask(request: Request) -> Response:
                answer = await exchange(request)
                if request.site == "apply jobs":
                    victims[0].kill()
                return answer

            return ask

        victims.append(sim.process("operator-1", through=killing))
        await sim.until(lambda: victims[0].leads)
        await sim.add_dataset()
        await asyncio.sleep(30)
        assert sim.written("operator-1") == ["apply jobs"]

    run(story)


def test_a_successor_of_the_same_name_goes_on_at_once_and_of_another_after_the_lease() -> None:
    async def story(sim: Sim) -> list[float]:
        waited, previous = [], None
        for sender, identity in (("operator-1", "a"), ("operator-2", "a"), ("operator-3", "b")):
            if previous is not None:
                previous.kill()
            process = previous = sim.process(sender, identity)
            waited.append(await sim.until(lambda process=process: process.leads))
        await sim.add_dataset()
        await sim.freeze()
        await sim.until(sim.is_frozen)
        return waited

    first, same, other = run(story)
    assert first < 1
    assert same < 1
    assert 14 < other < 20


def test_a_leader_that_stops_hands_over_at_once() -> None:
    async def story(sim: Sim) -> float:
        one = sim.process("operator-1")
        await sim.until(lambda: one.leads)
        two = sim.process("operator-2")
        await asyncio.sleep(10)
        assert not two.leads
        await one.stop()
        assert sim.holder() == ""
        return await sim.until(lambda: two.leads)

    assert run(story) < 3


def test_a_leader_paused_beyond_its_lease_writes_nothing_when_it_wakes() -> None:
    async def story(sim: Sim) -> None:
        one = sim.process("operator-1")
        await sim.until(lambda: one.leads)
        two = sim.process("operator-2")
        await sim.add_dataset()
        await sim.until(lambda: sim.find(resources.PODS))
        one.pause(60)
        moment = sim.loop.time()
        await sim.until(lambda: two.leads)
        await sim.freeze()
        await sim.until(sim.is_frozen)
        assert sim.loop.time() < moment + 60
        await asyncio.sleep(100)
        assert sim.written("operator-1", since=moment) == []
        assert sim.holder() == "operator-2"
        assert one.owner.is_alive

    run(story)


def test_a_jump_of_the_time_of_day_does_not_cost_the_lease() -> None:
    async def story(sim: Sim) -> None:
        one = sim.process("operator-1")
        await sim.until(lambda: one.leads)
        two = sim.process("operator-2")
        one.clock.skew = -3600
        two.clock.skew = 3600
        await asyncio.sleep(120)
        assert (one.leads, two.leads) == (True, False)

    run(story)


@pytest.mark.parametrize("seconds", [0, 100])
def test_a_lost_answer_is_unavailable_and_a_read_is_repeated(seconds: float) -> None:
    async def story(sim: Sim) -> None:
        asked: list[str] = []

        async def lose(request: Request) -> Response:
            asked.append(request.site)
            await asyncio.sleep(seconds)
            raise Lost("the connection was reset")

        kube = SimKube("user", lose)
        with pytest.raises(errors.Unavailable):
            await kube.get(resources.DATASETS, NS, "churn")
        assert asked == ["get datasets"] * 3

    run(story)
