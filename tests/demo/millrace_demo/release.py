"""Installs Millrace as a user would, `helm install`, into namespaces of its own making, and takes it away again.

Two of them: people's objects are in the one of the release's name, operator and embedded store in `marker.home` of it.

Whose a thing is, its label says (`marker`): a namespace or a release without it is neither removed nor upgraded, and
what somebody else brought for the whole cluster is left as it is (`clusterwide`).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import millrace_cluster
from millrace_cluster import Cluster, ClusterError, console, pods
from millrace_images import building, engines, inputs, loading

from . import clusterwide, marker
from .kubectl import CommandFailed, Kubectl, Manifest

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "millrace"
KUBERNETES = "v1.36.3"
"""For which the chart is rendered to be compared; Helm alone would assume an old one."""
_ANOTHER = {
    True: "unset MILLRACE_CLUSTER   # a local cluster is used instead",
    False: "make cluster-down   # the local cluster goes, with all that is in it",
}
"""What to do where a cluster, one's own or a local one, cannot be used."""
_MARKED = "jsonpath={range .items[*]}{.metadata.name}={.metadata.labels.millrace\\.dev/made-by} {end}"
HELD = "localhost/"
"""Where image names begin that no node pulls from anywhere: nodes hold them, or do not."""


class Refused(ClusterError):
    """It may not be done, and nothing was changed. One sentence, one next command, exit code 2."""

    def __init__(self, what: str, following: str) -> None:
        super().__init__(what, "", following, exit_code=2)


@dataclass(frozen=True)
class Release:
    """A Helm release, and kubectl in the namespace of its own name: that of the team which it serves.

    `shared` says what it uses of somebody else's, if anything.
    """

    cluster: Cluster
    kubectl: Kubectl
    name: str
    shared: str = ""
    _left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Kubectl:
        """Kubectl where the operator is."""
        return self.kubectl.within(marker.home(self.name))

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

    def upgrade(self, values: Mapping[str, str], chart: Path = CHART) -> None:
        """`helm upgrade` to another chart or other values; what is shared stays as it is.

        Raises Refused, CommandFailed with Helm's words.
        """
        for namespace in marker.namespaces(self.name):
            _refuse_others(self.cluster, self.kubectl, namespace, self.name)
        others = clusterwide.users(self.kubectl, marker.namespaces(self.name))
        if others and not self.shared:
            raise Refused(
                f"the namespace {others[0]} uses the kinds that release {self.name} brought, so they stay as they are",
                f"{self.kubectl.binary} --kubeconfig={self.kubectl.kubeconfig} get mds,mtr,mmd,mdep -n {others[0]}",
            )
        _helm_upgrade(self.cluster, self.kubectl, self.name, chart, {**values, **self._left_out})


def check(cluster: Cluster, name: str) -> None:
    """Whether `install` can do what it does. Only looks.

    Raises Refused when something in the way is somebody else's, or nobody said where nodes get images from.
    """
    if cluster.kind == "own" and not os.environ.get("IMAGE_PREFIX"):
        raise Refused(
            "IMAGE_PREFIX does not say from where the nodes of this cluster get the images",
            f"export IMAGE_PREFIX=registry.example/team   # or {inputs.PREFIX} if they were loaded into the nodes",
        )
    kubectl = _kubectl(cluster, name)
    going = _going(cluster, kubectl, name)
    brought = clusterwide.brought(kubectl, _selector(cluster, name))
    stays = brought and clusterwide.users(kubectl, going)
    _shared(cluster, kubectl, name, [] if stays else [clusterwide.key(one) for one in brought])


