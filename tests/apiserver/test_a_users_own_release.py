"""A cluster in which a user has a release and a Model: what the demo, the tests and the kill sweep may do there.

Real Helm and kubectl on a real API server with its controllers. No pod runs: the releases have no operator pods and no
store.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import millrace_cluster
from millrace_cluster.cluster import Cluster, Kind, bind_kubectl
from millrace_cluster.control_plane import ControlPlane
from millrace_demo import clusterwide, marker, release
from millrace_demo.kubectl import CommandFailed, Kubectl

Manifest = dict[str, Any]

ROOT = Path(__file__).parents[2]
USERS, THEIR_HOME = "millrace", "millrace-system"
"""The user's release, which is also what their namespace is called, and its own, as README tells them to install it."""
NO_PODS = {"operator.replicas": "0", "store.existingSecret": "bucket"}
SHARING = ("crds.enabled=false", "rbac.create=false")
MODEL: Manifest = yaml.safe_load((ROOT / "manifests" / "samples" / "model-minimal.yaml").read_text())
CLUSTER_WIDE = ",".join(clusterwide.RESOURCES.values())
OBJECTS = "models.millrace.dev,datasets.millrace.dev,trainingruns.millrace.dev,deployments.millrace.dev"
IN_A_NAMESPACE = f"leases,secrets,configmaps,serviceaccounts,roles,rolebindings,deployments.apps,{OBJECTS}"


@pytest.fixture(autouse=True)
def prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGE_PREFIX", "registry.example/team")


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Cluster]:
    """A cluster of the caller's own, with nothing of Millrace in it."""
    with ControlPlane(folder, controller_manager=True) as plane:
        kubectl = bind_kubectl(millrace_cluster.binary("kubectl"), plane.kubeconfig)
        yield Cluster("own", plane.kubeconfig, kubectl, "", None, lambda archive: [])


def of_kind(cluster: Cluster, kind: Kind) -> Cluster:
    return Cluster(kind, cluster.kubeconfig, cluster.kubectl, "", None, lambda archive: [])


def kubectl_of(cluster: Cluster, namespace: str = USERS) -> Kubectl:
    return Kubectl(cluster.kubectl, cluster.kubeconfig, namespace)


