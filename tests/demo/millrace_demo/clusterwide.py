"""What the chart makes outside its namespace: the four kinds, the admission policies and the roles for people.

A cluster has one set of them for all releases. A release made here brings them where there are none. Where somebody
else has brought them it uses them as they are, provided that they do what this checkout's do.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from . import compatibility
from .kubectl import Kubectl, Manifest
from .marker import LABEL

RESOURCES = {
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings.admissionregistration.k8s.io",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies.admissionregistration.k8s.io",
    "ClusterRole": "clusterroles.rbac.authorization.k8s.io",
    "CustomResourceDefinition": "customresourcedefinitions.apiextensions.k8s.io",
}
"""Kind -> resource, in the order in which they are deleted."""
LEFT_OUT = {"crds.enabled": "false", "admission.enabled": "false", "rbac.create": "false"}
"""The chart's values by which a release brings none of them."""
OPERATORS = "app.kubernetes.io/name=millrace,app.kubernetes.io/component=operator"

_NAMESPACES = "jsonpath={range .items[*]}{.metadata.namespace} {end}"


def of_chart(manifests: Sequence[Manifest]) -> list[Manifest]:
    """Those among the chart's objects that are cluster-wide."""
    return [manifest for manifest in manifests if manifest["kind"] in RESOURCES]


def present(kubectl: Kubectl, wanted: Sequence[Manifest]) -> list[Manifest]:
    """Those of the same kinds and names that the cluster has."""
    names = [f"{RESOURCES[one['kind']]}/{one['metadata']['name']}" for one in wanted]
    return _items(kubectl.run("get", *names, "-o", "json", "--ignore-not-found"))


def brought(kubectl: Kubectl, selector: str) -> list[Manifest]:
    """What was made here: marked as `selector` says, and still of the release that made it."""
    found = _items(kubectl.run("get", ",".join(RESOURCES.values()), "-l", selector, "-o", "json"))
    return [one for one in found if _release(one) == (one["metadata"]["labels"][LABEL],) * 2]


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
                "and one made here would apply to everybody's objects"
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
