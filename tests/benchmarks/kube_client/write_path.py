"""Which client on the write path: raw aiohttp, or the dynamic client of `kubernetes.aio`?

One pass of our own executor per object: read live whether the child's name is free, apply the child, apply its status.
Both clients do it in processes of their own, in interleaved rounds, against one real etcd and kube-apiserver:

    PYTHONPATH=tests/cluster:tests/kit python tests/benchmarks/kube_client/write_path.py --objects 300 --rounds 5

Prints a table and writes it to tests/benchmarks/results/ as JSON and Markdown. Nothing is asserted by time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import platform
import resource as rusage
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from millrace import errors
from millrace.api import resources
from millrace.api.resources import ResourceType
from millrace.apply.events import Recorder
from millrace.apply.execute import Executor
from millrace.apply.ledger import Ledger
from millrace.clients import credentials
from millrace.clients.clock import SystemClock
from millrace.clients.kube import Kube
from millrace.clients.store import Manifest, Store
from millrace_kit import widgets
from millrace_kit.widgets import WIDGETS, WidgetSeen

RESULTS = Path(__file__).parents[1] / "results"
CLIENTS = ("aiohttp", "kubernetes.aio")
WORKERS = 8
NAMESPACE = "default"


class DynamicKube(Kube):
    """Our interface on the dynamic client of `kubernetes.aio`, as far as this benchmark goes."""

    dynamic: Any

    async def get(self, resource: ResourceType, namespace: str, name: str) -> Manifest:
        from kubernetes.aio.dynamic.exceptions import NotFoundError

        try:
            found = await self.dynamic.get(await self._kind(resource), name=name, namespace=namespace)
        except NotFoundError as error:
            raise errors.NotFound(str(error), status=404) from error
        return dict(found.to_dict())

    async def apply(self, resource: ResourceType, manifest: Manifest) -> Manifest:
        answer = await self.dynamic.server_side_apply(
            await self._kind(resource),
            body=manifest,
            namespace=manifest["metadata"]["namespace"],
            field_manager="millrace",
            force_conflicts=True,
        )
        return dict(answer.to_dict())

    async def patch_status(
        self,
        resource: ResourceType,
        namespace: str,
        name: str,
        status: Any,
        *,
        resource_version: str = "",
    ) -> Manifest:
        metadata = {"name": name, "namespace": namespace, "resourceVersion": resource_version}
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "status": status}
        kind = await self._kind(resource)
        answer = await self.dynamic.server_side_apply(
            kind.status, body=body, namespace=namespace, field_manager="millrace", force_conflicts=True
        )
        return dict(answer.to_dict())

    async def _kind(self, resource: ResourceType) -> Any:
        if resource not in self._kinds:
            self._kinds[resource] = await self.dynamic.resources.get(
                api_version=resource.api_version, kind=resource.kind
            )
        return self._kinds[resource]

    _kinds: dict[ResourceType, Any] = {}  # noqa: RUF012 - one client a process


@contextlib.asynccontextmanager
async def connected(client: str, kubeconfig: Path) -> AsyncIterator[Kube]:
    identity = credentials.from_kubeconfig(kubeconfig)
    if client == "aiohttp":
        async with Kube(identity) as kube:
            yield kube
        return
    from kubernetes.aio import config
    from kubernetes.aio.dynamic import DynamicClient

    async with await config.new_client_from_config(str(kubeconfig)) as api, DynamicClient(api) as dynamic:
        made = DynamicKube(identity)
        made.dynamic = dynamic
        yield made


async def run_round(client: str, kubeconfig: Path, prefix: str, objects: int) -> dict[str, float]:
    """Make the objects, then measure only the passes over them."""
    async with Kube(credentials.from_kubeconfig(kubeconfig)) as maker:
        made = [await maker.create(WIDGETS, widgets.make_widget(f"{prefix}-{number}")) for number in range(objects)]
    async with connected(client, kubeconfig) as kube:
        clock, store = SystemClock(), Store()
        executor = Executor(kube, store, Ledger(clock.monotonic), Recorder(kube, clock, "bench"))
        with contextlib.suppress(errors.NotFound):
            await kube.get(resources.CONFIG_MAPS, NAMESPACE, "warm-up")
        waiting, seconds = list(made), []

        async def work() -> None:
            while waiting:
                widget = waiting.pop()
                started = time.perf_counter()
                plan = widgets.decide_widget(WidgetSeen(widget, None, clock.now()))
                await executor.execute(WIDGETS, widget, plan)
                seconds.append(time.perf_counter() - started)

        cpu, wall = time.process_time(), time.perf_counter()
        await asyncio.gather(*(work() for _ in range(WORKERS)))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    seconds.sort()
    return {
        "objects_per_second": objects / wall,
        "cpu_ms_per_object": cpu / objects * 1000,
        "p50_ms": seconds[len(seconds) // 2] * 1000,
        "p99_ms": seconds[int(len(seconds) * 0.99)] * 1000,
        "peak_rss_mib": rusage.getrusage(rusage.RUSAGE_SELF).ru_maxrss / 1024,
    }


def measure(objects: int, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Interleaved rounds, each in a fresh process."""
    from millrace_cluster.control_plane import ControlPlane

    found: dict[str, list[dict[str, float]]] = {client: [] for client in CLIENTS}
    with tempfile.TemporaryDirectory() as folder, ControlPlane(Path(folder)) as plane:
        plane.kubectl("apply", "-f", "-", stdin=json.dumps(widgets.widget_definition()))
        plane.kubectl("wait", "--for=condition=Established", f"crd/{WIDGETS.plural}.{WIDGETS.group}")
        for number in range(rounds):
            for place, client in enumerate(CLIENTS if number % 2 == 0 else CLIENTS[::-1]):
                command = [sys.executable, __file__, "--round", client, "--kubeconfig", str(plane.kubeconfig)]
                command += ["--prefix", f"r{number}-{place}", "--objects", str(objects)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                found[client].append(json.loads(done.stdout))
                print(f"round {number + 1}/{rounds} {client}: {found[client][-1]}", flush=True)
    return found


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """Medians over the rounds, with the range."""
    columns = {
        "objects_per_second": "objects/s",
        "cpu_ms_per_object": "CPU ms/object",
        "p50_ms": "pass p50 ms",
        "p99_ms": "pass p99 ms",
        "peak_rss_mib": "peak RSS MiB",
    }
    lines = ["| client | " + " | ".join(columns.values()) + " |", "|---|" + "---|" * len(columns)]
    for client, rounds in found.items():
        cells = []
        for column in columns:
            values = [one[column] for one in rounds]
            cells.append(f"{statistics.median(values):.1f} ({min(values):.1f}-{max(values):.1f})")
        lines.append(f"| {client} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--round", choices=CLIENTS, help=argparse.SUPPRESS)
    parser.add_argument("--kubeconfig", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--prefix", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.round:
        print(json.dumps(asyncio.run(run_round(options.round, options.kubeconfig, options.prefix, options.objects))))
        return
    found = measure(options.objects, options.rounds)
    text = table(found)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    versions = {"python": platform.python_version(), "objects": options.objects, "workers": WORKERS}
    (RESULTS / "kube_client.json").write_text(json.dumps({**versions, "rounds": found}, indent=1) + "\n")
    title = f"Write path, {options.objects} objects a round, {options.rounds} interleaved rounds, {WORKERS} workers"
    (RESULTS / "kube_client.md").write_text(f"{title}: median (range).\n\n{text}\n")


if __name__ == "__main__":
    main()
