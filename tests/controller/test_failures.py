"""What a status says when the operator cannot go on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from millrace import errors
from millrace.api import resources
from millrace.api.dataset import Dataset
from millrace.api.dataset_status import DatasetStatus
from millrace.apply.failing import Failure, Part
from millrace.clients.store import Key
from millrace.controller import failures
from millrace.decide.plan import Plan
from millrace_kit.manifests import make_manifest

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def _dataset() -> dict[str, Any]:
    ready = {"type": "Ready", "status": "False", "reason": "R", "message": "m", "lastTransitionTime": "before"}
    moving = {"type": "Reconciling", "status": "True", "reason": "R", "message": "m", "lastTransitionTime": "before"}
    status = {"version": 3, "observedGeneration": 0, "conditions": [ready, moving]}
    return make_manifest(resources.DATASETS, "d", status=status)


def _reported(found: dict[str, Any], *failed: Failure, plan: Plan | None = None) -> tuple[Plan, dict[str, Any]]:
    plan = failures.reported(found, plan or Plan(), failed, NOW)
    return plan, {one["type"]: one for one in (plan.status or {})["conditions"]}


def _failure(error: errors.MillraceError) -> Failure:
    return Failure(Part.CHILD, Key(resources.JOBS, "default", "d-snapshot-1"), error)


def test_a_taken_name_stalls_the_object_and_says_where_to_look() -> None:
    conflict = errors.NameConflict("Job", "default", "d-snapshot-1", "nobody")
    plan, conditions = _reported(_dataset(), _failure(conflict))
    assert set(conditions) == {"Ready", "Stalled"}
    assert conditions["Ready"]["lastTransitionTime"] == "before"
    assert conditions["Stalled"]["lastTransitionTime"] == "2026-01-02T00:00:00Z"
    assert {one["reason"] for one in conditions.values()} == {"NameConflict"}
    assert conditions["Stalled"]["message"].endswith(" Next: kubectl -n default describe dataset.millrace.dev d")
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["message"]) == ("Stalled", conditions["Stalled"]["message"]), "`get`"
    assert [(one.type, one.reason) for one in plan.events] == [("Warning", "NameConflict")]


def test_a_refused_refresh_takes_no_version_away() -> None:
    """What can be used stays Ready; what is refused is told beside it, once."""
    ready = {"type": "Ready", "status": "True", "reason": "VersionAvailable", "message": "m", "lastTransitionTime": "t"}
    refused = _failure(errors.Forbidden('jobs.batch "d" is forbidden: exceeded quota: small'))
    decided = Plan(status={"version": 4, "phase": "Available", "conditions": [ready]})
    plan, conditions = _reported(_dataset(), refused, plan=decided)
    assert ((plan.status or {})["version"], (plan.status or {})["phase"]) == (4, "Available")
    assert conditions["Ready"]["status"] == "True"
    assert (conditions["Stalled"]["status"], conditions["Stalled"]["reason"]) == ("True", "Refused")
    assert "exceeded quota: small" in conditions["Stalled"]["message"]
    assert conditions["Stalled"]["message"].endswith(" Next: kubectl -n default describe resourcequotas,limitranges")
    again, _ = _reported(_dataset() | {"status": plan.status}, refused, plan=decided)
    assert (again.status, again.events) == (plan.status, ())


def test_failing_passes_keep_the_last_status_and_point_to_the_log() -> None:
    status = failures.internal_error(_dataset(), 5, "millrace-operator", "millrace", NOW)
    conditions = {one["type"]: one for one in status["conditions"]}
    assert (status["version"], status["observedGeneration"]) == (3, 1)
    assert conditions["Ready"]["reason"] == "R"
    assert conditions["Reconciling"]["reason"] == "InternalError"
    command = "kubectl -n millrace logs deployments.apps/millrace-operator --all-pods --tail=100"
    assert conditions["Reconciling"]["message"].endswith(f" Next: {command}")
    fresh = failures.internal_error(make_manifest(resources.DATASETS, "d"), 5, "millrace-operator", "millrace", NOW)
    assert (fresh["phase"], fresh["message"]) == ("Waiting", fresh["conditions"][0]["message"])


def _misread(manifest: dict[str, Any]) -> ValidationError:
    with pytest.raises(ValidationError) as raised:
        Dataset.model_validate(manifest)
    return raised.value


def test_a_spec_that_cannot_be_understood_stalls_and_names_the_field_and_the_command() -> None:
    found = _dataset()
    found["spec"] = {"source": {"storageUri": "s3://lake/x.csv"}, "format": "Avro", "split": {"seed": -1}}
    status = failures.invalid_spec(found, _misread(found), NOW)
    conditions = {one["type"]: one for one in status["conditions"]}
    assert set(conditions) == {"Ready", "Stalled"}
    assert {one["reason"] for one in conditions.values()} == {"InvalidSpec"}
    assert "spec.format: Input should be 'CSV' or 'Parquet'; spec.split.seed: " in conditions["Stalled"]["message"]
    assert conditions["Stalled"]["message"].endswith("kubectl -n default edit dataset.millrace.dev d")
    assert status["message"] == conditions["Stalled"]["message"]
    assert (status["version"], status["observedGeneration"]) == (3, 1)


def test_an_object_that_refers_to_one_that_cannot_be_understood_says_which_kind() -> None:
    run = make_manifest(resources.TRAINING_RUNS, "r")
    status = failures.invalid_spec(run, _misread(_dataset() | {"spec": {"format": "CSV"}}), NOW)
    assert "A Dataset that this object refers to cannot be understood" in status["message"]
    assert "spec.source: Field required" in status["message"]


def test_a_value_of_the_operators_own_that_cannot_be_is_not_blamed_on_the_user() -> None:
    with pytest.raises(ValidationError) as raised:
        DatasetStatus.model_validate({"observedGeneration": "many"})
    assert not failures.is_about_a_spec(raised.value)
    assert failures.is_about_a_spec(_misread(_dataset() | {"spec": {}}))


def test_a_refused_child_stalls_with_the_words_of_the_api_server_and_leaves_room_for_the_command() -> None:
    status = failures.refused(_dataset(), 'Job "d" is invalid: spec.template: ' + "x" * 2000, NOW)
    stalled = next(one for one in status["conditions"] if one["type"] == "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "Refused")
    assert 'Job "d" is invalid: spec.template' in stalled["message"]
    assert stalled["message"].endswith("kubectl -n default edit dataset.millrace.dev d")
    assert len(stalled["message"]) <= 1024


UNDECLARED = "failed to create typed patch object (d/d; {}): .status.x: field not declared in schema"


@pytest.mark.parametrize(
    "why",
    [
        UNDECLARED.format("millrace.dev/v1alpha1, Kind=Dataset"),
        'Model in version "v1alpha1" cannot be handled as a Model: strict decoding error: unknown field "spec.x"',
    ],
)
def test_definitions_older_than_the_operator_are_not_blamed_on_the_object(why: str) -> None:
    stalled = next(one for one in failures.refused(_dataset(), why, NOW)["conditions"] if one["type"] == "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "OlderDefinition")
    assert stalled["message"].endswith(" Next: kubectl get customresourcedefinitions.apiextensions.k8s.io -o name")


def test_a_field_that_the_cluster_itself_does_not_know_is_not_blamed_on_our_definitions() -> None:
    why = UNDECLARED.format("batch/v1, Kind=Job")
    assert "kubectl -n default edit" in failures.refused(_dataset(), why, NOW)["message"]
