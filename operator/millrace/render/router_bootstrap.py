"""The file the router is started with: listeners, statistics and limits. Nothing in it depends on revisions.

public :8080  routes from rds.yaml       stats :9902  /stats/prometheus /ready /generation, GET only
admin  127.0.0.1:9901, reached from outside the pod by those three paths alone
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from millrace.contract import environment
from millrace.contract import router as contract
from millrace.render import envoy

CLUSTERS_FILE = "cds.yaml"
ROUTES_FILE = "rds.yaml"

GENERATION_HOST = "generation.millrace.internal"
"""Asked of the public listener with this Host, Envoy answers with the generation it applies."""
WHO = "x-millrace-router"
"""A header of that answer: the name of the router's pod, unless that is about to leave."""
LEAVING = "millrace.leaving"
"""The runtime key that says so: percent of the answers without the header."""
GENERATION_PATH = "/generation"
"""The same, on the stats listener."""

_MIB = 1024 * 1024


@dataclass(frozen=True)
class RouterPaths:
    """Where Envoy finds its files and listens. The defaults are those of the router's pod."""

    config_dir: str = environment.ROUTER_CONFIG_DIR
    address: str = "0.0.0.0"  # noqa: S104 - the pod's own network namespace
    port: int = environment.ROUTER_PORT
    stats_port: int = environment.ROUTER_STATS_PORT
    admin_port: int = environment.ROUTER_ADMIN_PORT
    max_heap_bytes: int = 256 * _MIB
    """At 95 % of it new requests are answered 503 instead of the router being killed."""
    max_connections: int = 10_000


DEFAULT_PATHS = RouterPaths()


@cache  # the same for every router, whatever its weights
def bootstrap(paths: RouterPaths = DEFAULT_PATHS) -> str:
    """The file Envoy is started with; a change of it needs a restart, so nothing in it depends on revisions."""
    return envoy.text(
        {
            "node": {"id": "millrace-router", "cluster": "millrace-router"},
            "admin": {"address": envoy.address("127.0.0.1", paths.admin_port)},
            # So that a router that is about to leave can say so.
            "layered_runtime": {"layers": [{"name": "admin", "admin_layer": {}}]},
            "dynamic_resources": {"cds_config": envoy.watched(paths.config_dir, CLUSTERS_FILE)},
            "static_resources": {
                "listeners": [_public_listener(paths), _stats_listener(paths)],
                "clusters": [_loopback("admin", paths.admin_port), _loopback("public", paths.port)],
            },
            # Histograms are merged when they are flushed; counters are always current.
            "stats_flush_interval": "1s",
            "stats_config": {
                "histogram_bucket_settings": [
                    {"match": {"prefix": "cluster."}, "buckets": list(contract.LATENCY_BUCKETS_MS)}
                ],
                # The same counts again by origin of the request: a third of the page.
                "stats_matcher": {"exclusion_list": {"patterns": [{"contains": ".external."}]}},
            },
            "overload_manager": _overload(paths),
        }
    )


def _public_listener(paths: RouterPaths) -> dict[str, Any]:
    manager = _connection_manager("public") | {
        "rds": {"route_config_name": "public", "config_source": envoy.watched(paths.config_dir, ROUTES_FILE)},
        "local_reply_config": {"mappers": [_own_answers("EQ", 503, _RETRY_AFTER), _own_answers("GE", 400, [])]},
        "drain_timeout": "5s",
        "stream_idle_timeout": "60s",
        "request_timeout": "60s",
    }
    return {
        "name": "public",
        "address": envoy.address(paths.address, paths.port),
        # A body is kept for the retry up to this size; a larger one is tried once.
        "per_connection_buffer_limit_bytes": 4 * _MIB,
    } | _chain(manager)


_RETRY_AFTER = [{"header": {"key": "retry-after", "value": "1"}}]


def _own_answers(comparison: str, status: int, headers: list[dict[str, Any]]) -> dict[str, Any]:
    """What Envoy itself answers with such a status is the protocol's JSON, as the servers' own errors are."""
    value = {"default_value": status, "runtime_key": "millrace.local_reply"}
    return {
        "filter": {"status_code_filter": {"comparison": {"op": comparison, "value": value}}},
        "body_format_override": {"json_format": {"error": "%LOCAL_REPLY_BODY%"}},
        "headers_to_add": headers,
    }


def _stats_listener(paths: RouterPaths) -> dict[str, Any]:
    generation = {"cluster": "public", "host_rewrite_literal": GENERATION_HOST}
    manager = _connection_manager("stats") | {
        "route_config": {
            "name": "stats",
            "virtual_hosts": [
                {
                    "name": "stats",
                    "domains": ["*"],
                    "routes": [
                        {"match": envoy.get("/stats/prometheus"), "route": {"cluster": "admin"}},
                        {"match": envoy.get("/ready"), "route": {"cluster": "admin"}},
                        {"match": envoy.get(GENERATION_PATH), "route": generation},
                        envoy.answer({"prefix": "/"}, 404, "not found"),
                    ],
                }
            ],
        },
        "stream_idle_timeout": "30s",
    }
    return {"name": "stats", "address": envoy.address(paths.address, paths.stats_port)} | _chain(manager)


def _connection_manager(name: str) -> dict[str, Any]:
    return {
        "@type": envoy.TYPE + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "use_remote_address": True,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "request_headers_timeout": "10s",
        "common_http_protocol_options": {"idle_timeout": "300s", "headers_with_underscores_action": "ALLOW"},
        "http2_protocol_options": {
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 65536,
            "initial_connection_window_size": _MIB,
        },
        "server_name": "millrace",
        "http_filters": [
            envoy.extension("envoy.filters.http.router", "filters.http.router.v3.Router", suppress_envoy_headers=True)
        ],
    }


def _chain(manager: dict[str, Any]) -> dict[str, Any]:
    return {
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ]
    }


def _loopback(name: str, port: int) -> dict[str, Any]:
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": envoy.address("127.0.0.1", port)}}]}],
        },
    }


def _overload(paths: RouterPaths) -> dict[str, Any]:
    def above(value: float) -> list[dict[str, Any]]:
        return [{"name": "envoy.resource_monitors.fixed_heap", "threshold": {"value": value}}]

    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            envoy.extension(
                "envoy.resource_monitors.fixed_heap",
                "resource_monitors.fixed_heap.v3.FixedHeapConfig",
                max_heap_size_bytes=paths.max_heap_bytes,
            ),
            envoy.extension(
                "envoy.resource_monitors.global_downstream_max_connections",
                "resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                max_active_downstream_connections=paths.max_connections,
            ),
        ],
        "actions": [
            {"name": "envoy.overload_actions.shrink_heap", "triggers": above(0.90)},
            {"name": "envoy.overload_actions.stop_accepting_requests", "triggers": above(0.95)},
        ],
    }
