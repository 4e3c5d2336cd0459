"""Role by verb: what RBAC alone allows to whom, as the API server itself answers. Policies refuse more: `make attack`.

v view   e edit   a admin   p approver   g a GitOps controller with edit   o operator   s stranger

The first three are the cluster's own roles, into which the chart's are aggregated.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from apiserver_kit import planes
from apiserver_kit.operators import until

from millrace.api.resources import ResourceType
from millrace.clients import credentials
from millrace.clients.kube import Kube
from millrace_cluster.control_plane import ControlPlane

REVIEWS = ResourceType(
    group="authorization.k8s.io", version="v1", plural="subjectaccessreviews", kind="SubjectAccessReview"
)
NAMESPACE, HOME = "ml", "millrace-system"
USERS = {
    "v": "vera",
    "e": "ed",
    "a": "adam",
    "p": "paula",
    "g": planes.FLUX,
    "o": "operator",
    "s": "stranger",
}
BOUND = {"vera": "view", "ed": "edit", "adam": "admin", "paula": "millrace-approver", planes.FLUX: "edit"}

EVERYBODY = "veapgo"
MATRIX: dict[str, dict[str, str]] = {
    "datasets.millrace.dev": {
        "get": EVERYBODY, "list": EVERYBODY, "watch": EVERYBODY, "create": "eag", "update": "eag", "patch": "eag",
        "delete": "eag", "deletecollection": "eag",
    },
    "trainingruns.millrace.dev": {
        "get": EVERYBODY, "list": EVERYBODY, "watch": EVERYBODY, "create": "eago", "update": "eag", "patch": "eag",
        "delete": "eago", "deletecollection": "eag", "approve": "", "register": "",
    },
    "models.millrace.dev": {
        "get": EVERYBODY, "list": EVERYBODY, "watch": EVERYBODY, "create": "eago", "update": "eapg", "patch": "eapg",
        "delete": "ao", "deletecollection": "a", "approve": "p", "register": "",
    },
    "deployments.millrace.dev": {
        "get": EVERYBODY, "list": EVERYBODY, "watch": EVERYBODY, "create": "eag", "update": "eapg", "patch": "eapg",
        "delete": "eag", "deletecollection": "eag", "approve": "p", "abort": "p", "retry": "p", "acknowledge": "p",
        "promote": "",
    },
    "deployments.millrace.dev/scale": {"get": "eag", "update": "eag", "patch": "eag"},
    **{
        f"{plural}.millrace.dev/status": {"get": "o", "update": "o", "patch": "o", "create": "", "delete": ""}
        for plural in ("datasets", "trainingruns", "models", "deployments")
    },
    **{
        f"{plural}.millrace.dev/finalizers": {"update": "o"}
        for plural in ("datasets", "trainingruns", "models", "deployments")
    },
    "controllerrevisions.apps": {
        "get": "veago", "create": "o", "update": "", "patch": "", "delete": "", "deletecollection": "",
    },
    # Of what is not ours: what the operator may, and what it must not.
    "jobs.batch": {"create": "eago", "patch": "eago", "delete": "eago", "update": "eag", "deletecollection": "eag"},
    "pods": {"get": "veago", "patch": "eago", "create": "eag", "update": "eag", "delete": "eag"},
    "pods/exec": {"create": "eag"},
    "pods/status": {"update": "", "patch": ""},
    "secrets": {"get": "eag", "list": "eag", "watch": "eag", "create": "eag", "patch": "eag", "delete": "eag"},
    "serviceaccounts": {"get": "veag", "create": "eag", "impersonate": "eag"},
    "serviceaccounts/token": {"create": "eag"},
    "roles.rbac.authorization.k8s.io": {"create": "a", "bind": "", "escalate": ""},
    "rolebindings.rbac.authorization.k8s.io": {"create": "a"},
    "leases.coordination.k8s.io": {"create": "eag", "update": "eag"},
    "events": {"create": "eago", "patch": "eago"},
}  # fmt: skip
ELSEWHERE: dict[str, dict[str, str]] = {
    # In the operator's own namespace, and about what is cluster-wide, nobody has anything but the operator its lease.
    "models.millrace.dev": {"get": "", "create": "", "patch": ""},
    "models.millrace.dev/status": {"patch": ""},
    "pods": {"get": "", "create": "", "patch": ""},
    "secrets": {"get": "", "list": "", "create": ""},
    "serviceaccounts": {"impersonate": ""},
    "serviceaccounts/token": {"create": ""},
    "leases.coordination.k8s.io": {"create": "o", "delete": ""},
    "leases.coordination.k8s.io:millrace-operator": {"get": "o", "update": "o"},
    "leases.coordination.k8s.io:other": {"get": "", "update": ""},
}
CLUSTER: dict[str, dict[str, str]] = {
    "namespaces": {"list": "", "watch": "", "create": "", "patch": ""},
    "nodes": {"get": "", "list": ""},
    "customresourcedefinitions.apiextensions.k8s.io": {"get": "", "patch": ""},
    **{
        f"{plural}.admissionregistration.k8s.io{name}": {"get": who, "update": "", "patch": "", "delete": ""}
        for plural in ("validatingadmissionpolicies", "validatingadmissionpolicybindings")
        for name, who in ((":millrace-model-approvals", "o"), (":millrace-training-runs", "o"), (":other", ""))
    },
    "clusterroles.rbac.authorization.k8s.io": {"create": "", "bind": "", "escalate": ""},
    "users": {"impersonate": ""},
}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """With Kubernetes' own controllers: they put the chart's roles into the cluster's."""
    with planes.with_controllers(tmp_path_factory.mktemp("roles"), NAMESPACE, BOUND, home=HOME) as started:
        yield started


