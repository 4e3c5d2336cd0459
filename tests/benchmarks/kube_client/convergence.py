"""The kernel's own speed: from a watch event to the child written, alone and in a burst; memory; writes when idle.

A Widget with one ConfigMap stands for our kinds, so that only the kernel, kopf and the client are measured. Maker and
operator share one process and one real etcd and kube-apiserver on loopback:

    PYTHONPATH=tests/cluster:tests/kit python tests/benchmarks/kube_client/convergence.py --single 200 --burst 500

Prints a table and writes it to tests/benchmarks/results/convergence.md and .json. Nothing is asserted by time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from millrace import wiring
from millrace.api import resources
from millrace.clients import credentials
from millrace.clients.kube import Kube
from millrace.clients.store import Manifest
from millrace.controller.routing import Controller
from millrace.settings import Settings
from millrace_kit import widgets
from millrace_kit.widgets import WIDGETS

RESULTS = Path(__file__).parents[1] / "results"


class Stopwatch:
    """Milliseconds from the first event of a Widget to the answer that its child is written, by name."""

    def __init__(self, operator: wiring.Operator) -> None:
        self.seconds: dict[str, float] = {}
        self._seen: dict[str, float] = {}
        self._saw, self._apply = operator.kernel.learn, operator.kube.apply
        operator.kernel.learn = self._learn  # type: ignore[method-assign]
        operator.kube.apply = self._applied  # type: ignore[method-assign]

    def _learn(self, resource: Any, manifest: Manifest, gone: bool) -> None:
        if resource == WIDGETS:
            self._seen.setdefault(manifest["metadata"]["name"], time.perf_counter())
        self._saw(resource, manifest, gone)

    async def _applied(self, resource: Any, manifest: Manifest) -> Manifest:
        answer = await self._apply(resource, manifest)
        name = manifest["metadata"]["name"]
        self.seconds[name] = time.perf_counter() - self._seen[name]
        return answer

    def of(self, prefix: str) -> tuple[float, float]:
        """p50 and p99 in milliseconds of the names with this prefix."""
        found = sorted(seconds for name, seconds in self.seconds.items() if name.startswith(prefix))
        return found[len(found) // 2] * 1000, found[int(len(found) * 0.99)] * 1000


async def measure(kubeconfig: Path, single: int, burst: int) -> dict[str, float]:
    load = os.getloadavg()[0]
    settings = Settings(namespace="default", trainer_image="t", server_image="s", router_image="r", metrics_port=0)
    identity = credentials.from_kubeconfig(kubeconfig)
    kind = Controller(WIDGETS, widgets.observe_widget, widgets.decide_widget)
    operator = wiring.Operator(settings, identity, [kind], children=resources.CHILDREN)
    watch = Stopwatch(operator)
    running = asyncio.create_task(operator.run(signals=False))
    while not operator.kernel.leads:  # noqa: ASYNC110 - a test polls
        await asyncio.sleep(0.05)
    store = operator.world.store
    async with Kube(identity) as maker:
        for number in range(single):
            await maker.create(WIDGETS, widgets.make_widget(f"single-{number}"))
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        started, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(
            *(maker.create(WIDGETS, widgets.make_widget(f"burst-{number}")) for number in range(burst))
        )
        while store.count(resources.CONFIG_MAPS) < single + burst:  # noqa: ASYNC110 - a test polls
            await asyncio.sleep(0.01)
        wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    while (before := _writes(operator)) is not None:
        await asyncio.sleep(3)
        if _writes(operator) == before:
            break
    writes, cpu_idle = _writes(operator), time.process_time()
    await asyncio.sleep(10)
    idle = (time.process_time() - cpu_idle) / 10
    found = {
        "load_average_at_start": load,
        "single_p50_ms": watch.of("single")[0],
        "single_p99_ms": watch.of("single")[1],
        "burst_p50_ms": watch.of("burst")[0],
        "burst_p99_ms": watch.of("burst")[1],
        "burst_objects_per_second": burst / wall,
        "burst_cpu_ms_per_object_maker_included": cpu / burst * 1000,
        "rss_mib": int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20,  # noqa: ASYNC240 - /proc never blocks
        "idle_cpu_percent": idle * 100,
        "idle_writes_but_lease_in_10_s": _writes(operator) - writes,
    }
    operator.stop()
    await running
    return found


def _writes(operator: wiring.Operator) -> float:
    return sum(
        sample.value
        for metric in operator.series.requests.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
        and sample.labels["method"] not in ("GET", "LIST")
        and sample.labels["resource"] != resources.LEASES.plural
    )


def main() -> None:
    from millrace_cluster.control_plane import ControlPlane

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--single", type=int, default=200)
    parser.add_argument("--burst", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ControlPlane(Path(folder)) as plane:
        plane.kubectl("apply", "-f", "-", stdin=json.dumps(widgets.widget_definition()))
        plane.kubectl("wait", "--for=condition=Established", f"crd/{WIDGETS.plural}.{WIDGETS.group}")
        found = asyncio.run(measure(plane.kubeconfig, options.single, options.burst))
    text = "\n".join(
        ["| measured | value |", "|---|---|", *(f"| {name} | {value:.1f} |" for name, value in found.items())]
    )
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "convergence.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "convergence.md").write_text(
        f"{options.single} objects alone, then {options.burst} at once.\n\n{text}\n"
    )


if __name__ == "__main__":
    main()
