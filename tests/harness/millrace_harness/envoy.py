"""Routers and servers as the operator sees them: what they answer when they are asked for their metrics.

A router reads its ConfigMap a moment after its kubelet has, and counts requests by the weights it has read: `rate` a
second over all routers of a Deployment, as long as there are any. What a model does with its requests is its
`Behaviour`, by digest. Everything follows from the time that has passed: nothing here is random or runs by itself.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from millrace.api import keys
from millrace.clients.scrape import ScrapeFailed
from millrace.contract import environment, series, task
from millrace.contract.router import LATENCY_BUCKETS_MS, ROUTE_SUFFIX
from millrace.render.router_bootstrap import GENERATION_PATH
from millrace.render.server import METRICS_PATH

Manifest = dict[str, Any]

REFERENCE_ROWS: Final = 4000
SHAPES: Final[Mapping[str, tuple[int, ...]]] = {"old": (40, 30, 20, 10, 0), "new": (5, 5, 10, 80, 0)}
"""Percent of the rows in each bin of the one feature there is; the last bin holds missing values."""
FEATURE: Final = "income"
DEFAULT_RATE: Final = 400.0


@dataclass(frozen=True)
class Behaviour:
    """What the servers of a model do."""

    errors: float = 0.0
    """Share of the requests they fail; stable answers these."""
    refused: float = 0.0
    """Share of the requests that they answer 400."""
    slow: float = 0.0
    """Share of the requests that take over a second."""
    trouble: str = ""
    """Reason why they do not load the model: a reason of `millrace.contract.reasons`."""
    reference: str = "old"
    """Which of `SHAPES` the model was trained on."""


@functools.lru_cache(maxsize=1024)
def _parsed(text: str) -> Any:
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["resources"]


@dataclass
class Router:
    """An Envoy pod."""

    deployment: str
    files: Mapping[str, str] = field(default_factory=dict)
    """What it applies."""
    mounted: Mapping[str, str] = field(default_factory=dict)
    """What its kubelet has put into the volume."""
    since: float = 0.0
    """When that was."""
    counted_until: float = 0.0
    routed: dict[str, float] = field(default_factory=dict)
    """Requests by revision."""
    tried: dict[str, float] = field(default_factory=dict)
    """Requests that reached a server of the revision."""

    @property
    def generation(self) -> str:
        hosts = _parsed(self.files["rds.yaml"])[0]["virtual_hosts"]
        route = next(host for host in hosts if host["name"] == "generation")["routes"][0]
        return str(route["direct_response"]["body"]["inline_string"])

    @property
    def weights(self) -> dict[str, int]:
        """Percent by revision."""
        hosts = _parsed(self.files["rds.yaml"])[0]["virtual_hosts"] if self.files else []
        routes = [route for host in hosts for route in host["routes"]]
        weighted = [route.get("route", {}).get("weighted_clusters", {}).get("clusters", ()) for route in routes]
        return {one["name"].removesuffix(ROUTE_SUFFIX): one["weight"] for found in weighted for one in found}

    @property
    def revisions(self) -> list[str]:
        """Those it has a cluster for."""
        named = [one["name"] for one in _parsed(self.files["cds.yaml"])] if self.files else []
        return [name for name in named if not name.endswith(ROUTE_SUFFIX)]


@dataclass
class Server:
    """A server pod that runs."""

    deployment: str
    revision: str
    digest: str
    ready: bool = False
    rows: dict[str, float] = field(default_factory=dict)
    """Rows predicted, by shape."""


class Envoys:
    """All routers and servers of a namespace. `look` is told of the pods that run; `fetch` answers the operator."""

    def __init__(self, lag: float = 0.3) -> None:
        self.lag = lag
        self.rate: dict[str, float] = {}
        """Requests a second, by Deployment; `DEFAULT_RATE` where nothing is said."""
        self.shape: str = "old"
        """Which of `SHAPES` the callers' rows have."""
        self.behaviours: dict[str, Behaviour] = {}
        """By digest."""
        self.routers: dict[str, Router] = {}
        """By address."""
        self.servers: dict[str, Server] = {}

    def behaviour(self, digest: str) -> Behaviour:
        return self.behaviours.get(digest, Behaviour())

    def quiet(self, deployment: str) -> None:
        """Nobody calls it any more."""
        self.rate[deployment] = 0.0

    def look(self, pods: Iterable[Manifest], config_maps: Iterable[Manifest], now: float) -> None:
        """What runs now, and what the ConfigMaps say now."""
        self.advance(now)
        files = {one["metadata"]["name"]: one.get("data") or {} for one in config_maps}
        found = [pod for pod in pods if _runs(pod)]
        by_kind = {kind: [pod for pod in found if _label(pod, keys.COMPONENT) == kind] for kind in ("router", "server")}
        self.routers = {_address(pod): self._router(pod, files, now) for pod in by_kind["router"]}
        self.servers = {_address(pod): self._server(pod) for pod in by_kind["server"]}

    def is_settled(self) -> bool:
        """Every router applies what its volume holds."""
        return all(one.files == one.mounted for one in self.routers.values())

    def advance(self, now: float) -> None:
        """Requests come until now, by the weights that were applied until now."""
        for deployment in sorted({one.deployment for one in self.routers.values()}):
            routers = [one for one in self.routers.values() if one.deployment == deployment]
            rate = self.rate.get(deployment, DEFAULT_RATE) / len(routers)
            for one in routers:
                self._count(one, rate * max(0.0, now - one.counted_until))
                one.counted_until = now
                if one.files != one.mounted and now >= one.since + self.lag:
                    one.files = one.mounted

    async def fetch(self, host: str, port: int, path: str, now: float) -> str:
        """GET. Raises ScrapeFailed for what does not run."""
        self.advance(now)
        router, server = self.routers.get(host), self.servers.get(host)
        if router is not None and router.files and port == environment.ROUTER_STATS_PORT:
            return router.generation if path == GENERATION_PATH else "\n".join(self._statistics(router))
        if server is not None and port == environment.SERVER_PORT and path == METRICS_PATH:
            return "\n".join(self._metrics(server))
        raise ScrapeFailed(f"nothing answers at {host}:{port}{path}")

    def healthy(self, deployment: str, revision: str) -> int:
        """Servers that answer their health check."""
        return sum((one.deployment, one.revision) == (deployment, revision) and one.ready for one in self._sorted())

    def _sorted(self) -> list[Server]:
        return [self.servers[address] for address in sorted(self.servers)]

    def _router(self, pod: Manifest, files: Mapping[str, Mapping[str, str]], now: float) -> Router:
        deployment = _label(pod, keys.DEPLOYMENT)
        found = self.routers.get(_address(pod))
        mounted = files.get(f"{deployment}-router") or {}
        if found is None:
            return Router(deployment, files=mounted, mounted=mounted, since=now, counted_until=now)
        if mounted and mounted != found.mounted:
            found.mounted, found.since = mounted, now
        return found

    def _server(self, pod: Manifest) -> Server:
        variables = environment_of(pod)
        found = self.servers.get(_address(pod)) or Server(
            _label(pod, keys.DEPLOYMENT), _label(pod, keys.REVISION), variables.get("MILLRACE_DIGEST", "")
        )
        found.ready = is_ready(pod)
        return found

    def _count(self, router: Router, requests: float) -> None:
        for revision, weight in router.weights.items():
            share = requests * weight / 100
            answering = [one for one in self._sorted() if one.ready and one.deployment == router.deployment]
            own = [one for one in answering if one.revision == revision]
            router.routed[revision] = router.routed.get(revision, 0.0) + share
            if own:
                router.tried[revision] = router.tried.get(revision, 0.0) + share
            for one in own:
                one.rows[self.shape] = one.rows.get(self.shape, 0.0) + share / len(own)

    def _statistics(self, router: Router) -> Iterator[str]:
        """The page of the stats listener."""
        digests = {one.revision: one.digest for one in self._sorted()}
        for revision in router.revisions:
            behaviour = self.behaviour(digests.get(revision, ""))
            own, route = (f'{{envoy_cluster_name="{name}"' for name in (revision, revision + ROUTE_SUFFIX))
            healthy = self.healthy(router.deployment, revision)
            routed, tried = int(router.routed.get(revision, 0.0)), int(router.tried.get(revision, 0.0))
            yield f"envoy_cluster_membership_healthy{own}}} {healthy}"
            yield f"envoy_cluster_membership_total{own}}} {healthy}"
            yield f"envoy_cluster_upstream_rq_total{own}}} {tried}"
            yield f"envoy_cluster_upstream_rq_completed{route}}} {routed}"
            yield f"envoy_cluster_upstream_rq_retry_success{route}}} {int(tried * behaviour.errors)}"
            refused = int(tried * behaviour.refused)
            yield f'envoy_cluster_upstream_rq_xx{route},envoy_response_code_class="4"}} {refused}'
            slow = int(tried * behaviour.slow)
            for bound in (*LATENCY_BUCKETS_MS, float("inf")):
                count = 0 if bound < 5.0 else routed - slow if bound <= 1000.0 else routed
                label = "+Inf" if bound == float("inf") else f"{bound:g}"
                yield f'envoy_cluster_upstream_rq_time_bucket{route},le="{label}"}} {count}'

    def _metrics(self, server: Server) -> Iterator[str]:
        """The bins of a server's page."""
        reference = SHAPES[self.behaviour(server.digest).reference]
        live = [sum(rows * SHAPES[shape][index] / 100 for shape, rows in server.rows.items()) for index in range(5)]
        for index, share in enumerate(reference):
            labels = f'{{feature="{FEATURE}",bin="{index}"}}'
            yield f"{series.REFERENCE_BINS.name}{labels} {REFERENCE_ROWS * share // 100}"
            yield f"{series.FEATURE_BINS.name}{labels} {int(live[index])}"


def environment_of(pod: Manifest) -> dict[str, str]:
    """Variables of the pod's first container."""
    return {one["name"]: one.get("value", "") for one in pod["spec"]["containers"][0].get("env") or ()}


def task_of(pod: Manifest) -> str:
    """The JSON of a pod's task."""
    return task.unpack(pod["metadata"]["annotations"][task.ANNOTATION])


def is_ready(pod: Manifest) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    going = "deletionTimestamp" in pod["metadata"]
    return not going and any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _runs(pod: Manifest) -> bool:
    status = pod.get("status") or {}
    return bool(status.get("podIP")) and status.get("phase") == "Running"


def _label(pod: Manifest, name: str) -> str:
    return str((pod["metadata"].get("labels") or {}).get(name, ""))


def _address(pod: Manifest) -> str:
    return str(pod["status"]["podIP"])
