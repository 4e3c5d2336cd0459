"""The router of one Deployment: Envoy pods, the ConfigMap they watch, and the Service that callers use.

The configuration inside the ConfigMap is `millrace.render.router`'s. The pods never restart because of it: they watch
the mounted directory, and an annotation on them makes their kubelets refresh it at once.
"""

from __future__ import annotations

from typing import Any

from millrace.api import keys
from millrace.api.base import ObjectMeta
from millrace.api.training_run import ResourceRequirements
from millrace.contract import environment
from millrace.render import metadata, names, pod, router
from millrace.render.server import KIND, scraped

Manifest = dict[str, Any]

VOLUME = "config"
PUBLIC_PORT = 80
STATS_PATH = "/stats/prometheus"
DRAIN_SECONDS = 12
"""How long a router that must go keeps answering, with `Connection: close`, until nobody is sent to it any more."""

_RESOURCES = ResourceRequirements(requests={"cpu": "50m", "memory": "64Mi"}, limits={"memory": "384Mi"})
_DRAIN = (
    "import time, urllib.request as r; "
    f"r.urlopen(r.Request('http://127.0.0.1:{environment.ROUTER_ADMIN_PORT}/healthcheck/fail', method='POST')); "
    f"time.sleep({DRAIN_SECONDS})"
)


def replicas(servers: int) -> int:
    """One router for one server; two as soon as somebody wants more than one of anything."""
    return 2 if servers >= 2 else 1


def workload(owner: ObjectMeta, count: int, platform: pod.Platform) -> Manifest:
    """The apps/v1 Deployment of the router pods."""
    labels = _labels(owner)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata.child(KIND, owner, names.router(owner.name), labels),
        "spec": {
            "replicas": count,
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": selector(owner.name)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {"labels": labels, "annotations": scraped(environment.ROUTER_STATS_PORT, STATS_PATH)},
                "spec": _pod(owner, platform),
            },
        },
    }


def config_map(owner: ObjectMeta, data: dict[str, str]) -> Manifest:
    """The files that the router pods watch."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata.child(KIND, owner, names.router(owner.name), _labels(owner)),
        "data": data,
    }


def service(owner: ObjectMeta) -> Manifest:
    """The Service that callers use: port 80 of the Deployment's own name."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata.child(KIND, owner, owner.name, _labels(owner)),
        "spec": {
            "selector": selector(owner.name),
            "ports": [{"name": "http", "port": PUBLIC_PORT, "targetPort": environment.ROUTER_PORT}],
        },
    }


def selector(deployment: str) -> dict[str, str]:
    """Labels that exactly the router pods of a Deployment have."""
    return {keys.COMPONENT: "router", keys.DEPLOYMENT: deployment}


def _labels(owner: ObjectMeta) -> dict[str, str]:
    return metadata.labels("router", deployment=owner.name)


def _pod(owner: ObjectMeta, platform: pod.Platform) -> pod.Part:
    config = f"{environment.ROUTER_CONFIG_DIR}/{router.BOOTSTRAP_FILE}"
    ready = {"httpGet": {"path": "/ready", "port": environment.ROUTER_STATS_PORT}, "timeoutSeconds": 2}
    envoy = pod.container(
        "router",
        platform.router_image,
        ["envoy", "--config-path", config, "--concurrency", "1", "--log-level", "warning"],
        platform=platform,
        mounts={VOLUME: environment.ROUTER_CONFIG_DIR},
        resources=_RESOURCES,
        ports=[
            {"name": "http", "containerPort": environment.ROUTER_PORT, "protocol": "TCP"},
            {"name": "stats", "containerPort": environment.ROUTER_STATS_PORT, "protocol": "TCP"},
        ],
        readinessProbe={**ready, "periodSeconds": 1, "failureThreshold": 2},
        livenessProbe={
            "tcpSocket": {"port": environment.ROUTER_STATS_PORT},
            "initialDelaySeconds": 30,
            "periodSeconds": 10,
            "failureThreshold": 6,
        },
        lifecycle={"preStop": {"exec": {"command": ["python3", "-c", _DRAIN]}}},
    )
    mounted = {"name": VOLUME, "configMap": {"name": names.router(owner.name)}}
    return pod.spec([envoy], configured=[mounted])
