"""What only the operator may write, where people's objects may be, and how little the operator's own rights are worth.

RBAC cannot tell a router's pod from any other, nor limit `create` to a name: these policies do.
"""

from __future__ import annotations

from typing import Final

from millrace.api import keys, resources
from millrace.render.admission.policy import UNWATCHED, Manifest, policy, rule, validation
from millrace.render.admission.trust import Trust

STATUSES: Final = f"{keys.FIELD_MANAGER}-statuses"
HOME: Final = f"{keys.FIELD_MANAGER}-operators-own-namespace"
OPERATOR_PODS: Final = f"{keys.FIELD_MANAGER}-operator-pods"
STORE_SECRETS: Final = f"{keys.FIELD_MANAGER}-store-secrets"

RECORDS: Final = f"{keys.FIELD_MANAGER}-quarantine-records"

STORE_SECRET: Final = f"{keys.FIELD_MANAGER}-store"
_OWN: Final = tuple(resource.plural for resource in resources.OWN)


def statuses(trusted: Trust) -> Manifest:
    """A status is what the operator says. Approvals are counted, and promotions made, from what it says there."""
    return policy(
        STATUSES,
        rule(tuple(f"{plural}/status" for plural in _OWN), ("UPDATE",)),
        where=trusted.ruled,
        validations=[
            validation(
                trusted.operates,
                says="'the status of a ' + request.kind.kind + ' is written by the operator alone: change its spec'",
            )
        ],
    )


def home(trusted: Trust) -> Manifest:
    """No object of ours where the operator itself is: whoever may edit there can act as it.

    But for the operator's own dry runs: where it watches all namespaces, it asks there whether the other policies hold.
    """
    return policy(
        HOME,
        rule(_OWN, ("CREATE",)),
        where={},
        validations=[
            validation(
                f"!({trusted.is_home}) || {trusted.operates}",
                says="'the namespace ' + request.namespace + ' is the operator\\'s own, it watches ' + "
                f"{trusted.watched} + ': use one of these'",
            )
        ],
    )


def unwatched(trusted: Trust) -> Manifest:
    """Says of an object that nobody will ever look at it."""
    return policy(
        UNWATCHED,
        rule(_OWN, ("CREATE",)),
        where=trusted.elsewhere,
        validations=[
            validation(
                "false",
                says="'Millrace does not watch the namespace ' + request.namespace + ', it watches ' + "
                f"{trusted.watched} + ': use one of these, or add this one to the chart\\'s watchNamespaces'",
            )
        ],
    )


def operator_pods(trusted: Trust) -> Manifest:
    """Of a pod the operator changes one annotation, and only of a router: so the kubelet mounts its new ConfigMap."""
    return policy(
        OPERATOR_PODS,
        rule((resources.PODS.plural,), ("UPDATE",), group=resources.PODS.group),
        where={},
        only_if=trusted.operates,
        variables={
            "labels": "has(object.metadata.labels) ? object.metadata.labels : {}",
            "now": "has(object.metadata.annotations) ? object.metadata.annotations : {}",
            "old": "has(oldObject.metadata.annotations) ? oldObject.metadata.annotations : {}",
        },
        validations=[
            validation(
                f"'{keys.COMPONENT}' in variables.labels && variables.labels['{keys.COMPONENT}'] == 'router' && "
                f"object.spec == oldObject.spec && {_same('labels')} && {_same('ownerReferences')} && "
                f"{_same('finalizers')} && variables.now.all(k, k == '{keys.CONFIG_HASH}' || "
                "(k in variables.old && variables.old[k] == variables.now[k])) && "
                f"variables.old.all(k, k == '{keys.CONFIG_HASH}' || k in variables.now)",
                says=f"'the operator may change the annotation {keys.CONFIG_HASH} of a router pod, and no other pod'",
            )
        ],
    )


def _same(field: str) -> str:
    new, old = f"object.metadata.{field}", f"oldObject.metadata.{field}"
    return f"has({new}) == has({old}) && (!has({new}) || {new} == {old})"


def store_secrets(trusted: Trust) -> Manifest:
    """The embedded store's account makes one Secret a namespace, and no token of a service account."""
    return policy(
        STORE_SECRETS,
        rule(("secrets",), ("CREATE",), group=""),
        where={},
        only_if=trusted.stores,
        validations=[
            validation(
                f"object.metadata.name == '{STORE_SECRET}' && object.type == 'Opaque'",
                says=f"'the store may create the Secret {STORE_SECRET} and no other'",
            )
        ],
    )


def quarantine_records(trusted: Trust) -> Manifest:
    """What is in quarantine, and what was let go, the operator writes. Whoever could write, hang up or delete such a
    record could bring back what failed without the verb `approve`: any wildcard role, and so whoever pushes to Git.
    """
    about = resources.CONTROLLER_REVISIONS
    changed, removed = "request.operation == 'UPDATE'", "request.operation == 'DELETE'"
    going = "has(namespaceObject.metadata.deletionTimestamp)"
    return policy(
        RECORDS,
        rule((about.plural,), ("CREATE", "UPDATE", "DELETE"), group=about.group),
        where=trusted.ruled,
        only_if=f"(object != null && {_records('object')}) || (oldObject != null && {_records('oldObject')})",
        variables=trusted.person,
        validations=[
            validation(
                f"{changed} || {removed} || {trusted.operates}",
                says="'a record of a quarantine is written by the operator alone: use spec.actions.unquarantine'",
            ),
            validation(
                f"!({changed}) || ({_same('labels')} && {_same('ownerReferences')})",
                says="'a record of a quarantine is not changed, nor hung on anything that may go'",
            ),
            validation(
                f"!({removed}) || {going} || variables.person",
                says="'a record of a quarantine is deleted by a person, not by ' + request.userInfo.username",
            ),
        ],
    )


def _records(what: str) -> str:
    """CEL: whether the operator would take it for one of its records."""
    labels = f"{what}.metadata.labels"
    managed = f"'{keys.MANAGED_BY}' in {labels} && {labels}['{keys.MANAGED_BY}'] == '{keys.MANAGED_BY_VALUE}'"
    return f"has({labels}) && ('{keys.DIGEST}' in {labels} || ({managed}))"