def install(cluster: Cluster, name: str, values: Mapping[str, str], chart: Path = CHART) -> Release:
    """Remove what an earlier install under this name left, install, and wait until operator and store are ready.

    Raises Refused, before anything is changed, and CommandFailed with Helm's words.
    """
    check(cluster, name)
    remove(cluster, name)
    kubectl = _kubectl(cluster, name)
    shared = _shared(cluster, kubectl, name)
    left_out = clusterwide.LEFT_OUT if shared else {}
    if shared:
        console.say(f"  {shared}")
    for one in marker.namespaces(name):
        namespace: Manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": one}}
        kubectl.create(marker.labelled(namespace, name))
    _helm_upgrade(cluster, kubectl, name, chart, {**values, **left_out})
    return Release(cluster, kubectl, name, shared, left_out)


def attach(cluster: Cluster, name: str, shared: str) -> Release:
    """The release that `install` made; `shared` as it was said then."""
    return Release(cluster, _kubectl(cluster, name), name, shared, clusterwide.LEFT_OUT if shared else {})


def remove(cluster: Cluster, name: str) -> None:
    """Take away what `install` made under this name, on a local cluster under any name; nothing happens without any.

    What it made for the whole cluster stays for as long as somebody else uses it. Raises Refused, before anything is
    changed.
    """
    kubectl, selector = _kubectl(cluster, name), _selector(cluster, name)
    going = _going(cluster, kubectl, name)
    if going:
        # One that was already going may be gone between kubectl's list and its delete.
        kubectl.run(
            "delete", "namespace", "-l", selector, "--ignore-not-found", "--wait", "--timeout=170s", timeout=180
        )
    brought = clusterwide.brought(kubectl, selector)
    others = clusterwide.users(kubectl, going) if brought else []
    if others:
        console.say(f"  the kinds and people's roles stay: the namespace {others[0]} uses them")
    clusterwide.delete(kubectl, [one for one in brought if clusterwide.is_releases_own(one) or not others])


def is_shared_by_others(cluster: Cluster, name: str) -> bool:
    """Whether anybody but this release uses Millrace on this cluster."""
    return bool(clusterwide.users(_kubectl(cluster, name), marker.namespaces(name)))


def last_words(cluster: Cluster, name: str) -> dict[str, str]:
    """Title -> text: what the pods of both namespaces said last, the operator's first, and what they were warned of."""
    return {
        f"{title} of {namespace}": text
        for namespace in reversed(marker.namespaces(name))
        for title, text in pods.last_words(_kubectl(cluster, namespace).run).items()
    }


def prepare_images(cluster: Cluster) -> dict[str, str]:
    """Build what is not built and load (or, for a cluster of your own, push) what is not there; the chart's values."""
    engine = engines.choose()
    built = building.build([], engine=engine)
    if cluster.kind != "own":
        loading.load(built, cluster)
    elif pulls(cluster):
        for image in built:
            engine.push(image.reference)
    return loading.values(built)


def pulls(cluster: Cluster) -> bool:
    """Whether the cluster's nodes get the images from a registry."""
    return cluster.kind == "own" and not inputs.prefix().startswith(HELD)


def _kubectl(cluster: Cluster, name: str) -> Kubectl:
    return Kubectl(cluster.kubectl, cluster.kubeconfig, name)


def _selector(cluster: Cluster, name: str) -> str:
    """What may be removed. A local cluster is the tests' own: what any of them left there is in the way of the next."""
    return f"{marker.LABEL}={name}" if cluster.kind == "own" else marker.LABEL


def _going(cluster: Cluster, kubectl: Kubectl, name: str) -> set[str]:
    """Namespaces that a removal deletes. Raises Refused when ours, or a release in one of them, lacks the marker."""
    named = kubectl.run("get", "namespaces", "-l", _selector(cluster, name), "-o", _MARKED).split()
    going = dict(found.split("=") for found in named)
    for namespace, made_for in {**going, **dict.fromkeys(marker.namespaces(name), name)}.items():
        _refuse_others(cluster, kubectl, namespace, made_for)
    return set(going)


