"""The router of one Deployment: Envoy pods, the ConfigMap they watch, and the Service that callers use.

The configuration inside the ConfigMap is `millrace.render.router`'s. The pods never restart because of it: they watch
the mounted directory, and an annotation on them makes their kubelets refresh it at once.
"""

from __future__ import annotations

from typing import Any

from millrace import programs
from millrace.api import keys
from millrace.api.base import ObjectMeta
from millrace.api.training_run import ResourceRequirements
from millrace.contract import environment
from millrace.programs.router import Leaving
from millrace.render import metadata, names, pod, router, router_bootstrap
from millrace.render.server import KIND, PATIENCE, scraped

Manifest = dict[str, Any]

VOLUME = "config"
PUBLIC_PORT = 80
STATS_PATH = "/stats/prometheus"
SUCCESSOR_SECONDS = 30
"""How long a router that must go waits, as ready as ever, until the Service leads to another one that stays.

As long as there is no other, endpoints that terminate get new connections, but only if they say that they are ready.
"""
DRAIN_SECONDS = 12
"""How long it then keeps answering, with `Connection: close`, until nobody is sent to it any more."""
GRACE_SECONDS = SUCCESSOR_SECONDS + DRAIN_SECONDS + 8

_RESOURCES = ResourceRequirements(requests={"cpu": "50m", "memory": "64Mi"}, limits={"memory": "384Mi"})


def leaving(service: str, port: int = PUBLIC_PORT, admin_port: int = environment.ROUTER_ADMIN_PORT) -> Leaving:
    """How a router behind that Service leaves."""
    return Leaving(
        service=service,
        port=port,
        admin_port=admin_port,
        generation_host=router_bootstrap.GENERATION_HOST,
        who=router_bootstrap.WHO,
        leaving=router_bootstrap.LEAVING,
        successor_seconds=SUCCESSOR_SECONDS,
        drain_seconds=DRAIN_SECONDS,
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
    ready = {"httpGet": {"path": "/ready", "port": environment.ROUTER_STATS_PORT}, "timeoutSeconds": 5}
    envoy = pod.container(
        "router",
        platform.router_image,
        programs.router_command(
            leaving(owner.name), ["envoy", "--config-path", config, "--concurrency", "1", "--log-level", "warning"]
        ),
        platform=platform,
        mounts={VOLUME: environment.ROUTER_CONFIG_DIR},
        resources=_RESOURCES,
        ports=[
            {"name": "http", "containerPort": environment.ROUTER_PORT, "protocol": "TCP"},
            {"name": "stats", "containerPort": environment.ROUTER_STATS_PORT, "protocol": "TCP"},
        ],
        readinessProbe={**ready, "periodSeconds": 1, "failureThreshold": 3},
        livenessProbe={
            "tcpSocket": {"port": environment.ROUTER_STATS_PORT},
            "initialDelaySeconds": 30,
            **PATIENCE,
        },
    )
    mounted = {"name": VOLUME, "configMap": {"name": names.router(owner.name)}}
    return pod.spec([envoy], configured=[mounted], grace_seconds=GRACE_SECONDS)
