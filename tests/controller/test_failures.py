"""What a status says when the operator cannot go on."""

from __future__ import annotations

from datetime import UTC, datetime

from millrace.api import resources
from millrace.controller import failures
from millrace.testing import make_manifest

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def _dataset() -> dict[str, object]:
    ready = {"type": "Ready", "status": "False", "reason": "R", "message": "m", "lastTransitionTime": "before"}
    moving = {"type": "Reconciling", "status": "True", "reason": "R", "message": "m", "lastTransitionTime": "before"}
    status = {"version": 3, "observedGeneration": 0, "conditions": [ready, moving]}
    return make_manifest(resources.DATASETS, "d", status=status)


def test_a_taken_name_stalls_the_object_and_says_where_to_look() -> None:
    status = failures.name_conflict(_dataset(), "Job default/d-snapshot-1 exists and belongs to nobody", NOW)
    conditions = {one["type"]: one for one in status["conditions"]}
    assert set(conditions) == {"Ready", "Stalled"}
    assert conditions["Ready"]["lastTransitionTime"] == "before"
    assert conditions["Stalled"]["lastTransitionTime"] == "2026-01-02T00:00:00Z"
    assert {one["reason"] for one in conditions.values()} == {"NameConflict"}
    assert "kubectl -n default get dataset.millrace.dev" in conditions["Stalled"]["message"]


def test_failing_passes_keep_the_last_status_and_point_to_the_log() -> None:
    status = failures.internal_error(_dataset(), 5, "kubectl logs x", NOW)
    conditions = {one["type"]: one for one in status["conditions"]}
    assert (status["version"], status["observedGeneration"]) == (3, 1)
    assert conditions["Ready"]["reason"] == "R"
    assert conditions["Reconciling"]["reason"] == "InternalError"
    assert conditions["Reconciling"]["message"].endswith("Read why: kubectl logs x")
