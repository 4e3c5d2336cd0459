"""A termination message fits in 4096 bytes without losing a digest or a URI."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contract import report

URI = "s3://millrace/datasets/" + "n" * 60 + "/sha256-0123456789abcdef/"


def rejected(count: int, message: str) -> report.SnapshotReport:
    rules = tuple(report.FailedRule(f"rule-{index}", message, message) for index in range(count))
    return report.SnapshotReport(
        report.SnapshotOutcome.REJECTED, "RuleViolated", message, "sha256:" + "0" * 64, uri=URI, failed_rules=rules
    )


def test_a_short_report_is_written_in_full():
    assert report.termination_message(rejected(2, "why")) == rejected(2, "why").to_json()


@given(count=st.integers(0, 60), message=st.text(max_size=3000))
def test_a_long_report_is_shortened_to_fit(count, message):
    written = rejected(count, message)
    text = report.termination_message(written)
    assert len(text.encode()) <= 4096
    read = report.SnapshotReport.from_json(text)
    assert (read.outcome, read.reason, read.digest, read.uri) == (
        written.outcome,
        written.reason,
        written.digest,
        written.uri,
    )
    assert len(read.failed_rules) <= count


def test_sentences_shrink_before_findings_are_dropped():
    read = report.SnapshotReport.from_json(report.termination_message(rejected(10, "x" * 400)))
    assert len(read.failed_rules) == 10
    assert read.message.endswith("…")


def test_a_signature_is_never_cut_short():
    shape = tuple(range(20))
    signature = report.Signature(tuple(report.Tensor(f"t{n}", "FP32", shape) for n in range(25)), ())
    written = report.TrainingReport(report.TrainingOutcome.SUCCEEDED, message="m" * 3000, signature=signature)
    assert report.TrainingReport.from_json(report.termination_message(written)).signature == signature


def test_what_cannot_fit_is_refused_rather_than_cut():
    with pytest.raises(ValueError, match="needs 5"):
        report.termination_message(report.SnapshotReport(report.SnapshotOutcome.FROZEN, uri="u" * 5000))


def test_the_message_is_one_json_object():
    assert json.loads(report.termination_message(report.StageFailure("serve", "R", "m"))) == {
        "stage": "serve",
        "reason": "R",
        "message": "m",
    }
