"""The servers of one revision as a cluster has them: deleted pods end in their own time, and others take their place.

Server processes are real, each at an address of its own on loopback. What stands in for the cluster is who is in the
headless Service's DNS name, by the rule of Kubernetes' EndpointSlice controller: pods that are ready and not being
deleted; with `publishNotReadyAddresses` every pod that has an address.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
from serving_kit import models, process

from millrace.api.base import ObjectMeta
from millrace.render import server
from millrace.render.server import Template
from millrace_cluster import ports
from millrace_kit.simulation import make_model

OWNER = ObjectMeta(name="churn", namespace="ml", uid="u-1")
LOOK_SECONDS = 0.1
MOST = 8


def service() -> dict[str, Any]:
    """The headless Service that the operator makes."""
    return server.service(OWNER, server.bundle(make_model("churn", 1), Template(image="server:1")))


@dataclass(eq=False)
class Pod:
    """One server pod; its process starts some time after it has its address."""

    address: str
    running: process.Server | None = None
    is_ready: bool = False
    is_going: bool = False

    @property
    def is_over(self) -> bool:
        """Whether its process has ended, and with it the pod."""
        return self.running is not None and self.running.process.poll() is not None


@dataclass
class Pods:
    """The pods of one revision, an async context manager."""

    model: models.Model
    directory: Path
    manifest: Mapping[str, Any] = field(default_factory=service)
    start_seconds: float = 0.0
    """From a pod's address to the start of its process: the image is pulled, the model is fetched."""
    settings: dict[str, Any] = field(default_factory=dict)
    pods: list[Pod] = field(default_factory=list)
    port: int = field(default_factory=ports.free_port)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(2))
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))
        self._tasks.append(asyncio.create_task(self._probe()))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()
        for pod in self.pods:
            if pod.running is not None:
                pod.running.kill()

    def addresses(self) -> list[str]:
        """What the Service's name stands for now."""
        everybody = bool(self.manifest["spec"].get("publishNotReadyAddresses"))
        return [
            pod.address for pod in self.pods if not pod.is_over and (everybody or (pod.is_ready and not pod.is_going))
        ]

    def add(self) -> Pod:
        """A new pod, which gets ready in its own time."""
        number = next(self._numbers)
        assert number < 2 + MOST, "servers look for so many others at most"
        pod = Pod(f"127.0.0.{number}")
        self.pods.append(pod)
        directory = self.directory / f"pod-{number}"
        directory.mkdir()
        self._tasks.append(asyncio.create_task(self._start(pod, directory)))
        return pod

    def delete(self, pod: Pod) -> Pod:
        """What `kubectl delete pod` and an eviction do: it is told to stop, and the ReplicaSet makes another one."""
        assert pod.running is not None
        pod.is_going = True
        pod.running.terminate()
        return self.add()

    async def ready(self, *pods: Pod) -> None:
        """Wait until these are."""
        while not all(pod.is_ready for pod in pods):  # noqa: ASYNC110 - a test polls
            await asyncio.sleep(LOOK_SECONDS)

    async def over(self, *pods: Pod) -> None:
        """Wait until these have ended."""
        while not all(pod.is_over for pod in pods):  # noqa: ASYNC110 - a test polls
            await asyncio.sleep(LOOK_SECONDS)

    async def _start(self, pod: Pod, directory: Path) -> None:
        await asyncio.sleep(self.start_seconds)
        peers = ",".join(f"127.0.0.{number}" for number in range(2, 2 + MOST))
        found = {"host": pod.address, "port": self.port, "peers": peers, "drain_seconds": 50, **self.settings}
        pod.running = process.start(self.model, directory, **found)

    async def _probe(self) -> None:
        """The kubelet's readiness probes."""
        while True:
            await asyncio.gather(*(self._ask(pod) for pod in self.pods if pod.running is not None and not pod.is_over))
            await asyncio.sleep(LOOK_SECONDS)

    async def _ask(self, pod: Pod) -> None:
        try:
            async with self._session.get(f"http://{pod.address}:{self.port}/v2/health/ready") as answer:
                pod.is_ready = answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            pod.is_ready = False
