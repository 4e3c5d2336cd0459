"""Admission policies: the API server itself checks who may approve, claim, weaken, abort and read. No webhook needed.

ValidatingAdmissionPolicies are cluster-wide and have fixed names: two releases in one cluster state the same rules, so
one of them owns the objects (`millrace-...`) and the other one uses them. The policies concern no other API group.

CEL here sees objects after defaulting, so `approvalPolicy` and its fields are always there.
"""

from __future__ import annotations

from typing import Any

from millrace.api import keys
from millrace.api.model import POSITIONS

from . import unwatched

Manifest = dict[str, Any]

APPROVALS = f"{keys.FIELD_MANAGER}-model-approvals"
RUNS = f"{keys.FIELD_MANAGER}-training-runs"
SECRETS = f"{keys.FIELD_MANAGER}-dataset-secrets"
ACTIONS = f"{keys.FIELD_MANAGER}-deployment-actions"

PROBE = f"{keys.FIELD_MANAGER}-policy-probe"
"""A TrainingRun of this name is always refused: asking for one shows whether the policy over runs is in force."""

_CLAIMS = f"['{keys.TRAINING_RUN}', '{keys.TRAINING_RUN_UID}']"


def manifests() -> list[Manifest]:
    """All policies, each followed by its binding."""
    return [
        manifest
        for policy in (model_approvals(), training_runs(), dataset_secrets(), deployment_actions())
        for manifest in (policy, _binding(policy["metadata"]["name"]))
    ] + unwatched.manifests()


def model_approvals() -> Manifest:
    """Who may create a Model, decide about it, or change what it takes.

    * A decision needs the verb `approve` and carries the caller's own user name; the author's Approve is refused.
    * A policy weaker than the default, or a changed one, needs `approve`; a model's author may not change it at all
      while `distinctFromAuthor` holds.
    * Only `register` (the operator) may claim a training run or another author.
    """
    return _policy(
        APPROVALS,
        "models",
        ("CREATE", "UPDATE"),
        variables={
            "created": "oldObject == null",
            "user": "request.userInfo.username",
            "old": "oldObject != null && has(oldObject.spec.approvals) ? oldObject.spec.approvals : []",
            "now": "has(object.spec.approvals) ? object.spec.approvals : []",
            # By position, as the append-only rule of the schema: a repeated old entry is a new decision.
            "added": f"{POSITIONS}.filter(i, i >= variables.old.size() && i < variables.now.size())"
            ".map(i, variables.now[i])",
            "author": "has(object.spec.provenance) && has(object.spec.provenance.author) ? "
            "object.spec.provenance.author : ''",
            "policy": "(oldObject == null ? object : oldObject).spec.approvalPolicy",
            "models": "authorizer.group('millrace.dev').resource('models').namespace(object.metadata.namespace)",
            "may": "variables.models.name(object.metadata.name).check('approve').allowed()",
            "registers": "variables.models.check('register').allowed()",
            "labels": "has(object.metadata.labels) ? object.metadata.labels : {}",
            "before": "oldObject != null && has(oldObject.metadata.labels) ? oldObject.metadata.labels : {}",
        },
        validations=[
            _validation(
                "variables.added.size() == 0 || variables.may",
                says="variables.user + ' lacks the verb approve on models.millrace.dev/' + object.metadata.name + "
                "'; ask for the cluster role millrace-approver'",
            ),
            _validation(
                "variables.added.all(a, a.user == variables.user)",
                says="'an approval must carry your own user name: set user: ' + variables.user",
            ),
            _validation(
                "!variables.policy.distinctFromAuthor || variables.author != variables.user || "
                "!variables.added.exists(a, a.decision == 'Approve')",
                says="variables.user + ' is the author (spec.provenance.author): with "
                "approvalPolicy.distinctFromAuthor another person must approve'",
            ),
            _validation(
                "variables.created ? ("
                "(object.spec.approvalPolicy.required > 0 && object.spec.approvalPolicy.distinctFromAuthor) || "
                "variables.may || variables.registers) : "
                "(object.spec.approvalPolicy == oldObject.spec.approvalPolicy || variables.may)",
                says="'changing approvalPolicy, or creating a model with a weaker one than required: 1, "
                "distinctFromAuthor: true, needs the verb approve on models.millrace.dev'",
            ),
            _validation(
                "variables.created || object.spec.approvalPolicy == oldObject.spec.approvalPolicy || "
                "!variables.policy.distinctFromAuthor || variables.author != variables.user",
                says="variables.user + ' is the author (spec.provenance.author): with "
                "approvalPolicy.distinctFromAuthor another person must change approvalPolicy'",
            ),
            _validation(
                "!variables.created || !has(object.spec.provenance) || "
                "!has(object.spec.provenance.trainingRunRef) || variables.registers",
                says="'claiming a training run needs the verb register on models.millrace.dev, which the operator has: "
                "import without provenance.trainingRunRef'",
            ),
            _validation(
                "!variables.created || variables.author == variables.user || variables.registers",
                says="'spec.provenance.author must be your own user name: set author: ' + variables.user",
            ),
            _validation(
                f"variables.registers || {_CLAIMS}.all(l, (l in variables.labels) == (l in variables.before) && "
                "(!(l in variables.labels) || variables.labels[l] == variables.before[l]))",
                says=f"'leave the labels {keys.TRAINING_RUN} and {keys.TRAINING_RUN_UID} to the operator'",
            ),
        ],
        # '' and not null: an audit annotation may not mix types.
        audit={
            "decision": "variables.added.size() == 0 ? '' : variables.added[0].decision + ' ' + "
            "object.spec.artifact.digest"
        },
    )


