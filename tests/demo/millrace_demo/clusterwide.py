"""What the chart makes outside its namespaces: the four kinds and the roles for people, and what is the release's own.

Of kinds and people's roles a cluster has one set for all releases. A release made here brings them where there are
none. Where somebody else has brought them it uses them as they are, provided that they do what this checkout's do.

Admission policies and the operator's right to look at them belong to the release, whose namespace is in their names;
they rule the namespaces that it watches and no others.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from . import compatibility
from .kubectl import Kubectl, Manifest
from .marker import LABEL, home, labelled, namespaces

RESOURCES = {
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings.admissionregistration.k8s.io",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies.admissionregistration.k8s.io",
    "ClusterRoleBinding": "clusterrolebindings.rbac.authorization.k8s.io",
    "ClusterRole": "clusterroles.rbac.authorization.k8s.io",
    "CustomResourceDefinition": "customresourcedefinitions.apiextensions.k8s.io",
}
"""Kind -> resource, in the order in which they are deleted."""
LEFT_OUT = {"crds.enabled": "false", "rbac.create": "false", "admission.otherNamespaces": "{*}"}
"""The chart's values by which a release brings no kinds and no roles, and says nothing of namespaces not its own."""
OPERATORS = "app.kubernetes.io/name=millrace,app.kubernetes.io/component=operator"

LOADED_WITHIN = timedelta(seconds=3)
"""What the operator allows API servers to take notice of a policy: `millrace.observe.policy` has the same."""
_NEVER = datetime.min.replace(tzinfo=UTC)
_POLICY = "millrace-model-approvals"
"""How the names of all policies begin that guard approvals, with a release's namespace or, of old, without."""
_NAME = "kubernetes.io/metadata.name"
_NAMESPACES = "jsonpath={range .items[*]}{.metadata.namespace} {end}"


def shared(manifests: Sequence[Manifest], namespace: str) -> list[Manifest]:
    """Those among the objects of a release in `namespace` of which a cluster has one set for all releases."""
    return [one for one in manifests if one["kind"] in RESOURCES and not _is_of(one, namespace)]


def is_releases_own(manifest: Manifest) -> bool:
    """Whether it belongs to the release that made it, and to no other."""
    return _is_of(manifest, _release(manifest)[1])


def _is_of(manifest: Manifest, namespace: str) -> bool:
    return bool(namespace) and str(manifest["metadata"]["name"]).endswith(f"-{namespace}")


def ruling(kubectl: Kubectl, name: str, removed: Collection[tuple[str, str]] = ()) -> Manifest | None:
    """A policy of somebody else's that rules the team's namespace of release `name`, were it there.

    Those that are `removed` before, by kind and name, count no more.
    """
    found = _items(kubectl.run("get", RESOURCES["ValidatingAdmissionPolicy"], "-o", "json"))
    labels = {**labelled({"metadata": {}}, name)["metadata"]["labels"], _NAME: name}
    found = [one for one in found if key(one) not in removed]
    others = [one for one in found if one["metadata"]["name"].startswith(_POLICY) and not _is_of(one, home(name))]
    return next((one for one in others if _selects(one["spec"]["matchConstraints"], labels)), None)


def _selects(constraints: Manifest, labels: Mapping[str, str]) -> bool:
    """Whether a namespace with these labels is one that the policy is about."""
    selector = constraints.get("namespaceSelector") or {}
    wanted = (selector.get("matchLabels") or {}).items()
    return labels.items() >= wanted and all(_holds(one, labels) for one in selector.get("matchExpressions") or ())


def _holds(expression: Manifest, labels: Mapping[str, str]) -> bool:
    """One expression of a label selector."""
    value = labels.get(expression["key"])
    match expression["operator"]:
        case "In":
            return value in expression["values"]
        case "NotIn":
            return value not in expression["values"]
        case "Exists":
            return value is not None
        case _:
            return value is None


def present(kubectl: Kubectl, wanted: Sequence[Manifest]) -> list[Manifest]:
    """Those of the same kinds and names that the cluster has."""
    names = [f"{RESOURCES[one['kind']]}/{one['metadata']['name']}" for one in wanted]
    return _items(kubectl.run("get", *names, "-o", "json", "--ignore-not-found"))


