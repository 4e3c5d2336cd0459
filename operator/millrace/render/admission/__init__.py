"""Admission policies: the API server itself checks who may approve, apply for others, weaken, abort, read and report.

No webhook. ValidatingAdmissionPolicies are cluster-wide: those of a release carry its namespace in their names, and
rule the namespaces that its operator watches.

    people       models, runs, datasets and deployments: what a person, or whoever applies for one, may write
    operator     what only the operator may write, where, and how little of what is not ours

CEL here sees objects after defaulting, so `approvalPolicy` and its fields are always there.
"""

from __future__ import annotations

from millrace.render.admission.operator import (
    HOME,
    OPERATOR_PODS,
    RECORDS,
    STATUSES,
    STORE_SECRET,
    STORE_SECRETS,
    home,
    operator_pods,
    quarantine_records,
    statuses,
    store_secrets,
    unwatched,
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
from millrace.render.admission.policy import PROBE, RULES, UNWATCHED, Manifest, named, of_release
from millrace.render.admission.trust import Trust, account, trust

__all__ = [
    "ACTIONS",
    "APPROVALS",
    "DELETIONS",
    "HOME",
    "OPERATOR_PODS",
    "PROBE",
    "RECORDS",
    "RULES",
    "RUNS",
    "SECRETS",
    "STATUSES",
    "STORE_SECRET",
    "STORE_SECRETS",
    "UNWATCHED",
    "Trust",
    "account",
    "manifests",
    "of_release",
    "trust",
]


def manifests(trusted: Trust, release: str = "") -> list[Manifest]:
    """All policies, each followed by its binding; `release` is the namespace of the release that they belong to."""
    policies = [
        model_approvals(trusted),
        model_deletions(trusted),
        training_runs(trusted),
        dataset_secrets(trusted),
        deployment_actions(trusted),
        statuses(trusted),
        quarantine_records(trusted),
        home(trusted),
        unwatched(trusted),
        operator_pods(trusted),
        store_secrets(trusted),
    ]
    return named(policies, release)