def training_runs() -> Manifest:
    """Who may create a TrainingRun: in one's own name, and with automatic approval only who may approve models."""
    return _policy(
        RUNS,
        "trainingruns",
        ("CREATE",),
        variables={
            "user": "request.userInfo.username",
            "policy": "object.spec.output.approvalPolicy",
            "group": "authorizer.group('millrace.dev')",
            "registers": "variables.group.resource('trainingruns').namespace(object.metadata.namespace)"
            ".check('register').allowed()",
            "may": "variables.group.resource('models').namespace(object.metadata.namespace).check('approve').allowed()",
        },
        validations=[
            _validation(
                f"object.metadata.name != '{PROBE}'",
                says=f"'{PROBE} is reserved: the operator asks with it whether this policy is in force'",
            ),
            _validation(
                "object.spec.author == variables.user || variables.registers",
                says="'spec.author must be your own user name: set author: ' + variables.user",
            ),
            _validation(
                "(variables.policy.required > 0 && variables.policy.distinctFromAuthor) || "
                "variables.may || variables.registers",
                says="'spec.output.approvalPolicy weaker than required: 1, distinctFromAuthor: true needs the verb "
                "approve on models.millrace.dev: leave it out, or ask for the cluster role millrace-approver'",
            ),
        ],
    )


def dataset_secrets() -> Manifest:
    """Whose credentials a Dataset may read its source with: only those that its writer may read."""
    return _policy(
        SECRETS,
        "datasets",
        ("CREATE", "UPDATE"),
        validations=[
            _validation(
                "!has(object.spec.source.secretRef) || "
                # Another place read with the old credentials is a new use of them.
                "(oldObject != null && oldObject.spec.source == object.spec.source) || "
                "authorizer.group('').resource('secrets').namespace(object.metadata.namespace)"
                ".name(object.spec.source.secretRef.name).check('get').allowed()",
                says="'spec.source.secretRef: ' + request.userInfo.username + ' may not get the Secret ' + "
                "object.spec.source.secretRef.name",
            ),
        ],
    )


def deployment_actions() -> Manifest:
    """Who may abort, retry and unquarantine. Taking an abort back is as strong as asking for one."""
    return _policy(
        ACTIONS,
        "deployments",
        ("CREATE", "UPDATE"),
        variables={
            "old": "oldObject != null && has(oldObject.spec.actions) ? oldObject.spec.actions : {}",
            "now": "has(object.spec.actions) ? object.spec.actions : {}",
            "deployment": "authorizer.group('millrace.dev').resource('deployments')"
            ".namespace(object.metadata.namespace).name(object.metadata.name)",
        },
        validations=[
            _action("abort", "abort", removal="false"),
            _action("retry", "retry", removal="true"),
            _action("unquarantine", "approve", removal="true"),
        ],
    )


def _action(field: str, verb: str, removal: str) -> Manifest:
    """Setting or changing the action needs the verb; removing it does too unless `removal` is 'true'."""
    return _validation(
        f"(has(variables.now.{field}) ? has(variables.old.{field}) && variables.old.{field} == variables.now.{field} : "
        f"!has(variables.old.{field}) || {removal}) || variables.deployment.check('{verb}').allowed()",
        says=f"'spec.actions.{field}: ' + request.userInfo.username + ' lacks the verb {verb} on "
        "deployments.millrace.dev/' + object.metadata.name + '; ask for the cluster role millrace-approver'",
    )


def _validation(expression: str, *, says: str) -> Manifest:
    return {"expression": expression, "messageExpression": says, "reason": "Forbidden"}


def _policy(
    name: str,
    plural: str,
    operations: tuple[str, ...],
    *,
    validations: list[Manifest],
    variables: dict[str, str] | None = None,
    audit: dict[str, str] | None = None,
) -> Manifest:
    spec: Manifest = {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "resourceRules": [
                {
                    "apiGroups": [keys.GROUP],
                    "apiVersions": ["*"],
                    "operations": list(operations),
                    "resources": [plural],
                }
            ]
        },
    }
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


def _binding(policy: str) -> Manifest:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": policy},
        "spec": {"policyName": policy, "validationActions": ["Deny", "Audit"]},
    }