def is_settled(kubectl: Kubectl, namespace: str) -> bool:
    """Whether what is made now counts as checked by the policies of the release there: they have not changed lately."""
    kinds = f"{RESOURCES['ValidatingAdmissionPolicy']},{RESOURCES['ValidatingAdmissionPolicyBinding']}"
    found = _items(kubectl.run("get", kinds, "-o", "json", "--show-managed-fields"))
    changed = [time for one in found if _is_of(one, namespace) for time in _times(one["metadata"])]
    question = ("create", "configmap", "what-time-is-it", "--dry-run=server")
    now = kubectl.run(*question, "-o", "jsonpath={.metadata.creationTimestamp}")
    return datetime.fromisoformat(now) > max(changed, default=_NEVER) + LOADED_WITHIN


def _times(metadata: Manifest) -> list[datetime]:
    """When it was made or changed, but for its status."""
    noted = [one["time"] for one in metadata.get("managedFields") or () if not one.get("subresource")]
    return [datetime.fromisoformat(time) for time in (metadata["creationTimestamp"], *noted)]


def brought(kubectl: Kubectl, selector: str) -> list[Manifest]:
    """What was made here: marked as `selector` says, and still of the release that made it.

    An earlier version's release was in the team's namespace.
    """
    found = _items(kubectl.run("get", ",".join(RESOURCES.values()), "-l", selector, "-o", "json"))
    made_for = [one["metadata"]["labels"][LABEL] for one in found]
    return [
        one
        for one, name in zip(found, made_for, strict=True)
        if _release(one) in {(name, place) for place in namespaces(name)}
    ]


def users(kubectl: Kubectl, besides: Collection[str] = ()) -> list[str]:
    """Namespaces in which there is an operator or an object of one of the four kinds."""
    definitions = kubectl.run("get", RESOURCES["CustomResourceDefinition"], "-o", "name").split()
    kinds = [name.partition("/")[2] for name in definitions if name.endswith(".millrace.dev")]
    found = kubectl.run("get", "deployments.apps", "-A", "-l", OPERATORS, "-o", _NAMESPACES).split()
    if kinds:
        found += kubectl.run("get", ",".join(kinds), "-A", "-o", _NAMESPACES).split()
    return sorted(set(found) - set(besides))


def delete(kubectl: Kubectl, manifests: Sequence[Manifest]) -> None:
    """Delete them, policies before what they guard."""
    for kind, resource in RESOURCES.items():
        names = [one["metadata"]["name"] for one in manifests if one["kind"] == kind]
        if names:
            kubectl.run("delete", resource, *names, "--ignore-not-found", timeout=180)


def key(manifest: Manifest) -> tuple[str, str]:
    """Kind and name."""
    return str(manifest["kind"]), str(manifest["metadata"]["name"])


def owner(manifest: Manifest) -> str:
    """Whose it is, in words."""
    name, namespace = _release(manifest)
    return f"release {name} in namespace {namespace}" if name else "somebody who did not use Helm"


def unfit(wanted: Sequence[Manifest], there: Sequence[Manifest]) -> str:
    """The first reason why what is there cannot stand in for what is wanted, as a clause; empty when it can."""
    found = {key(one): one for one in there}
    for one in wanted:
        kind, name = key(one)
        if (kind, name) not in found:
            theirs = there[0]
            return (
                f"it has the {theirs['kind']} {theirs['metadata']['name']} of {owner(theirs)} but no {kind} {name}, "
                "and one made here would be everybody's"
            )
        path = compatibility.difference(one, found[kind, name])
        if path:
            return f"its {kind} {name}, of {owner(found[kind, name])}, is another version's: {path} differs"
    return ""


def _release(manifest: Manifest) -> tuple[str, str]:
    """Name and namespace of the Helm release that it belongs to; empty without one."""
    notes = manifest["metadata"].get("annotations") or {}
    return str(notes.get("meta.helm.sh/release-name", "")), str(notes.get("meta.helm.sh/release-namespace", ""))


def _items(text: str) -> list[Manifest]:
    found: list[Manifest] = json.loads(text)["items"] if text.strip() else []
    return found
