"""The model of the API server answers as the real one does: the same requests to both, the answers compared."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from apiserver_kit import planes

from millrace.clients.kube import METADATA_ONLY
from millrace_cluster.control_plane import ControlPlane
from millrace_harness.apiserver import ApiServer
from millrace_harness.apiserver.comparison import Both, differences
from millrace_harness.virtual import VirtualLoop
from millrace_harness.wire import APPLY, JSON_PATCH, MERGE

Manifest = dict[str, Any]

SPACE = "compared"
CORE, OURS, APPS = f"/api/v1/namespaces/{SPACE}", f"/apis/millrace.dev/v1alpha1/namespaces/{SPACE}", "/apis/apps/v1"
WORKLOADS, JOBS = f"{APPS}/namespaces/{SPACE}/deployments", f"/apis/batch/v1/namespaces/{SPACE}/jobs"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{SPACE}/leases"
BUDGETS = f"/apis/policy/v1/namespaces/{SPACE}/poddisruptionbudgets"
DIGEST = f"sha256:{'a' * 64}"


@pytest.fixture(scope="module")
def both(control_plane: ControlPlane, api: Any) -> Iterator[Both]:
    control_plane.kubectl("create", "namespace", SPACE)
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    made = Both(control_plane.url, control_plane.token(planes.MAKER), control_plane.ca, ApiServer(loop))
    yield made
    if made.connection is not None:
        made.connection.close()
    asyncio.set_event_loop(None)
    loop.close()


Step = tuple[str, tuple[Any, ...], dict[str, Any]]


def step(title: str, *request: Any, **more: Any) -> Step:
    return title, request, more


def config(name: str = "c", data: Manifest | None = None, **metadata: Any) -> Manifest:
    made: Manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}
    return made | ({"data": data} if data is not None else {})


def workload(env: list[Manifest], ports: list[Manifest] | None = None, replicas: int = 1, **spec: Any) -> Manifest:
    container = {"name": "server", "image": "s:1", "env": env, "ports": ports or [{"containerPort": 8080}]}
    side = {"name": "side", "image": "x:1"}
    template = {"metadata": {"labels": {"app": "w"}}, "spec": {"containers": [container, side], **spec}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "w", "labels": {"app": "w"}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "w"}}, "template": template},
    }


def job(image: str = "i:1") -> Manifest:
    template = {"spec": {"containers": [{"name": "c", "image": image}], "restartPolicy": "Never"}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": template}}


def budget(labels: Manifest) -> Manifest:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": labels}}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"}, "spec": spec}


def pod(name: str = "p", **spec: Any) -> Manifest:
    made = {"containers": [{"name": "c", "image": "i:1"}], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": made}


def dataset(name: str = "d", **spec: Any) -> Manifest:
    wanted = {"source": {"storageUri": "s3://lake/churn.csv"}, "format": "CSV", **spec}
    return {"apiVersion": "millrace.dev/v1alpha1", "kind": "Dataset", "metadata": {"name": name}, "spec": wanted}


def run(**more: Any) -> Manifest:
    spec = {
        "author": "admin",
        "datasetRef": {"name": "d"},
        "trainer": {"builtin": {"estimator": "sklearn.linear_model.LogisticRegression", "task": "Classification"}},
        "evaluation": {"metrics": ["roc_auc"]},
        "output": {"modelName": "m"},
        **more,
    }
    return {"apiVersion": "millrace.dev/v1alpha1", "kind": "TrainingRun", "metadata": {"name": "r"}, "spec": spec}


def model(**more: Any) -> Manifest:
    tensor = {"name": "numeric", "datatype": "FP32", "shape": [-1, 2]}
    spec = {
        "modelName": "m",
        "version": "1",
        "artifact": {"storageUri": "s3://m/1", "digest": DIGEST},
        "signature": {"inputs": [tensor], "outputs": [tensor]},
        "goldenSetUri": "s3://m/g",
        "referenceProfileUri": "s3://m/p",
        "provenance": {"author": "admin"},
        **more,
    }
    return {"apiVersion": "millrace.dev/v1alpha1", "kind": "Model", "metadata": {"name": "m-1"}, "spec": spec}


def condition(kind: str, reason: str, status: str = "True") -> Manifest:
    time = "2026-11-21T00:00:00Z"
    return {"type": kind, "status": status, "reason": reason, "message": "", "lastTransitionTime": time}


def status(*conditions: Manifest, kind: str = "Dataset", name: str = "d", **more: Any) -> Callable[[Any], Manifest]:
    """A status intent on the very version that is known."""

    def body(known: Callable[[str], Manifest]) -> Manifest:
        metadata = {key: known(name)["metadata"][key] for key in ("name", "uid", "resourceVersion")}
        identity = {"apiVersion": "millrace.dev/v1alpha1", "kind": kind}
        return {**identity, "metadata": metadata, "status": {"conditions": list(conditions), **more}}

    return body


def owned(by: str, name: str, data: Manifest, **more: Any) -> Callable[[Any], Manifest]:
    """A ConfigMap owned by an object that is known."""

    def body(known: Callable[[str], Manifest]) -> Manifest:
        uid = known(by)["metadata"]["uid"]
        kind = {"apiVersion": "v1", "kind": "ConfigMap", "name": by, "uid": uid, **more}
        return config(name, data, ownerReferences=[kind])

    return body


def preconditions(name: str, **wrong: str) -> Callable[[Any], Manifest]:
    def body(known: Callable[[str], Manifest]) -> Manifest:
        metadata = known(name)["metadata"]
        found = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"], **wrong}
        return {"preconditions": found}

    return body


NOBODY = "11111111-1111-4111-8111-111111111111"
APPLIED: tuple[Step, ...] = (
    step("apply makes it", "PATCH", f"{CORE}/configmaps/c", config(data={"a": "1", "b": "2"}), APPLY, manager="m"),
    step("the same again changes nothing", "PATCH", f"{CORE}/configmaps/c", config(data={"a": "1", "b": "2"}), APPLY,
         manager="m"),
    step("another adds a field", "PATCH", f"{CORE}/configmaps/c", config(data={"x": "9"}), APPLY, manager="n"),
    step("both own the same value", "PATCH", f"{CORE}/configmaps/c", config(data={"x": "9", "b": "2"}), APPLY,
         manager="n"),
    step("left out: one goes, one stays", "PATCH", f"{CORE}/configmaps/c", config(data={"c": "3"}), APPLY, manager="m"),
    step("somebody edits", "PATCH", f"{CORE}/configmaps/c", {"data": {"c": "4", "e": "5"}}, MERGE, manager="editor"),
    step("taken back by force", "PATCH", f"{CORE}/configmaps/c", config(data={"c": "3"}), APPLY, manager="m"),
    step("all data left out", "PATCH", f"{CORE}/configmaps/c", config(), APPLY, manager="m"),
    step("labels and annotations", "PATCH", f"{CORE}/configmaps/c",
         config(labels={"l": "1"}, annotations={"t": "2"}, data={"a": "1"}), APPLY, manager="m"),
    step("labels go", "PATCH", f"{CORE}/configmaps/c", config(data={"a": "1"}), APPLY, manager="m"),
    step("an owner", "PATCH", f"{CORE}/configmaps/o", owned("c", "o", {"a": "1"}), APPLY, manager="m"),
    step("a second owner", "PATCH", f"{CORE}/configmaps/o", owned("o", "o", {"z": "1"}, controller=True), APPLY,
         manager="n"),
    step("the first owner goes", "PATCH", f"{CORE}/configmaps/o", config("o", {"a": "1"}), APPLY, manager="m"),
    step("a wrong uid", "PATCH", f"{CORE}/configmaps/c", config(uid=NOBODY), APPLY, manager="m"),
    step("a uid of nobody", "PATCH", f"{CORE}/configmaps/new", config("new", uid=NOBODY), APPLY, manager="m"),
    step("a stale version", "PATCH", f"{CORE}/configmaps/c", config(resourceVersion="1"), APPLY, manager="m"),
    step("a bad name", "PATCH", f"{CORE}/configmaps/Bad", config("Bad"), APPLY, manager="m"),
    step("a bad label", "PATCH", f"{CORE}/configmaps/c", config(labels={"l": "x" * 64}), APPLY, manager="m"),
    step("another name in the body", "PATCH", f"{CORE}/configmaps/c", config("other"), APPLY, manager="m"),
    step("a dry run", "PATCH", f"{CORE}/configmaps/c", config(data={"dry": "1"}), APPLY, manager="m", dryRun="All"),
    step("it was dry", "GET", f"{CORE}/configmaps/c"),
)  # fmt: skip
KEYED: tuple[Step, ...] = (
    step("two variables", "PATCH", f"{WORKLOADS}/w",
         workload([{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]), APPLY, manager="m"),
    step("again", "PATCH", f"{WORKLOADS}/w", workload([{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]),
         APPLY, manager="m"),
    step("one dropped, one added", "PATCH", f"{WORKLOADS}/w",
         workload([{"name": "B", "value": "2"}, {"name": "C", "value": "3"}]), APPLY, manager="m"),
    step("another's variable", "PATCH", f"{WORKLOADS}/w",
         {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "w"}, "spec": {"template": {"spec": {
             "containers": [{"name": "server", "env": [{"name": "N", "value": "n"}]}]}}}}, APPLY, manager="n"),
    step("stays when mine change", "PATCH", f"{WORKLOADS}/w", workload([{"name": "B", "value": "4"}]), APPLY,
         manager="m"),
    step("ports by number", "PATCH", f"{WORKLOADS}/w",
         workload([], [{"containerPort": 8080, "name": "http"}, {"containerPort": 9090}]), APPLY, manager="m"),
    step("a port goes", "PATCH", f"{WORKLOADS}/w", workload([], [{"containerPort": 9090}]), APPLY, manager="m"),
    step("a lighter pod spec", "PATCH", f"{WORKLOADS}/w", workload([], terminationGracePeriodSeconds=5), APPLY,
         manager="m"),
    step("somebody scales", "PATCH", f"{WORKLOADS}/w", {"spec": {"replicas": 4}}, MERGE, manager="kubectl"),
    step("scaled back", "PATCH", f"{WORKLOADS}/w", workload([], replicas=2), APPLY, manager="m"),
    step("the selector is immutable", "PATCH", f"{WORKLOADS}/w",
         {"spec": {"selector": {"matchLabels": {"app": "v"}}}}, MERGE),
    step("its status is a subresource", "PATCH", f"{WORKLOADS}/w/status", {"status": {"replicas": 1}}, MERGE),
    step("not on the main resource", "PATCH", f"{WORKLOADS}/w", {"status": {"replicas": 3}}, MERGE),
    step("a Job", "PATCH", f"{JOBS}/j", job(), APPLY, manager="m"),
    step("its template is immutable", "PATCH", f"{JOBS}/j", job("i:2"), APPLY, manager="m"),
    step("a headless Service", "PATCH", f"{CORE}/services/s",
         {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
          "spec": {"clusterIP": "None", "selector": {"a": "1"}, "ports": [{"name": "http", "port": 80}]}}, APPLY,
         manager="m"),
    step("a budget", "PATCH", f"{BUDGETS}/b", budget({"a": "1"}), APPLY, manager="m"),
    step("its selector is replaced whole too", "PATCH", f"{BUDGETS}/b", budget({"b": "1"}), APPLY, manager="m"),
    step("its selector is replaced whole", "PATCH", f"{CORE}/services/s",
         {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
          "spec": {"clusterIP": "None", "selector": {"b": "1"}, "ports": [{"name": "web", "port": 80}]}}, APPLY,
         manager="m"),
)  # fmt: skip
STRICT = {"fieldValidation": "Strict"}
CUSTOM: tuple[Step, ...] = (
    step("a Dataset", "POST", f"{OURS}/datasets", dataset(), manager="user", **STRICT),
    step("again", "POST", f"{OURS}/datasets", dataset(), manager="user", **STRICT),
    step("an unknown field", "POST", f"{OURS}/datasets", dataset("u", wrong=1), **STRICT),
    step("an unknown value", "POST", f"{OURS}/datasets", dataset("u", format="XLS"), **STRICT),
    step("a missing field", "POST", f"{OURS}/datasets", dataset("u", source={}), **STRICT),
    step("a wrong type", "POST", f"{OURS}/datasets", dataset("u", format=7), **STRICT),
    step("a status", "PATCH", f"{OURS}/datasets/d/status", status(condition("Ready", "A"), phase="Ready"), APPLY,
         manager="m"),
    step("the same status", "PATCH", f"{OURS}/datasets/d/status", status(condition("Ready", "A"), phase="Ready"), APPLY,
         manager="m"),
    step("another condition", "PATCH", f"{OURS}/datasets/d/status",
         status(condition("Ready", "A"), condition("Ingested", "B"), phase="Ready"), APPLY, manager="m"),
    step("a condition and the phase go", "PATCH", f"{OURS}/datasets/d/status", status(condition("Ingested", "B")),
         APPLY, manager="m"),
    step("a status of another version", "PATCH", f"{OURS}/datasets/d/status",
         {**dataset(), "metadata": {"name": "d", "resourceVersion": "1"}, "status": {"phase": "x"}}, APPLY,
         manager="m"),
    step("a status of another object", "PATCH", f"{OURS}/datasets/d/status",
         {**dataset(), "metadata": {"name": "d", "uid": NOBODY}, "status": {"phase": "x"}}, APPLY, manager="m"),
    step("a status the schema refuses", "PATCH", f"{OURS}/datasets/d/status",
         status({**condition("Ready", "A"), "status": "Perhaps"}), APPLY, manager="m"),
    step("a status it does not know", "PATCH", f"{OURS}/datasets/d/status", status(wrong=1), APPLY, manager="m"),
    step("a status of nobody", "PATCH", f"{OURS}/datasets/none/status",
         {**dataset("none"), "status": {"phase": "x"}}, APPLY, manager="m"),
    step("the spec changes", "PATCH", f"{OURS}/datasets/d", {"spec": {"refresh": {"interval": "1h"}}}, MERGE),
    step("an edit of what is stale", "PATCH", f"{OURS}/datasets/d",
         {"metadata": {"resourceVersion": "1"}, "spec": {"refresh": {"interval": "2h"}}}, MERGE),
    step("an edit of another object", "PATCH", f"{OURS}/datasets/d",
         {"metadata": {"uid": NOBODY}, "spec": {"refresh": {"interval": "2h"}}}, MERGE),
    step("a label", "PATCH", f"{OURS}/datasets/d", {"metadata": {"labels": {"a": "b"}}}, MERGE),
    step("an edit without effect", "PATCH", f"{OURS}/datasets/d", {"metadata": {"labels": {"a": "b"}}}, MERGE),
    step("a field is removed", "PATCH", f"{OURS}/datasets/d", {"metadata": {"labels": None}}, MERGE),
    step("an edit by operations", "PATCH", f"{OURS}/datasets/d",
         [{"op": "add", "path": "/spec/refresh/interval", "value": "3h"}], JSON_PATCH),
    step("an edit that fails its test", "PATCH", f"{OURS}/datasets/d",
         [{"op": "test", "path": "/spec/format", "value": "Parquet"}], JSON_PATCH),
    step("a replacement", "PUT", f"{OURS}/datasets/d",
         lambda known: {**known("d"), "spec": {**known("d")["spec"], "refresh": {"interval": "5h"}}}),
    step("a stale replacement", "PUT", f"{OURS}/datasets/d",
         lambda known: {**known("d"), "metadata": {**known("d")["metadata"], "resourceVersion": "1"}}),
    step("a replacement of another object", "PUT", f"{OURS}/datasets/d",
         lambda known: {**known("d"), "metadata": {**known("d")["metadata"], "uid": NOBODY}}),
    step("an unknown field is dropped", "PATCH", f"{OURS}/datasets/d", {"spec": {"wrong": 1}}, MERGE),
    step("an unknown field is refused", "PATCH", f"{OURS}/datasets/d", {"spec": {"wrong": 1}}, MERGE, **STRICT),
    step("an unknown field is not applied", "PATCH", f"{OURS}/datasets/d", dataset(wrong=1), APPLY, manager="m"),
    step("a replacement of no version", "PUT", f"{OURS}/datasets/d", dataset()),
    step("a run", "POST", f"{OURS}/trainingruns", run()),
    step("it is immutable", "PATCH", f"{OURS}/trainingruns/r", {"spec": {"seed": 7}}, MERGE),
    step("its labels are not", "PATCH", f"{OURS}/trainingruns/r", {"metadata": {"labels": {"a": "b"}}}, MERGE),
    step("applied to another", "PATCH", f"{OURS}/trainingruns/r", {**run(), "metadata": {"name": "r", "uid": NOBODY}},
         APPLY, manager="m"),
    step("a model", "POST", f"{OURS}/models", model()),
    step("a version is immutable", "PATCH", f"{OURS}/models/m-1", {"spec": {"version": "2"}}, MERGE),
    step("its policy is not", "PATCH", f"{OURS}/models/m-1", {"spec": {"approvalPolicy": {"required": 2}}}, MERGE),
    step("a probe is refused", "POST", f"{OURS}/trainingruns",
         {**run(), "metadata": {"name": "millrace-policy-probe"}}, dryRun="All"),
    step("no such kind", "GET", f"{OURS}/mills/x"),
    step("no such version", "GET", "/apis/millrace.dev/v9"),
)  # fmt: skip
LIVES: tuple[Step, ...] = (
    step("a pod", "POST", f"{CORE}/pods", {**pod(), "status": {"phase": "Running"}}),
    step("it is bound", "POST", f"{CORE}/pods/p/binding",
         {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"},
          "target": {"apiVersion": "v1", "kind": "Node", "name": "harness"}}),
    step("only once", "POST", f"{CORE}/pods/p/binding",
         {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"},
          "target": {"apiVersion": "v1", "kind": "Node", "name": "other"}}),
    step("its spec is fixed", "PATCH", f"{CORE}/pods/p", {"spec": {"restartPolicy": "Never"}}, MERGE),
    step("it runs", "PATCH", f"{CORE}/pods/p/status", {"status": {"phase": "Running", "podIP": "10.1.1.1"}}, MERGE),
    step("an annotation", "PATCH", f"{CORE}/pods/p",
         lambda known: {"metadata": {"uid": known("p")["metadata"]["uid"], "annotations": {"a": "b"}}}, MERGE),
    step("an annotation of another pod", "PATCH", f"{CORE}/pods/p",
         {"metadata": {"uid": NOBODY, "annotations": {"a": "c"}}}, MERGE),
    step("the state of another pod", "PATCH", f"{CORE}/pods/p/status",
         {"metadata": {"uid": NOBODY}, "status": {"phase": "Failed"}}, MERGE),
    step("deleted, it has time", "DELETE", f"{CORE}/pods/p", preconditions("p")),
    step("it is still there", "GET", f"{CORE}/pods/p"),
    step("again, it makes no difference", "DELETE", f"{CORE}/pods/p"),
    step("the kubelet is done", "DELETE", f"{CORE}/pods/p", {"gracePeriodSeconds": 0}),
    step("it is gone", "GET", f"{CORE}/pods/p"),
    step("one that was never bound", "POST", f"{CORE}/pods", pod("q")),
    step("goes at once", "DELETE", f"{CORE}/pods/q"),
    step("is gone", "GET", f"{CORE}/pods/q"),
    step("two of one prefix", "POST", f"{CORE}/configmaps",
         {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "g-"}}),
    step("with a finalizer", "POST", f"{CORE}/configmaps", config("f", {"a": "1"}, finalizers=["test/held"])),
    step("of another version", "DELETE", f"{CORE}/configmaps/f", preconditions("f", resourceVersion="1")),
    step("of another uid", "DELETE", f"{CORE}/configmaps/f", preconditions("f", uid=NOBODY)),
    step("it is held", "DELETE", f"{CORE}/configmaps/f", preconditions("f")),
    step("and can be changed", "PATCH", f"{CORE}/configmaps/f", config("f", {"z": "1"}), APPLY, manager="m"),
    step("until it is let go", "PATCH", f"{CORE}/configmaps/f", {"metadata": {"finalizers": None}}, MERGE),
    step("then it is gone", "GET", f"{CORE}/configmaps/f"),
    step("deleting nobody", "DELETE", f"{CORE}/configmaps/f", {"preconditions": {"uid": NOBODY}}),
    step("in the foreground", "DELETE", f"{WORKLOADS}/w", {"propagationPolicy": "Foreground"}),
    step("our own, in the foreground", "DELETE", f"{OURS}/datasets/d", {"propagationPolicy": "Foreground"}),
    step("a lease", "POST", LEASES, {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                                     "metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}}),
    step("renewed", "PUT", f"{LEASES}/l", lambda known: {**known("l"), "spec": {"holderIdentity": "b"}}),
    step("by one who is late", "PUT", f"{LEASES}/l",
         lambda known: {**known("l"), "metadata": {**known("l")["metadata"], "resourceVersion": "1"}}),
    step("no status here", "PATCH", f"{CORE}/configmaps/c/status", {"status": {}}, MERGE),
    step("a list by label", "GET", f"{CORE}/pods", labelSelector="app=none"),
    step("a list of metadata", "GET", f"{OURS}/models", headers={"Accept": METADATA_ONLY}, resourceVersion="0"),
    step("a list by name", "GET", f"{OURS}/models", fieldSelector="metadata.name=m-1"),
)  # fmt: skip


@pytest.mark.parametrize("story", [APPLIED, KEYED, CUSTOM, LIVES], ids=["applied", "keyed", "custom", "lives"])
def test_the_model_answers_as_the_api_server_does(both: Both, story: tuple[Step, ...]) -> None:
    findings = []
    for title, request, more in story:
        before = dict(both.known)
        real, modelled = both.send(*request, **more)
        findings += [
            f"{title}: {one}" for one in differences(both, request[1], before, real, modelled, dry="dryRun" in more)
        ]
    assert not findings, "\n".join(findings)