async def allowed(kube: Kube, user: str, verb: str, what: str, namespace: str) -> bool:
    what, _, name = what.partition(":")
    what, _, subresource = what.partition("/")
    plural, _, group = what.partition(".")
    asked = {"namespace": namespace, "verb": verb, "group": group, "resource": plural, "name": name}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": {**asked, "subresource": subresource}},
    }
    answer = await kube.create(REVIEWS, {**review, "metadata": {}})
    return bool(answer["status"]["allowed"])


async def answers(kube: Kube, what: str, verb: str, namespace: str) -> str:
    return "".join([key for key, user in USERS.items() if await allowed(kube, user, verb, what, namespace)])


@pytest.fixture
async def kube(plane: ControlPlane) -> AsyncIterator[Kube]:
    """An administrator's client, once the cluster's own roles have taken up the chart's."""
    async with Kube(credentials.from_kubeconfig(plane.kubeconfig_for("admin"))) as client:
        await until(lambda: allowed(client, "adam", "delete", "models.millrace.dev", NAMESPACE), "roles are aggregated")
        yield client


@pytest.mark.parametrize(
    ("table", "namespace"), [(MATRIX, NAMESPACE), (ELSEWHERE, HOME), (CLUSTER, "")], ids=["team", "home", "cluster"]
)
async def test_everybody_may_what_the_matrix_says_and_nothing_else(
    table: dict[str, dict[str, str]], namespace: str, kube: Kube
) -> None:
    found: dict[str, Any] = {}
    for what, verbs in table.items():
        for verb, who in verbs.items():
            seen = await answers(kube, what, verb, namespace)
            if sorted(seen) != sorted(who):
                found[f"{verb} {what}"] = f"{seen or 'nobody'}, not {who or 'nobody'}"
    assert found == {}


async def test_can_i_says_so_to_the_person_who_asks(plane: ControlPlane, kube: Kube) -> None:
    def can_i(user: str, *question: str) -> str:
        return plane.kubectl("auth", "can-i", *question, "-n", NAMESPACE, user=user, check=False).stdout.strip()

    assert can_i("paula", "approve", "models.millrace.dev") == "yes"
    assert can_i("ed", "approve", "models.millrace.dev") == "no"
    assert can_i("ed", "delete", "models.millrace.dev") == "no"
    assert can_i("operator", "approve", "models.millrace.dev") == "no"
    assert can_i("operator", "get", "secrets") == "no"
