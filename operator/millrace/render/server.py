"""The servers of one revision: a workload of pods that answer, and the headless Service the router finds them by.

A revision is a Model's bytes under a server template. What a workload was made from can be read back from it (`read`),
so a revision keeps its template when the spec asks for another one, and goes on when its Model object is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from millrace.api import keys
from millrace.api.base import Frozen, ObjectMeta
from millrace.api.model import Model
from millrace.api.training_run import ResourceRequirements
from millrace.contract import environment
from millrace.contract.environment import ServerEnvironment
from millrace.contract.record import MalformedRecord
from millrace.render import metadata, names, pod

Manifest = dict[str, Any]

KIND = "Deployment"
CONTAINER = "server"
VOLUME = "models"
METRICS_PATH = "/metrics"
SLOWEST_START_SECONDS = 600
"""A server that does not listen by then is restarted."""
PATIENCE: Mapping[str, int] = {"timeoutSeconds": 20, "periodSeconds": 20, "failureThreshold": 6}
"""A server that lives answers within that time, however little CPU its node has to give.

One that is killed for being slow starts again on the same node, and makes it slower. Routers leave one that hangs alone
long before (`render.router`).
"""


class Template(Frozen):
    """What a revision is served with, beside its model."""

    image: str
    resources: ResourceRequirements | None = None
    grace_seconds: int = environment.SERVER_GRACE_SECONDS


class Bundle(Frozen):
    """One revision: which model, from where, under which template. Two of the same revision serve the same."""

    revision: str
    model: str
    model_name: str
    version: int
    digest: str
    model_uri: str
    golden_uri: str
    profile_uri: str
    template: Template


def bundle(model: Model, template: Template) -> Bundle:
    """The revision that serves this Model under this template."""
    spec = model.spec
    return Bundle(
        revision=names.revision(
            spec.artifact.digest, template.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        ),
        model=model.metadata.name,
        model_name=spec.model_name,
        version=int(spec.version),
        digest=spec.artifact.digest,
        model_uri=spec.artifact.storage_uri,
        golden_uri=spec.golden_set_uri,
        profile_uri=spec.reference_profile_uri,
        template=template,
    )


def workload(owner: ObjectMeta, served: Bundle, replicas: int, platform: pod.Platform) -> Manifest:
    """The apps/v1 Deployment of one revision."""
    name = names.server(owner.name, served.revision)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata.child(KIND, owner, name, _labels(owner, served)),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": selector(owner.name, served.revision)},
            # A new pod is ready before an old one goes.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {
                    "labels": _labels(owner, served),
                    "annotations": scraped(environment.SERVER_PORT, METRICS_PATH),
                },
                "spec": _pod(owner, served, platform),
            },
        },
    }


def service(owner: ObjectMeta, served: Bundle) -> Manifest:
    """The headless Service of one revision: its DNS name lists all its servers, from their first moment to their last.

    Who of them gets requests is the routers' to say, which ask each one. A list of those that Kubernetes calls ready
    lacks a server that was told to stop, though it answers until its successor does, and one too busy to be asked.
    """
    name = names.server(owner.name, served.revision)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata.child(KIND, owner, name, _labels(owner, served)),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": selector(owner.name, served.revision),
            "ports": [{"name": "http", "port": environment.SERVER_PORT, "targetPort": environment.SERVER_PORT}],
        },
    }


def read(manifest: Mapping[str, Any]) -> Bundle | None:
    """What a workload was made from, or None if it is not one of `workload`'s."""
    try:
        containers = manifest["spec"]["template"]["spec"]["containers"]
        server = next(part for part in containers if part["name"] == CONTAINER)
        told = ServerEnvironment.from_env({item["name"]: item.get("value", "") for item in server["env"]})
        return Bundle(
            revision=told.revision,
            model=told.model,
            model_name=told.model_name,
            version=int(told.model_version),
            digest=told.digest,
            model_uri=told.model_uri,
            golden_uri=told.golden_uri,
            profile_uri=told.profile_uri,
            template=Template(
                image=server["image"],
                resources=pod.stated(server.get("resources") or {}) or None,
                grace_seconds=manifest["spec"]["template"]["spec"].get(
                    "terminationGracePeriodSeconds", environment.SERVER_GRACE_SECONDS
                ),
            ),
        )
    except (KeyError, TypeError, AttributeError, ValueError, StopIteration, MalformedRecord, ValidationError):
        return None


def selector(deployment: str, revision: str) -> dict[str, str]:
    """Labels that exactly the pods of one revision have."""
    return {keys.COMPONENT: "server", keys.DEPLOYMENT: deployment, keys.REVISION: revision}


def all_pods(deployment: str) -> str:
    """Label selector, as text, of the server pods of all revisions."""
    return f"{keys.COMPONENT}=server,{keys.DEPLOYMENT}={deployment}"


def scraped(port: int, path: str) -> dict[str, str]:
    """Pod annotations by which a Prometheus with the usual scrape configuration finds the metrics."""
    return {"prometheus.io/scrape": "true", "prometheus.io/port": str(port), "prometheus.io/path": path}


def _labels(owner: ObjectMeta, served: Bundle) -> dict[str, str]:
    return metadata.labels(
        "server",
        deployment=owner.name,
        revision=served.revision,
        model=served.model,
        model_name=served.model_name,
    )


def _pod(owner: ObjectMeta, served: Bundle, platform: pod.Platform) -> pod.Part:
    env = {**environment.PROTECTIVE, **_environment(owner, served).to_env()}
    shared: dict[str, Any] = {"platform": platform, "env": env, "mounts": {VOLUME: environment.MODEL_DIR}}
    fetch = pod.container(
        "fetch", served.template.image, _command("fetch"), secrets=[pod.secret(platform.store_secret)], **shared
    )
    server = pod.container(
        CONTAINER,
        served.template.image,
        _command("serve"),
        resources=served.template.resources,
        ports=[{"name": "http", "containerPort": environment.SERVER_PORT, "protocol": "TCP"}],
        startupProbe=_probe("live", periodSeconds=1, failureThreshold=SLOWEST_START_SECONDS),
        readinessProbe=_probe("ready", periodSeconds=1, failureThreshold=3),
        livenessProbe=_probe("live", **PATIENCE),
        **shared,
    )
    return pod.spec([server], init=[fetch], volumes=[VOLUME], grace_seconds=served.template.grace_seconds)


def _environment(owner: ObjectMeta, served: Bundle) -> ServerEnvironment:
    return ServerEnvironment(
        model_name=served.model_name,
        model_version=str(served.version),
        model=served.model,
        revision=served.revision,
        deployment=owner.name,
        digest=served.digest,
        model_uri=served.model_uri,
        golden_uri=served.golden_uri,
        profile_uri=served.profile_uri,
        drain_seconds=float(served.template.grace_seconds - environment.GRACEFUL_SECONDS),
        peers=names.server(owner.name, served.revision),
    )


def _command(stage: str) -> list[str]:
    return ["python", "-m", "millrace_runtime.serving", stage]


def _probe(question: str, **timing: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": f"/v2/health/{question}", "port": environment.SERVER_PORT},
        "timeoutSeconds": 5,
        **timing,
    }