def installed_by_the_user(cluster: Cluster, *settings: str) -> Kubectl:
    """`helm install millrace charts/millrace --namespace millrace-system`, which watches the namespace millrace, and a
    Model there; their kubectl.
    """
    kubectl = kubectl_of(cluster)
    kubectl.run("create", "namespace", USERS)
    arguments = ["install", USERS, str(release.CHART), "--namespace", THEIR_HOME, "--create-namespace", "--wait"]
    values = [*(f"{path}={value}" for path, value in NO_PODS.items()), f"watchNamespaces={{{USERS}}}", *settings]
    done = subprocess.run(
        [str(millrace_cluster.binary("helm")), *arguments, *(f"--set={value}" for value in values)],
        env={**os.environ, "KUBECONFIG": str(cluster.kubeconfig)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kinds = [name for name in kubectl.run("get", "crd", "-o", "name").split() if name.endswith(".millrace.dev")]
    kubectl.run("wait", "--for=condition=Established", *kinds, "--timeout=30s")
    kubectl.create(by(kubectl.whoami()))
    settled(kubectl)
    return kubectl


def by(author: str) -> Manifest:
    """A Model that this person brings along."""
    return {**MODEL, "spec": {**MODEL["spec"], "provenance": {"author": author}}}


def settled(kubectl: Kubectl) -> None:
    """Wait until Kubernetes' own controllers have written what they write about all of it."""
    policies = kubectl.run("get", clusterwide.RESOURCES["ValidatingAdmissionPolicy"], "-o", "name").split()
    kubectl.run("wait", "--for=jsonpath={.status.observedGeneration}=1", *policies, "--timeout=30s")
    home = kubectl.within(THEIR_HOME)
    for one in (kubectl, home):
        one.run("wait", "--for=create", "configmap/kube-root-ca.crt", "serviceaccount/default", "--timeout=30s")
    progress = '{.status.conditions[?(@.type=="Progressing")].reason}=NewReplicaSetAvailable'
    home.run("wait", f"--for=jsonpath={progress}", "deployments.apps/millrace-operator", "--timeout=30s")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of a user who installed Millrace and has a Model."""
    with started(tmp_path_factory.mktemp("own")) as found:
        installed_by_the_user(found)
        yield found


@pytest.fixture
def kubectl(cluster: Cluster) -> Kubectl:
    """The user's."""
    return kubectl_of(cluster)


_NUMBERS = itertools.count(1)


@pytest.fixture
def name(kubectl: Kubectl) -> Iterator[str]:
    """Of a release of ours and its namespace; another for each test, so that none waits for the end of the last one."""
    chosen = f"millrace-ours-{next(_NUMBERS)}"
    yield chosen
    kubectl.run("delete", "namespace", *marker.namespaces(chosen), "--ignore-not-found", "--wait=false")


def everything(kubectl: Kubectl) -> list[Manifest]:
    """What there is of Millrace for the whole cluster."""
    found: list[Manifest] = json.loads(kubectl.run("get", CLUSTER_WIDE, "-o", "json"))["items"]
    return [one for one in found if "millrace" in one["metadata"]["name"]]


def state(kubectl: Kubectl) -> dict[str, tuple[str, str]]:
    """UID and resourceVersion of the user's namespaces, of all that is in them, and of what is for the whole cluster,
    but for what a release of ours has for itself there.
    """
    found = [one for one in everything(kubectl) if not (is_ours(one) and clusterwide.is_releases_own(one))]
    for name in (USERS, THEIR_HOME):
        namespace = kubectl.get("namespace", name)
        assert namespace is not None
        found += [namespace, *json.loads(kubectl.within(name).run("get", IN_A_NAMESPACE, "-o", "json"))["items"]]
    return {
        f"{one['kind']}/{one['metadata']['name']}": (one["metadata"]["uid"], one["metadata"]["resourceVersion"])
        for one in found
    }


def is_ours(manifest: Manifest) -> bool:
    return marker.LABEL in (manifest["metadata"].get("labels") or {})


def refusal(use: Callable[..., object], *arguments: Any) -> tuple[str, str]:
    """The one sentence and the one command with which something is refused."""
    with pytest.raises(release.Refused) as caught:
        use(*arguments)
    assert caught.value.exit_code == 2
    what, following = str(caught.value).splitlines()
    return what, following.removeprefix("  next: ")


def install(cluster: Cluster, name: str) -> release.Release:
    return release.install(cluster, name, NO_PODS)


def test_beside_a_users_release_ours_comes_is_upgraded_and_goes_and_nothing_of_the_users_changes(
    cluster: Cluster, kubectl: Kubectl, name: str
) -> None:
    before = state(kubectl)
    assert {"Namespace/millrace", "Model/rent-1", "CustomResourceDefinition/models.millrace.dev"} <= before.keys()
    release.check(cluster, name)
    made = install(cluster, name)
    assert "of release millrace in namespace millrace-system are used as they are" in made.shared
    assert made.home.get("deployments.apps", "millrace-operator") is not None
    with pytest.raises(
        CommandFailed, match=f"ValidatingAdmissionPolicy 'millrace-model-approvals-{marker.home(name)}'"
    ):
        made.kubectl.create(by("somebody else"))
    made.upgrade({**NO_PODS, "operator.logLevel": "DEBUG"})
    assert state(kubectl) == before
    release.remove(cluster, name)
    assert [kubectl.get("namespace", one) for one in marker.namespaces(name)] == [None, None]
    assert [one for one in everything(kubectl) if is_ours(one)] == []
    assert state(kubectl) == before


def test_what_a_release_brings_for_the_whole_cluster_goes_with_it_but_not_while_a_user_has_objects_of_these_kinds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "millrace-ours"
    with started(tmp_path) as empty:
        assert install(empty, name).shared == ""
        made = install(empty, name)
        assert made.shared == "", "what the last one brought is not somebody else's"
        brought = [one for one in everything(made.kubectl) if marker.carries(one, name)]
        assert {one["kind"] for one in brought} == set(clusterwide.RESOURCES)
        shared = {clusterwide.key(one) for one in brought if not clusterwide.is_releases_own(one)}
        assert {kind for kind, _ in shared} == {"CustomResourceDefinition", "ClusterRole"}

        kubectl = installed_by_the_user(empty, *SHARING)
        before = state(kubectl)
        assert "namespace millrace uses the kinds" in refusal(made.upgrade, NO_PODS)[0]
        release.remove(empty, name)
        assert "roles stay: the namespace millrace uses them" in capsys.readouterr().err
        assert [kubectl.get("namespace", one) for one in marker.namespaces(name)] == [None, None]
        assert {clusterwide.key(one) for one in everything(kubectl) if is_ours(one)} == shared
        assert state(kubectl) == before

        kubectl.run("delete", OBJECTS, "--all")
        kubectl.within(THEIR_HOME).run("delete", "deployments.apps", "--all")
        release.remove(empty, name)
        assert [one for one in everything(kubectl) if is_ours(one)] == []


@pytest.mark.parametrize("which", [0, 1], ids=["objects", "operator"])
def test_a_namespace_of_our_name_that_was_not_made_here_is_left_as_it_is(
    cluster: Cluster, kubectl: Kubectl, name: str, which: int
) -> None:
    theirs = marker.namespaces(name)[which]
    kubectl.run("create", "namespace", theirs)
    before = kubectl.get("namespace", theirs)
    for use in (release.check, release.remove, install):
        what, following = refusal(use, cluster, name)
        assert f"namespace {theirs} was not made here" in what
    assert kubectl.get("namespace", theirs) == before
    subprocess.run(following.partition("   #")[0], shell=True, check=True, stdout=subprocess.DEVNULL)
    release.check(cluster, name)


def test_a_release_that_was_not_made_here_keeps_our_namespace_where_it_is(
    cluster: Cluster, kubectl: Kubectl, name: str
) -> None:
    namespace = marker.labelled({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, name)
    record = {"name": "sh.helm.release.v1.theirs.v1", "labels": {"owner": "helm", "name": "theirs"}}
    kubectl.create(namespace)
    kubectl_of(cluster, name).create({"apiVersion": "v1", "kind": "Secret", "metadata": record})
    made = release.Release(cluster, kubectl_of(cluster, name), name)
    for use in (release.check, release.remove, install, lambda *_: made.upgrade(NO_PODS)):
        what, following = refusal(use, cluster, name)
        assert f"release theirs in namespace {name} was not made here" in what
        assert f"uninstall theirs --namespace {name}" in following
    assert kubectl_of(cluster, name).get("secret", record["name"]) is not None
    # Its namespace may still be going when the next test lists what is in the way.
    kubectl_of(cluster, name).delete("secret", record["name"])


def test_kinds_of_another_version_are_neither_used_nor_replaced(cluster: Cluster, kubectl: Kubectl, name: str) -> None:
    definition = kubectl.get("crd", "datasets.millrace.dev")
    assert definition is not None
    schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/refresh"
    refresh = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"][
        "refresh"
    ]

    def patch(*operations: Manifest) -> None:
        kubectl.run("patch", "crd", "datasets.millrace.dev", "--type=json", "-p", json.dumps(operations))

    patch({"op": "remove", "path": schema})
    before = state(kubectl)
    try:
        refusal(release.check, cluster, name)
        what, following = refusal(install, cluster, name)
        assert state(kubectl) == before
    finally:
        patch({"op": "add", "path": schema, "value": refresh})
    assert (
        "CustomResourceDefinition datasets.millrace.dev, of release millrace in namespace millrace-system, is another"
        in what
    )
    assert "properties.refresh differs" in what
    assert following.startswith("unset MILLRACE_CLUSTER")
    assert kubectl.get("namespace", name) is None
    release.check(cluster, name)


def test_policies_of_a_user_that_rule_all_namespaces_would_rule_ours_too(
    cluster: Cluster, kubectl: Kubectl, name: str
) -> None:
    """As with watchNamespaces={*}: their operator would look at our objects, and ours could write no status."""
    policy = f"millrace-model-approvals-{THEIR_HOME}"
    found = kubectl.get("validatingadmissionpolicy", policy)
    assert found is not None

    def rule(selector: Manifest) -> None:
        patch = [{"op": "replace", "path": "/spec/matchConstraints/namespaceSelector", "value": selector}]
        kubectl.run("patch", "validatingadmissionpolicy", policy, "--type=json", "-p", json.dumps(patch))

    rule({})
    try:
        what, following = refusal(release.check, cluster, name)
        refusal(install, cluster, name)
    finally:
        rule(found["spec"]["matchConstraints"]["namespaceSelector"])
    assert f"{policy} of release millrace in namespace millrace-system rules the namespace {name} too" in what
    assert following.startswith("unset MILLRACE_CLUSTER")
    release.check(cluster, name)


@pytest.mark.parametrize("kind, stays", [("own", True), ("embedded", False)])
def test_what_another_tool_left_goes_from_a_local_cluster_only(
    cluster: Cluster, kubectl: Kubectl, name: str, kind: Kind, stays: bool
) -> None:
    other = f"{name}-other"
    kubectl.create(marker.labelled({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}}, other))
    release.remove(of_kind(cluster, kind), name)
    assert (kubectl.get("namespace", other) is not None) is stays
    kubectl.run("delete", "namespace", other, "--ignore-not-found", "--wait=false")


@dataclass
class Demo:
    """The demo on a local cluster that a user installed Millrace into; its story is not told."""

    command: Any
    downs: list[str]


@pytest.fixture
def demo(cluster: Cluster, name: str, monkeypatch: pytest.MonkeyPatch) -> Demo:
    spec = importlib.util.spec_from_file_location("demo_command", ROOT / "tests" / "demo" / "__main__.py")
    assert spec is not None
    assert spec.loader is not None
    command = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", [*sys.path])
    spec.loader.exec_module(command)
    made = Demo(command, [])
    monkeypatch.setattr(command, "RELEASE", name)
    monkeypatch.setattr(command, "_demo", lambda *_: False)
    monkeypatch.setattr(millrace_cluster, "up", lambda: of_kind(cluster, "embedded"))
    monkeypatch.setattr(millrace_cluster, "down", lambda: made.downs.append(name))
    return made


def test_a_demo_that_may_not_begin_takes_no_local_cluster_down(demo: Demo, kubectl: Kubectl, name: str) -> None:
    kubectl.run("create", "namespace", name)
    assert demo.command.main(["--down"]) == 2
    assert demo.downs == []


def test_a_demo_that_failed_takes_the_local_cluster_down_only_if_asked_while_somebody_else_uses_it(
    demo: Demo, kubectl: Kubectl, name: str
) -> None:
    before = state(kubectl)
    assert demo.command.main([]) == 1
    assert demo.downs == []
    assert state(kubectl) == before
    assert demo.command.main(["--down"]) == 1
    assert demo.downs == [name]


COMMANDS = {
    "demo": (["tests/demo"], "millrace-demo"),
    "what an earlier demo left": (["tests/demo", "--remove"], "millrace-demo"),
    "kill sweep": (["tests/killsweep"], "millrace-sweep"),
    "e2e": (["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/e2e/test_screen.py"], "millrace-e2e"),
}


@pytest.fixture(scope="module")
def taken(cluster: Cluster) -> None:
    """A user has namespaces of the names that our releases have."""
    for name in sorted({name for _, name in COMMANDS.values()}):
        kubectl_of(cluster).run("create", "namespace", name)


@pytest.mark.usefixtures("taken")
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_in_one_sentence_and_ends_with_2(
    cluster: Cluster, kubectl: Kubectl, command: str
) -> None:
    arguments, name = COMMANDS[command]
    before = state(kubectl)
    settings = {"MILLRACE_CLUSTER": "kubeconfig", "MILLRACE_KUBECONFIG": str(cluster.kubeconfig)}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"namespace {name} was not made here" in done.stdout
    assert "next: " in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert state(kubectl) == before


def test_a_cluster_of_ones_own_needs_a_word_on_where_images_come_from(
    cluster: Cluster, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IMAGE_PREFIX")
    assert refusal(release.check, cluster, name)[1].startswith("export IMAGE_PREFIX=")
