"""Who may do what: roles for people, aggregated into the cluster's own, and the rules of the operator.

Nobody but the operator may write a status, and the operator may not approve.
"""

from __future__ import annotations

from typing import Any

from millrace.api import keys, resources

Manifest = dict[str, Any]

_API = "rbac.authorization.k8s.io"
_READ = ["get", "list", "watch"]
_OWN = [resource.plural for resource in resources.OWN]


def cluster_roles() -> list[Manifest]:
    """`millrace-view`, `millrace-edit` and `millrace-approver`.

    View and edit are aggregated into the cluster's view, edit and admin. The approver's is not: an admin binds it to
    the people who may say yes. Cluster-wide, with fixed names, like the admission policies.
    """
    return [
        _cluster_role("view", [_rule(_OWN, _READ)], aggregate_to=("view", "edit", "admin")),
        _cluster_role(
            "edit",
            [
                _rule(_OWN, [*_READ, "create", "update", "patch", "delete", "deletecollection"]),
                _rule([f"{resources.DEPLOYMENTS.plural}/scale"], ["get", "update", "patch"]),
            ],
            aggregate_to=("edit", "admin"),
        ),
        _cluster_role(
            "approver",
            [
                _rule(_OWN, _READ),
                _rule([resources.MODELS.plural], ["update", "patch", "approve"]),
                _rule([resources.DEPLOYMENTS.plural], ["update", "patch", "approve", "abort", "retry"]),
            ],
        ),
    ]


def operator_rules() -> list[Manifest]:
    """Rules of the operator in a namespace it watches. No Secrets, no `approve`, no verb on anything cluster-wide."""
    created = [resources.TRAINING_RUNS.plural, resources.MODELS.plural]
    return [
        _rule(_OWN, _READ),
        _rule(created, ["create", "register"]),
        _rule([f"{plural}/status" for plural in _OWN], ["get", "update", "patch"]),
        # Where OwnerReferencesPermissionEnforcement is on, blockOwnerDeletion needs this of the owner.
        _rule([f"{plural}/finalizers" for plural in _OWN], ["update"]),
        *(
            _rule([child.plural], [*_READ, "create", "patch", "delete"], group=child.group)
            for child in resources.CHILDREN
            if child is not resources.PODS and child not in resources.RECORDS
        ),
        *(_rule([record.plural], [*_READ, "create"], group=record.group) for record in resources.RECORDS),
        # Patched only to touch an annotation, so that a kubelet refreshes a mounted ConfigMap at once.
        _rule([resources.PODS.plural], [*_READ, "patch"], group=resources.PODS.group),
        # Listed to say why a Job has no pod: nothing else does.
        _rule([resources.EVENTS.plural], ["list", "create", "patch"], group=resources.EVENTS.group),
    ]


def lease_rules(name: str = "millrace-operator") -> list[Manifest]:
    """Rules of the operator in its own namespace, for the election. `create` cannot be limited to a name."""
    return [
        _rule([resources.LEASES.plural], ["create"], group=resources.LEASES.group),
        _rule([resources.LEASES.plural], ["get", "update"], group=resources.LEASES.group, names=[name]),
    ]


def role(name: str, namespace: str, rules: list[Manifest]) -> Manifest:
    """A namespaced Role."""
    return {
        "apiVersion": f"{_API}/v1",
        "kind": "Role",
        "metadata": {"name": name, "namespace": namespace},
        "rules": rules,
    }


def role_binding(name: str, namespace: str, *, account: str, account_namespace: str) -> Manifest:
    """Binds the Role of that name to a ServiceAccount."""
    return {
        "apiVersion": f"{_API}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": _API, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": account_namespace}],
    }


def _cluster_role(name: str, rules: list[Manifest], aggregate_to: tuple[str, ...] = ()) -> Manifest:
    metadata: Manifest = {"name": f"{keys.FIELD_MANAGER}-{name}"}
    if aggregate_to:
        metadata["labels"] = {f"{_API}/aggregate-to-{target}": "true" for target in aggregate_to}
    return {"apiVersion": f"{_API}/v1", "kind": "ClusterRole", "metadata": metadata, "rules": rules}


def _rule(plurals: list[str], verbs: list[str], *, group: str = keys.GROUP, names: list[str] | None = None) -> Manifest:
    rule: Manifest = {"apiGroups": [group], "resources": plurals, "verbs": verbs}
    if names:
        rule["resourceNames"] = names
    return rule
