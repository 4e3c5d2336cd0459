"""The timeline tells causes before what they caused, and numbers only beside those they can be held against."""

from __future__ import annotations

from typing import Any

import pytest

from millrace_demo import timeline
from millrace_demo.kubectl import Kubectl

Manifest = dict[str, Any]


def condition(kind: str) -> Manifest:
    return {"type": kind, "status": "True"}


def thing(kind: str, name: str, labels: dict[str, str] | None = None, **status: Any) -> Manifest:
    metadata = {"name": name, "labels": labels or {}}
    return {"kind": kind, "metadata": metadata, "spec": {}, "status": status}


def metrics(value: str) -> list[Manifest]:
    return [{"name": "roc_auc", "value": value, "split": "test"}]


DATASET = thing("Dataset", "visits", versions=[{"version": 2, "rows": 20190}])
JOB = thing("Job", "visits-drifted-1-0", {"millrace.dev/component": "training"})
LABELS = {"millrace.dev/trigger": "drifted", "millrace.dev/deployment": "visits"}
RUN = thing("TrainingRun", "visits-drifted-1", LABELS, stage="Training")
DRIFTED = thing(
    "Deployment", "visits",
    conditions=[condition("DriftDetected")], monitoring={"drift": {"worstFeature": "disea", "score": "0.664"}},
)  # fmt: skip


def words(*items: Manifest) -> list[str]:
    return [word for word, _ in timeline.noticed(items)]


def test_what_is_seen_in_one_look_is_told_in_the_order_of_causes_whatever_kubectl_lists_first() -> None:
    told = ["frozen", "drift", "started", "fetching", "training"]
    assert words(JOB, RUN, DRIFTED, DATASET) == told
    assert words(DATASET, DRIFTED, RUN, JOB) == told


def test_a_run_that_fetches_is_not_said_to_train() -> None:
    assert words({**RUN, "status": {"stage": "Fetching"}}, JOB) == ["started", "fetching"]


def test_another_job_tells_nothing() -> None:
    assert words(thing("Job", "visits-snapshot-1", {"millrace.dev/component": "snapshot"})) == []


def test_what_a_trigger_started_is_told_with_the_trigger_and_its_deployment() -> None:
    assert timeline.noticed([RUN])[0] == (
        "started",
        "TrainingRun visits-drifted-1, by trigger drifted of Deployment visits",
    )


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        ({}, "(roc_auc 0.701)"),
        (
            {"resolved": {"champion": {"name": "visits-1"}}, "championMetrics": metrics("0.603727")},
            "(roc_auc 0.701; visits-1 on the same rows: roc_auc 0.604)",
        ),
    ],
)
def test_a_models_numbers_stand_beside_the_champions_on_the_same_rows(beside: Manifest, said: str) -> None:
    status = {"conditions": [condition("Complete")], "modelRef": {"name": "visits-2"}, "metrics": metrics("0.700985")}
    told = dict(timeline.noticed([thing("TrainingRun", "visits", **status, **beside)]))
    assert told["succeeded"] == f"TrainingRun visits made Model visits-2 {said}"


def test_a_model_is_approved_after_its_run_succeeded() -> None:
    model = thing("Model", "visits-2", conditions=[condition("Approved")])
    model["spec"] = {"provenance": {"trainingRunRef": {"name": "visits"}}}
    assert words(model, thing("TrainingRun", "visits")) == []
    run = thing("TrainingRun", "visits", conditions=[condition("Complete")], modelRef={"name": "visits-2"})
    assert words(model, run) == ["training", "succeeded", "approved"]


def test_a_promotion_names_what_was_replaced() -> None:
    status = {
        "stable": {"model": "visits-2", "weight": 100},
        "history": [{"model": "visits-2", "outcome": "Serving"}, {"model": "visits-1", "outcome": "Replaced"}],
    }
    told = timeline.noticed([thing("Deployment", "visits", **status)])
    assert told == [("promoted", "visits-2 serves all traffic in place of visits-1")]


def test_every_word_of_the_story_has_its_place() -> None:
    assert [word for word in timeline.BY_CAUSE if word in timeline.STORY] != []
    assert set(timeline.STORY) <= set(timeline.BY_CAUSE)
    assert timeline.Timeline(Kubectl.__new__(Kubectl)).words() == []
