"""Records survive the way through a pod's environment and termination message, in both directions of an upgrade."""

from __future__ import annotations

import json

import pytest

from millrace.contract import dataset, environment, golden, profile, report, training
from millrace.contract.reasons import Reason
from millrace.contract.record import MalformedRecord

EXAMPLES = [
    report.SnapshotReport(
        report.SnapshotOutcome.REJECTED,
        reason=str(Reason.RULE_VIOLATED),
        failed_rules=(report.FailedRule("rows", "3", "too few"),),
        splits=report.Splits(1, 2, 3),
    ),
    report.TrainingReport(
        report.TrainingOutcome.SUCCEEDED,
        artifact=report.Artifact("s3://m/model.onnx", "sha256:00", 7),
        signature=report.Signature((report.Tensor("numeric", "FP32", (-1, 3)),), ()),
        metrics=(report.Measurement("auc", "0.9"),),
        opset=17,
    ),
    report.TrainingReport(report.TrainingOutcome.FAILED, reason=str(Reason.NOT_ONNX)),
    report.StageFailure("serve", "DigestMismatch", "no"),
    environment.SnapshotTask(
        "ml",
        "churn",
        "s3://millrace",
        dataset.DatasetSpec(dataset.Source("s3://lake/a.csv"), dataset.Format.CSV),
        environment.PreviousSnapshot("s3://p", "sha256:1", "sha256:2"),
    ),
    environment.TrainingTask(
        *("ml", "run", "uid"),
        environment.DatasetVersion("churn", 2, "sha256:1", "s3://d"),
        training.TrainingSpec(
            training.Trainer(training.Builtin("sklearn.svm.SVC", training.TaskKind.CLASSIFICATION)),
            training.Output("churn"),
            {"n": "1"},
            7,
        ),
        "s3://millrace",
        environment.Champion("churn-1", "s3://m", "sha256:3"),
    ),
    golden.GoldenSet({"inputs": []}, {"outputs": []}, 1e-3),
    profile.Profile(
        3,
        (profile.FeatureHistogram(name="a", input="numeric", kind="numeric", edges=(0.5,), counts=(1, 2, 0)),),
        (profile.OutputHistogram(name="label", kind="categorical", labels=("0",), counts=(3, 0, 0)),),
    ),
]


@pytest.mark.parametrize("record", EXAMPLES, ids=lambda record: type(record).__name__)
def test_a_record_is_read_back_as_it_was_written(record):
    assert type(record).from_json(record.to_json()) == record


@pytest.mark.parametrize("record", EXAMPLES, ids=lambda record: type(record).__name__)
def test_a_record_of_a_newer_version_is_read_without_what_is_new(record):
    data = json.loads(record.to_json()) | {"addedLater": {"x": 1}}
    assert type(record).from_dict(data) == record


def test_keys_are_camel_case_and_what_is_none_is_left_out():
    data = json.loads(EXAMPLES[2].to_json())
    assert {"goldenSetUri", "championMetrics"} <= set(data)
    assert "artifact" not in data


def test_a_snapshot_task_reads_like_the_dataset():
    task = json.loads(EXAMPLES[4].to_json())
    assert task["format"] == "CSV"
    assert task["previous"]["sourceDigest"] == "sha256:2"
    assert list(task) == [
        *("source", "format", "csv", "schema", "validation", "split"),
        *("namespace", "name", "storeUri", "previous"),
    ]


@pytest.mark.parametrize(
    "kind,data,words",
    [
        (report.StageFailure, {"stage": "serve", "reason": "x"}, "message: required, but absent"),
        (report.StageFailure, {"stage": 1, "reason": "x", "message": ""}, "stage: expected str, got int"),
        (report.StageFailure, [], "expected an object, got list"),
        (report.SnapshotReport, {"outcome": "Melted"}, "outcome: 'Melted' is not one of Frozen"),
        (report.SnapshotReport, {"outcome": "Frozen", "rows": True}, "rows: expected int, got bool"),
        (report.SnapshotReport, {"outcome": "Frozen", "failedRules": {}}, "failedRules: expected a list"),
        (report.SnapshotReport, {"outcome": "Frozen", "failedRules": [{}]}, r"failedRules\[0\].name: required"),
        (report.SnapshotReport, {"outcome": "Frozen", "splits": None}, "splits: expected an object, got null"),
        (golden.GoldenSet, {"request": [], "response": {}}, "request: expected an object, got list"),
        (profile.Profile, {"rows": 1, "features": [{}]}, r"features\[0\].name: required"),
    ],
)
def test_what_is_malformed_is_named_by_its_path(kind, data, words):
    with pytest.raises(MalformedRecord, match=words):
        kind.from_dict(data)


@pytest.mark.parametrize(
    "text", ["", "{", b"\xff", "NaN x", "[" * 100_000, '{"stage": "\\ud800"}', '{"\\udfff": 1}', b'"\xed\xa0\x80"']
)
def test_what_is_not_json_is_malformed(text):
    with pytest.raises(MalformedRecord, match="not JSON"):
        report.StageFailure.from_json(text)


def test_whole_numbers_are_read_where_decimals_are_expected():
    assert golden.GoldenSet.from_dict({"request": {}, "response": {}, "tolerance": 1}).tolerance == 1.0


def test_values_that_are_not_finite_are_never_written():
    with pytest.raises(ValueError, match="JSON"):
        golden.GoldenSet({"a": float("nan")}, {}).to_json()
