from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import pytest

from millrace_killsweep import ending
from millrace_killsweep.ending import Ending

REVISION = "22222222"
MADE = Counter({"a-11111111": 1, "a-drifted-0a0a0a0a-22222222": 1, "a-snapshot-33333333": 1})


def _run(name: str, uid: str, model: str, **labels: str) -> dict[str, Any]:
    conditions = [{"type": "Complete", "status": "True"}]
    return {
        "metadata": {"name": name, "uid": uid, "labels": {f"millrace.dev/{k}": v for k, v in labels.items()}},
        "status": {"modelRef": {"name": model}, "conditions": conditions},
    }


def _model(version: int, uid: str) -> dict[str, Any]:
    artifact = {"storageUri": f"s3://b/models/n/a/{uid}/model.onnx", "digest": f"sha256:{version}"}
    conditions = [{"type": "Approved", "status": "True"}]
    return {"metadata": {"name": f"a-{version}"}, "spec": {"artifact": artifact}, "status": {"conditions": conditions}}


def _server(name: str, revision: str) -> dict[str, Any]:
    labels = {"millrace.dev/component": "server", "millrace.dev/revision": revision}
    return {"metadata": {"name": name, "labels": labels}, "status": {}}


def _good() -> Ending:
    versions = [{"version": n, "rows": n * 10, "digest": f"sha256:d{n}"} for n in (1, 2)]
    history = [
        {"model": "a-2", "digest": "sha256:2", "outcome": "Serving"},
        {"model": "a-1", "digest": "sha256:1", "outcome": "Replaced"},
    ]
    stable = {"model": "a-2", "digest": "sha256:2", "weight": 100, "revision": REVISION}
    return Ending(
        dataset={"metadata": {"name": "a"}, "status": {"versions": versions}},
        runs=[_run("a", "u1", "a-1"), _run("a-drifted-0a0a0a0a", "u2", "a-2", trigger="drifted")],
        models=[_model(1, "u1"), _model(2, "u2")],
        deployment={"metadata": {"name": "a"}, "status": {"stable": stable, "history": history}},
        jobs=[{"metadata": {"name": name, "labels": {}}, "status": {}} for name in MADE],
        pods=[_server(f"a-{REVISION}-x", REVISION)],
        workloads=[_server(f"a-{REVISION}", REVISION)],
        services=[_server(f"a-{REVISION}", REVISION)],
    )


def test_a_story_that_ended_well_has_no_findings():
    assert ending.findings(_good(), MADE, "a") == []
    assert ending.differences(_good(), _good()) == []


@pytest.mark.parametrize(
    "change,finding",
    [
        (lambda end: end.runs.append(_run("a-drifted-x", "u3", "a-2", trigger="drifted")), "2 clones among 3 runs"),
        (lambda end: end.models.append(_model(3, "u2")), "the models are"),
        (lambda end: end.models[1]["spec"]["artifact"].update(storageUri="s3://b/u1/model.onnx"), "the file of a-2"),
        (lambda end: end.deployment["status"]["stable"].update(weight=50), "stable is a-2 at 50 %"),
        (lambda end: end.deployment["status"]["history"][1].update(digest="sha256:2"), "the status says that a-1"),
        (lambda end: end.deployment["status"].update(canary={"model": "a-2"}), "canary is left over"),
        (lambda end: end.services.append(_server("a-11111111", "11111111")), "services of revisions"),
        (lambda end: end.pods.append(_server("a-11111111-x", "11111111")), "pods of revisions"),
        (lambda end: end.jobs[0]["status"].update(failed=1), "Job a-11111111 had 1 failed pods"),
    ],
)
def test_each_flaw_is_a_finding(change: Any, finding: str):
    end = copy.deepcopy(_good())
    change(end)
    assert any(text.startswith(finding) for text in ending.findings(end, MADE, "a"))


def test_a_job_made_twice_is_a_finding():
    made = MADE + Counter({"a-11111111": 1})
    assert ending.findings(_good(), made, "a") == ["Job a-11111111 was made 2 times"]


def test_a_second_training_job_of_a_run_is_a_finding():
    found = ending.findings(_good(), MADE + Counter({"a-99999999": 1}), "a")
    assert len(found) == 1
    assert found[0].startswith("3 training Jobs were made for 2 runs")


def test_endings_differ_by_digests_and_not_by_hashes_of_uids():
    other = copy.deepcopy(_good())
    other.runs[1]["metadata"]["name"] = "a-drifted-ffffffff"
    assert ending.differences(_good(), other) == []
    other.dataset["status"]["versions"][0]["digest"] = "sha256:other"
    assert [text.partition(":")[0] for text in ending.differences(_good(), other)] == ["dataset versions"]
