"""The chart as a user installs it, with the operator's pods scaled to nothing: the operator runs out here instead."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from millrace.clients import credentials
from millrace_cluster import Cluster
from millrace_demo import marker, release
from millrace_demo.kubectl import CommandFailed, Kubectl

from . import access
from .points import Points
from .supervisor import Supervisor

OPERATOR = "millrace-operator"
IDENTITY = "millrace-operator-outside"
"""One name for every start, as a restarted container has its pod's: the Lease is taken up again at once."""


class Unreachable(RuntimeError):
    """This machine has no route to the cluster's pods."""


@dataclass(frozen=True)
class Installation:
    """A release without operator pods."""

    cluster: Cluster
    kubectl: Kubectl

    @property
    def _home(self) -> Kubectl:
        """Kubectl where the operator and the store are."""
        return self.kubectl.within(marker.home(self.kubectl.namespace))

    def supervisor(self, points: Points, folder: Path) -> Supervisor:
        """The operator of this checkout, as the release's own ServiceAccount, behind the fault proxy."""
        token = self._home.run("create", "token", OPERATOR, "--duration=6h").strip()
        namespace = self._home.namespace
        return Supervisor(
            [sys.executable, "-m", "millrace", "run"],
            self._environment(folder),
            access.upstream(credentials.from_kubeconfig(self.cluster.kubeconfig)),
            points,
            folder=folder,
            kubeconfig_of=lambda server: access.kubeconfig(server, token, namespace),
        )

    def _environment(self, folder: Path) -> dict[str, str]:
        """What the chart gives the operator's container, but for where it runs."""
        operator = self._home.get("deployments.apps", OPERATOR)
        if operator is None:
            raise CommandFailed(f"the chart made no Deployment {OPERATOR} in {self._home.namespace}")
        (container,) = operator["spec"]["template"]["spec"]["containers"]
        given = {one["name"]: one["value"] for one in container["env"] if "value" in one}
        return {
            **given,
            "MILLRACE_NAMESPACE": self._home.namespace,
            "MILLRACE_POD_NAME": IDENTITY,
            "MILLRACE_METRICS_PORT": "0",
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
        }

    def check_reachable(self) -> None:
        """Raises Unreachable unless pods can be scraped from here, as the operator will."""
        for pod in self._home.list("pods"):
            address, ports = pod["status"].get("podIP"), pod["spec"]["containers"][0].get("ports", [])
            if not address or not ports:
                continue
            try:
                socket.create_connection((address, ports[0]["containerPort"]), timeout=3).close()
            except OSError as error:
                raise Unreachable(
                    f"pods cannot be reached from this machine ({address}: {error}), so an operator out here could not "
                    "scrape them. Use the embedded cluster: MILLRACE_CLUSTER=embedded make kill-sweep"
                ) from error
            return


@contextmanager
def installed(cluster: Cluster, name: str, images: Mapping[str, str], *, keep: bool = False) -> Iterator[Installation]:
    """Install into a fresh namespace, and take everything away again in the end, unless told to `keep` it.

    Raises Refused, before anything is changed, when something in the way is somebody else's.
    """
    release.check(cluster, name)
    try:
        made = release.install(cluster, name, {**images, "operator.replicas": "0"})
        found = Installation(cluster, made.kubectl)
        found.check_reachable()
        yield found
    finally:
        if not keep:
            release.remove(cluster, name)
