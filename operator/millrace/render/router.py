"""Envoy's configuration for one Deployment: a static bootstrap, and the clusters and routes it reads from files.

    public listener -- routes (rds.yaml) -- weights --> clusters (cds.yaml) --> the revisions' servers

Routes name `<revision>-route`, an aggregate cluster: the revision's own cluster first, then that of its `fallback`. An
attempt that a canary fails is tried again on stable and callers see no error, while the counters of the canary's own
cluster hold only what the canary did (`millrace.contract.router`). The name stays when a canary is promoted and loses
its fallback, so no file ever has to change together with another.

Pure: dataclasses in, text out. The files are YAML because people read them in the ConfigMap.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from millrace.contract import environment
from millrace.contract import router as contract
from millrace.render import envoy
from millrace.render.router_bootstrap import (
    CLUSTERS_FILE,
    DEFAULT_PATHS,
    GENERATION_HOST,
    LEAVING,
    ROUTES_FILE,
    WHO,
    RouterPaths,
    bootstrap,
)

BOOTSTRAP_FILE = "bootstrap.yaml"
_WHO = {"header": {"key": WHO, "value": "%ENVIRONMENT(HOSTNAME)%"}}
_LEAVES = {"default_value": {"numerator": 0, "denominator": "HUNDRED"}, "runtime_key": LEAVING}


@dataclass(frozen=True)
class Backend:
    """One served revision. `host` is its headless Service; `weight` is in percent.

    `fallback` names the revision that answers when this one fails; its backend must be in the same configuration.
    """

    revision: str
    host: str
    port: int = environment.SERVER_PORT
    weight: int = 0
    fallback: str | None = None


@dataclass(frozen=True)
class RouterConfig:
    """What the router does now. Weights add up to 100, or are all zero: then every request is answered 503.

    Raises ValueError when weights, revisions or fallbacks do not fit together.
    """

    backends: tuple[Backend, ...] = ()
    timeout_seconds: float = 30.0
    """For a whole request, retries included."""
    attempt_timeout_seconds: float = 10.0
    """For one attempt: a server that hangs costs this much before stable is tried."""

    def __post_init__(self) -> None:
        revisions = [backend.revision for backend in self.backends]
        if len(set(revisions)) != len(revisions):
            raise ValueError(f"backends: revisions are not distinct: {', '.join(revisions)}")
        if any(not 0 <= backend.weight <= 100 for backend in self.backends) or self.total not in (0, 100):
            raise ValueError(f"backends: weights add up to {self.total}, expected 100 (or 0 everywhere)")
        for backend in self.backends:
            if backend.fallback is not None and backend.fallback not in set(revisions) - {backend.revision}:
                raise ValueError(
                    f"backends: {backend.revision} falls back to {backend.fallback}, which is no other backend"
                )

    @property
    def total(self) -> int:
        """Sum of the weights."""
        return sum(backend.weight for backend in self.backends)

    @property
    def generation(self) -> str:
        """Sixteen hex digits that change when the routes do."""
        return hashlib.sha256(json.dumps(_virtual_hosts(self), sort_keys=True).encode()).hexdigest()[:16]


def config_map_data(config: RouterConfig, paths: RouterPaths = DEFAULT_PATHS) -> dict[str, str]:
    """The ConfigMap's keys: bootstrap, clusters and routes."""
    return {
        BOOTSTRAP_FILE: bootstrap(paths),
        CLUSTERS_FILE: clusters(config),
        ROUTES_FILE: routes(config),
    }


