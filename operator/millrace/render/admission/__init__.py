"""Admission policies: the API server itself checks who may approve, apply for others, weaken, abort, read and report.

No webhook. ValidatingAdmissionPolicies are cluster-wide and have fixed names: two releases in one cluster state the
same rules, so one of them owns the objects (`millrace-...`) and is told the other's user names and namespaces.

    people       models, runs, datasets and deployments: what a person, or whoever applies for one, may write
    operator     what only the operator may write, where, and how little of what is not ours

CEL here sees objects after defaulting, so `approvalPolicy` and its fields are always there.
"""

from __future__ import annotations

from millrace.render.admission.operator import (
    NAMESPACES,
    OPERATOR_PODS,
    STATUSES,
    STORE_SECRET,
    STORE_SECRETS,
    namespaces,
    operator_pods,
    statuses,
    store_secrets,
)
from millrace.render.admission.people import (
    ACTIONS,
    APPROVALS,
    DELETIONS,
    RUNS,
    SECRETS,
    dataset_secrets,
    deployment_actions,
    model_approvals,
    model_deletions,
    training_runs,
)
from millrace.render.admission.policy import PROBE, RULES, Manifest, binding
from millrace.render.admission.trust import Trust, account, trust

__all__ = [
    "ACTIONS",
    "APPROVALS",
    "DELETIONS",
    "NAMESPACES",
    "OPERATOR_PODS",
    "PROBE",
    "RULES",
    "RUNS",
    "SECRETS",
    "STATUSES",
    "STORE_SECRET",
    "STORE_SECRETS",
    "Trust",
    "account",
    "manifests",
    "trust",
]


def manifests(trusted: Trust) -> list[Manifest]:
    """All policies, each followed by its binding."""
    policies = (
        model_approvals(trusted),
        model_deletions(),
        training_runs(trusted),
        dataset_secrets(),
        deployment_actions(trusted),
        statuses(trusted),
        namespaces(trusted),
        operator_pods(trusted),
        store_secrets(trusted),
    )
    return [manifest for policy in policies for manifest in (policy, binding(policy["metadata"]["name"]))]
