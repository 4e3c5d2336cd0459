"""Installs Millrace as a user would: cluster, images, `helm install`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import millrace_cluster
from millrace_cluster import Cluster
from millrace_images import building, engines, loading

from .kubectl import CommandFailed, Kubectl

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "millrace"


def home(namespace: str) -> str:
    """Where the operator and the embedded store are that serve a team's namespace: `millrace-system` for `millrace`."""
    return f"{namespace}-system"


@dataclass(frozen=True)
class Release:
    """A Helm release in a namespace of its own, and kubectl in that of the team that it serves."""

    cluster: Cluster
    kubectl: Kubectl
    name: str

    @property
    def home(self) -> Kubectl:
        """Kubectl where the operator is."""
        return self.kubectl.within(home(self.kubectl.namespace))

    def operator_pods(self) -> list[str]:
        """The names of the operator pods that run now, the newest last."""
        pods = self.home.list("pods", "app.kubernetes.io/component=operator")
        return [str(pod["metadata"]["name"]) for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def operator_pod(self) -> str:
        """The name of the operator pod that leads, or before any does of the newest."""
        running = self.operator_pods()
        lease = self.home.get("lease", "millrace-operator") or {"spec": {}}
        holder = lease["spec"].get("holderIdentity", "")
        return holder if holder in running else running[-1]


def remove(cluster: Cluster, namespace: str, name: str = "millrace") -> None:
    """Take an earlier release and everything in both namespaces away; nothing happens when there is none."""
    kubectl = Kubectl(cluster.kubectl, cluster.kubeconfig, namespace)
    if kubectl.get("namespace", home(namespace)) is not None:
        _helm(cluster, "uninstall", name, "--namespace", home(namespace), "--ignore-not-found", "--wait")
    kubectl.run("delete", "namespace", namespace, home(namespace), "--ignore-not-found", "--wait", timeout=180)


def prepare_images(cluster: Cluster) -> dict[str, str]:
    """Build what is not built and load (or, for a cluster of your own, push) what is not there; the chart's values."""
    engine = engines.choose()
    built = building.build([], engine=engine)
    if cluster.kind == "own":
        for image in built:
            engine.push(image.reference)
    else:
        loading.load(built, cluster)
    return loading.values(built)


def install(
    cluster: Cluster, namespace: str, values: Mapping[str, str], name: str = "millrace", chart: Path = CHART
) -> Release:
    """`helm upgrade --install` for the team in `namespace`, made if need be; until operator and store are ready.

    Raises CommandFailed with Helm's words.
    """
    kubectl = Kubectl(cluster.kubectl, cluster.kubeconfig, namespace)
    if kubectl.get("namespace", namespace) is None:
        kubectl.run("create", "namespace", namespace)
    _helm(
        cluster,
        "upgrade",
        "--install",
        name,
        str(chart),
        f"--namespace={home(namespace)}",
        "--create-namespace",
        f"--set=watchNamespaces={{{namespace}}}",
        *[f"--set={key}={value}" for key, value in values.items()],
        "--wait",
        "--timeout=3m",
    )
    return Release(cluster, kubectl, name)


def _helm(cluster: Cluster, *args: str) -> str:
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
    done = subprocess.run(
        [str(millrace_cluster.binary("helm")), *args],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode != 0:
        raise CommandFailed(f"helm {args[0]}: {done.stderr.strip()}")
    return done.stdout