def config_hash(data: dict[str, str]) -> str:
    """Eight hex digits over the ConfigMap's data: the value of the pods' `millrace.dev/config-hash` annotation."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:8]


def clusters(config: RouterConfig) -> str:
    """Two clusters per revision, of weight 0 too: servers are found and healthy before the weight comes."""
    ordered = sorted(config.backends, key=lambda backend: backend.revision)
    resources = [_members(backend) for backend in ordered] + [_aggregate(backend) for backend in ordered]
    return envoy.discovery(hashlib.sha256(json.dumps(resources).encode()).hexdigest()[:16], resources)


def routes(config: RouterConfig) -> str:
    """Prefix /v2 by weight; the generation on its own virtual host; everything else 404."""
    resource = {
        "@type": envoy.TYPE + "envoy.config.route.v3.RouteConfiguration",
        "name": "public",
        "ignore_port_in_host_matching": True,
        "virtual_hosts": [
            {
                "name": "generation",
                "domains": [GENERATION_HOST],
                "routes": [
                    envoy.answer({"prefix": "/", "runtime_fraction": _LEAVES}, 200, config.generation),
                    envoy.answer({"prefix": "/"}, 200, config.generation) | {"response_headers_to_add": [_WHO]},
                ],
            },
            *_virtual_hosts(config),
        ],
    }
    return envoy.discovery(config.generation, [resource])


def _virtual_hosts(config: RouterConfig) -> list[dict[str, Any]]:
    match = {"path_separated_prefix": "/v2"}
    unavailable = envoy.answer(match, 503, "no revision of this model takes traffic yet")
    inference = {"match": match, "route": _route(config)} if config.total else unavailable
    missing = envoy.answer({"prefix": "/"}, 404, "not found: the inference protocol is under /v2")
    return [{"name": "inference", "domains": ["*"], "routes": [inference, missing]}]


def _route(config: RouterConfig) -> dict[str, Any]:
    weighted = [
        {"name": backend.revision + contract.ROUTE_SUFFIX, "weight": backend.weight}
        for backend in sorted(config.backends, key=lambda backend: backend.revision)
        if backend.weight
    ]
    return {
        "weighted_clusters": {"clusters": weighted},
        "timeout": envoy.seconds(config.timeout_seconds),
        "retry_policy": {
            # An inference has no side effect, so any failed attempt may be repeated.
            "retry_on": "5xx",
            "num_retries": 2,
            "per_try_timeout": envoy.seconds(config.attempt_timeout_seconds),
            "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.05s"},
            "retry_host_predicate": [
                envoy.extension(
                    "envoy.retry_host_predicates.previous_hosts", "retry.host.previous_hosts.v3.PreviousHostsPredicate"
                )
            ],
            "host_selection_retry_max_attempts": 3,
            "retry_priority": envoy.extension(
                "envoy.retry_priorities.previous_priorities",
                "retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
                update_frequency=1,
            ),
        },
    }


def _members(backend: Backend) -> dict[str, Any]:
    return {
        "@type": envoy.TYPE + "envoy.config.cluster.v3.Cluster",
        "name": backend.revision,
        "cluster_type": envoy.extension(
            "envoy.clusters.dns",
            "clusters.dns.v3.DnsCluster",
            dns_refresh_rate="1s",
            dns_failure_refresh_rate={"base_interval": "0.5s", "max_interval": "1s"},
            respect_dns_ttl=False,
            dns_lookup_family="V4_PREFERRED",
        ),
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        "load_assignment": {
            "cluster_name": backend.revision,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": envoy.address(backend.host, backend.port)}}]}],
        },
        # An address that left the Service may soon be another model's.
        "ignore_health_on_host_removal": True,
        "health_checks": [_health_check(backend.revision)],
        "outlier_detection": _outlier_detection(),
        "circuit_breakers": {
            "thresholds": [{"max_connections": 1024, "max_pending_requests": 1024, "max_requests": 1024}]
        },
        # Servers that fail their health check get requests only where there is no other server at all: one that is too
        # busy to be asked keeps its place as long as it is the last.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0.0 if backend.fallback else 1.0}},
        # Shorter than the server's own keep-alive, so that no request meets a connection the server is closing.
        "typed_extension_protocol_options": envoy.http_options("30s"),
        "upstream_connection_options": {
            "tcp_keepalive": {"keepalive_probes": 3, "keepalive_time": 10, "keepalive_interval": 5}
        },
    }


def _aggregate(backend: Backend) -> dict[str, Any]:
    name = backend.revision + contract.ROUTE_SUFFIX
    order = [backend.revision] + ([backend.fallback] if backend.fallback else [])
    # Every failure of a canary may be tried on stable; stable must not be stormed by retries of its own.
    share, least = (100.0, 1024) if backend.fallback else (20.0, 10)
    return {
        "@type": envoy.TYPE + "envoy.config.cluster.v3.Cluster",
        "name": name,
        "connect_timeout": "1s",
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": envoy.extension(
            "envoy.clusters.aggregate", "clusters.aggregate.v3.ClusterConfig", clusters=order
        ),
        "circuit_breakers": {
            "thresholds": [{"retry_budget": {"budget_percent": {"value": share}, "min_retry_concurrency": least}}]
        },
    }


def _health_check(revision: str) -> dict[str, Any]:
    """Whether a server takes traffic, asked so that one of another revision at the same address says no."""
    return {
        "timeout": "2s",
        "interval": "1s",
        "no_traffic_interval": "1s",
        "no_traffic_healthy_interval": "1s",
        "unhealthy_interval": "1s",
        "unhealthy_threshold": 3,
        "healthy_threshold": 1,
        "http_health_check": {"path": environment.SERVER_READY_PATH, "host": contract.revision_host(revision)},
    }


def _outlier_detection() -> dict[str, Any]:
    """Eject servers that cannot be reached; never for their answers.

    A request that makes a model fail would make every server of it fail: ejecting them would turn one caller's bad row
    into everybody's outage, and hide from the analysis the errors it must see.
    """
    return {
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": 3,
        "enforcing_consecutive_local_origin_failure": 100,
        "enforcing_consecutive_5xx": 0,
        "enforcing_consecutive_gateway_failure": 0,
        "enforcing_success_rate": 0,
        "enforcing_local_origin_success_rate": 0,
        "interval": "1s",
        "base_ejection_time": "2s",
        "max_ejection_time": "10s",
        "max_ejection_percent": 100,
    }