def _refuse_others(cluster: Cluster, kubectl: Kubectl, name: str, made_for: str) -> None:
    """Raises Refused when the namespace, or a release in it, is somebody else's than of the release `made_for`."""
    namespace = kubectl.get("namespace", name)
    program = f"{kubectl.binary} --kubeconfig={kubectl.kubeconfig}"
    mark = f"{marker.LABEL}={made_for}"
    if namespace is not None and not marker.carries(namespace, made_for):
        raise Refused(
            f"the namespace {name} was not made here (it has no label {mark}), so it is left as it is",
            f"{program} label namespace {name} {mark}   # only if all that is in it may go",
        )
    records = ("get", "secrets", f"--namespace={name}", "-l", f"owner=helm,!{marker.LABEL}")
    found = kubectl.run(*records, "-o", "jsonpath={.items[*].metadata.labels.name}").split()
    if found:
        raise Refused(
            f"the release {found[0]} in namespace {name} was not made here, so both are left as they are",
            f"helm --kubeconfig={cluster.kubeconfig} uninstall {found[0]} --namespace {name}   # only if it may go",
        )


def _shared(cluster: Cluster, kubectl: Kubectl, name: str, removed: Collection[tuple[str, str]] = ()) -> str:
    """What somebody else brought for the whole cluster and this release can use, in words; empty when there is nothing.

    Raises Refused when it cannot use what is there.
    """
    ruling = clusterwide.ruling(kubectl, name, removed)
    if ruling is not None:
        whose = f"the admission policy {ruling['metadata']['name']} of {clusterwide.owner(ruling)}"
        raise Refused(
            f"{whose} rules the namespace {name} too, and knows no operator but its own",
            _ANOTHER[cluster.kind == "own"],
        )
    wanted = clusterwide.shared(_rendered(name), marker.home(name))
    there = [one for one in clusterwide.present(kubectl, wanted) if clusterwide.key(one) not in removed]
    if not there:
        return ""
    why = clusterwide.unfit(wanted, there)
    if why:
        raise Refused(f"this cluster cannot be used beside what is in it: {why}", _ANOTHER[cluster.kind == "own"])
    return f"the kinds and people's roles of {clusterwide.owner(there[0])} are used as they are"


def _rendered(name: str) -> list[Manifest]:
    """What this checkout's chart makes when no value is given."""
    options = [f"--namespace={marker.home(name)}", f"--kube-version={KUBERNETES}"]
    return marker.parsed(_run_helm(["template", name, str(CHART), *options], {}))


def _helm_upgrade(cluster: Cluster, kubectl: Kubectl, name: str, chart: Path, values: Mapping[str, str]) -> None:
    """`helm upgrade --install`: every object, and Helm's own record, gets the marker.

    What is made the very moment in which policies change counts as unchecked, so that moment is over when this returns.
    """
    _run_helm(
        [
            "upgrade",
            "--install",
            name,
            str(chart),
            f"--namespace={marker.home(name)}",
            f"--labels={marker.LABEL}={name}",
            f"--post-renderer={sys.executable}",
            f"--post-renderer-args={marker.__file__}",
            f"--post-renderer-args={name}",
            f"--set=watchNamespaces={{{name}}}",
            *[f"--set={path}={value}" for path, value in values.items()],
            "--wait",
            "--timeout=3m",
        ],
        {"KUBECONFIG": str(cluster.kubeconfig)},
    )
    deadline = time.monotonic() + 60
    while not clusterwide.is_settled(kubectl, marker.home(name)):
        if time.monotonic() > deadline:
            raise CommandFailed(f"the admission policies of release {name} change all the time")
        time.sleep(0.5)


def _run_helm(arguments: list[str], environment: Mapping[str, str]) -> str:
    """Helm, told of no other cluster or user by variables that were meant for somebody's own use of it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HELM_") and name != "KUBECONFIG"}
    done = subprocess.run(
        [str(millrace_cluster.binary("helm")), *arguments],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode != 0:
        raise CommandFailed(f"helm {arguments[0]}: {done.stderr.strip()}")
    return done.stdout
