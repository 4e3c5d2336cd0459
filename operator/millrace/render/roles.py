"""Who may do what: roles for people, aggregated into the cluster's own, and the rules of the operator.

Nobody but the operator may write a status, and the operator may not approve. Who may state what, a role cannot say:
that is for the admission policies, which know the operator by its user name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from millrace.api import keys, resources
from millrace.render import admission

Manifest = dict[str, Any]

_API = "rbac.authorization.k8s.io"
_READ = ["get", "list", "watch"]
_DELETE = ["delete", "deletecollection"]
_OWN = [resource.plural for resource in resources.OWN]


def cluster_roles() -> list[Manifest]:
    """`millrace-view`, `millrace-edit`, `millrace-admin` and `millrace-approver`.

    The first three are aggregated into the cluster's view, edit and admin. The approver's is not: an admin binds it to
    the people who may say yes. Cluster-wide, with fixed names, like the admission policies.
    """
    models, deployments = resources.MODELS.plural, resources.DEPLOYMENTS.plural
    without_models = [plural for plural in _OWN if plural != models]
    return [
        _cluster_role("view", [_rule(_OWN, _READ)], aggregate_to=("view", "edit", "admin")),
        _cluster_role(
            "edit",
            [
                _rule(without_models, [*_READ, "create", "update", "patch", *_DELETE]),
                _rule([models], [*_READ, "create", "update", "patch"]),
                _rule([f"{deployments}/scale"], ["get", "update", "patch"]),
            ],
            aggregate_to=("edit", "admin"),
        ),
        # A Model is what was approved, served and audited: to delete one is not an everyday edit.
        _cluster_role("admin", [_rule([models], _DELETE)], aggregate_to=("admin",)),
        _cluster_role(
            "approver",
            [
                _rule(_OWN, _READ),
                _rule([models], ["update", "patch", "approve"]),
                _rule([deployments], ["update", "patch", "approve", "abort", "retry", "acknowledge"]),
            ],
        ),
    ]


def operator_rules() -> list[Manifest]:
    """Rules of the operator in a namespace it watches. No Secrets, no `approve`, no verb on anything cluster-wide."""
    created = [resources.TRAINING_RUNS.plural, resources.MODELS.plural]
    return [
        _rule(_OWN, _READ),
        # Deleted by retention, one by one, where a Dataset asks for it; a policy says which Models it may delete.
        _rule(created, ["create", "delete"]),
        _rule([f"{plural}/status" for plural in _OWN], ["get", "update", "patch"]),
        # Where OwnerReferencesPermissionEnforcement is on, blockOwnerDeletion needs this of the owner.
        _rule([f"{plural}/finalizers" for plural in _OWN], ["update"]),
        *(
            _rule([child.plural], [*_READ, "create", "patch", "delete"], group=child.group)
            for child in resources.CHILDREN
            if child is not resources.PODS and child not in resources.RECORDS
        ),
        *(_rule([record.plural], [*_READ, "create"], group=record.group) for record in resources.RECORDS),
        # A policy limits this patch to one annotation of router pods, so that a kubelet refreshes a ConfigMap at once.
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


def witness_rules(release: str = "") -> list[Manifest]:
    """The one right of the operator on what is cluster-wide: to see whether the policies over approvals are still those
    under which an approval was written.
    """
    names = [admission.of_release(name, release) for name in (admission.APPROVALS, admission.RUNS)]
    return [_rule([kind.plural], ["get"], group=kind.group, names=names) for kind in resources.WITNESSED]


def namespace_rules() -> list[Manifest]:
    """What an operator needs on top that watches namespaces by label."""
    return [_rule([resources.NAMESPACES.plural], _READ, group=resources.NAMESPACES.group)]


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


def operator_grants(name: str, namespace: str, watched: Sequence[str], *, release: str = "") -> list[Manifest]:
    """All that an operator needs which lives in `namespace`; without `watched` namespaces, in every one.

    What is cluster-wide carries the namespace in its name: another release has its own.
    """
    whom = {"account": name, "account_namespace": namespace}
    everywhere, witness = f"{name}-{namespace}", f"{name}-witness-{namespace}"
    granted = [
        cluster_role(witness, witness_rules(release)),
        cluster_role_binding(witness, **whom),
        role(f"{name}-lease", namespace, lease_rules(name)),
        role_binding(f"{name}-lease", namespace, **whom),
    ]
    for one in watched:
        granted += [role(name, one, operator_rules()), role_binding(name, one, **whom)]
    if not watched:
        rules = [*operator_rules(), *namespace_rules()]
        granted += [cluster_role(everywhere, rules), cluster_role_binding(everywhere, **whom)]
    return granted


def cluster_role(name: str, rules: list[Manifest]) -> Manifest:
    """A ClusterRole of that name."""
    return {"apiVersion": f"{_API}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}


def cluster_role_binding(name: str, *, account: str, account_namespace: str) -> Manifest:
    """Binds the ClusterRole of that name to a ServiceAccount, in every namespace."""
    return {
        "apiVersion": f"{_API}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": _API, "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": account_namespace}],
    }


def _cluster_role(name: str, rules: list[Manifest], aggregate_to: tuple[str, ...] = ()) -> Manifest:
    made = cluster_role(f"{keys.FIELD_MANAGER}-{name}", rules)
    if aggregate_to:
        made["metadata"]["labels"] = {f"{_API}/aggregate-to-{target}": "true" for target in aggregate_to}
    return made


def _rule(plurals: list[str], verbs: list[str], *, group: str = keys.GROUP, names: list[str] | None = None) -> Manifest:
    rule: Manifest = {"apiGroups": [group], "resources": plurals, "verbs": verbs}
    if names:
        rule["resourceNames"] = names
    return rule
