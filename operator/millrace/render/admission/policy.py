"""The parts that every policy is made of."""

from __future__ import annotations

from typing import Any, Final

from millrace.api import keys
from millrace.render.admission.trust import Selector

Manifest = dict[str, Any]

PROBE: Final = f"{keys.FIELD_MANAGER}-policy-probe"
"""A TrainingRun, or a version of a model, of this name is always refused: asking for one shows which rules hold."""

RULES: Final = 3
"""Counts the changes of what the policies ask for. An operator wants at least the rules that it was made with."""

UNWATCHED: Final = f"{keys.FIELD_MANAGER}-unwatched"
WARNING: Final = frozenset({UNWATCHED})
"""Policies that warn: another release may well watch where this one does not."""

PROBED: Final = f"'{PROBE} is reserved: the operator asks with it whether these rules are in force (rules {RULES})'"


def validation(expression: str, *, says: str) -> Manifest:
    """What must hold; `says` is CEL of the message."""
    return {"expression": expression, "messageExpression": says, "reason": "Forbidden"}


def rule(resources: tuple[str, ...], operations: tuple[str, ...], group: str = keys.GROUP) -> Manifest:
    """What a policy is about."""
    return {"apiGroups": [group], "apiVersions": ["*"], "operations": list(operations), "resources": list(resources)}


def policy(
    name: str,
    about: Manifest,
    *,
    where: Selector,
    validations: list[Manifest],
    variables: dict[str, str] | None = None,
    audit: dict[str, str] | None = None,
    only_if: str = "",
) -> Manifest:
    """A policy over the namespaces that `where` selects. `only_if` is CEL: other requests never meet it."""
    spec: Manifest = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [about], "namespaceSelector": where},
    }
    if only_if:
        spec["matchConditions"] = [{"name": "who", "expression": only_if}]
    if variables:
        spec["variables"] = [{"name": key, "expression": expression} for key, expression in variables.items()]
    spec["validations"] = validations
    if audit:
        spec["auditAnnotations"] = [{"key": key, "valueExpression": value} for key, value in audit.items()]
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": spec,
    }


def named(policies: list[Manifest], release: str) -> list[Manifest]:
    """The policies and their bindings under the names that those of one release have."""
    found = []
    for one in policies:
        made = {**one, "metadata": {**one["metadata"], "name": of_release(one["metadata"]["name"], release)}}
        found += [made, binding(made["metadata"]["name"], warns=one["metadata"]["name"] in WARNING)]
    return found


def of_release(name: str, release: str) -> str:
    """The name of a policy of the release that is in that namespace."""
    return f"{name}-{release}" if release else name


def binding(name: str, *, warns: bool = False) -> Manifest:
    """Puts the policy of that name in force, or lets it warn."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Warn"] if warns else ["Deny", "Audit"]},
    }
