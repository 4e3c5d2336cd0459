"""The training Job: three stages, one pod, and a trainer without credentials."""

from __future__ import annotations

from typing import Any

from millrace.api.training_run import Resolved, TrainingRun
from millrace.contract.environment import TrainingTask
from millrace.contract.task import ANNOTATION, DIRECTORY, unpack
from millrace.render import training_job
from millrace_kit.simulation import PLATFORM

A = f"sha256:{'a' * 64}"
RESOLVED = {"dataset": {"name": "churn", "version": 3, "digest": A}, "datasetUri": "s3://millrace/d/"}
CHAMPION = {"name": "churn-4", "digest": A, "storageUri": "s3://millrace/4.onnx"}


def make_run() -> TrainingRun:
    spec = {
        "author": "ada",
        "datasetRef": {"name": "churn"},
        "trainer": {
            "builtin": {"estimator": "sklearn.linear_model.LogisticRegression", "task": "Classification"},
            "resourcesPerNode": {"limits": {"memory": "1Gi"}},
        },
        "parameters": {"C": "0.5"},
        "seed": 7,
        "evaluation": {"metrics": ["roc_auc"]},
        "output": {"modelName": "churn"},
        "backoffLimit": 1,
        "activeDeadlineSeconds": 60,
    }
    return TrainingRun.model_validate({"metadata": {"name": "gb", "namespace": "ml", "uid": "u-2"}, "spec": spec})


def render(champion: dict[str, str] | None = None) -> dict[str, Any]:
    resolved = Resolved.model_validate({**RESOLVED, "champion": champion})
    return training_job.render(make_run(), resolved, "gb-1", PLATFORM)


def stages(job: dict[str, Any]) -> list[dict[str, Any]]:
    pod = job["spec"]["template"]["spec"]
    return [*pod["initContainers"], *pod["containers"]]


def test_the_stages_follow_each_other_on_one_volume() -> None:
    assert [stage["name"] for stage in stages(render())] == ["fetch", "train", "evaluate"]
    assert [stage["command"][-1] for stage in stages(render())] == ["fetch", "train", "evaluate"]
    assert all({"name": "work", "mountPath": "/work"} in stage["volumeMounts"] for stage in stages(render()))


def test_the_trainer_never_holds_a_key_to_the_store() -> None:
    fetch, train, evaluate = stages(render())
    assert "envFrom" not in train
    assert "store" not in str({**train, "env": []})
    assert fetch["envFrom"] == evaluate["envFrom"] == [{"secretRef": {"name": "store"}}]


def test_only_the_trainer_is_held_to_the_runs_resources() -> None:
    fetch, train, evaluate = stages(render())
    assert train["resources"] == {"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi"}}
    for own in (fetch, evaluate):
        assert own["resources"] == {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "4Gi"}}


def test_every_stage_is_told_what_was_resolved() -> None:
    job = render(CHAMPION)
    task = TrainingTask.from_json(unpack(job["spec"]["template"]["metadata"]["annotations"][ANNOTATION]))
    for stage in stages(job):
        assert {"name": "task", "mountPath": DIRECTORY} in stage["volumeMounts"]
        assert (task.run, task.run_uid, task.spec.seed) == ("gb", "u-2", 7)
        assert (task.dataset.version, task.dataset.uri) == (3, "s3://millrace/d/")
        assert task.champion is not None
        assert task.champion.storage_uri == "s3://millrace/4.onnx"
        assert task.spec.output.model_name == "churn"
        assert task.spec.parameters == {"C": "0.5"}


def test_a_verdict_is_not_tried_again_and_neither_a_disruption_nor_a_silent_store_costs_an_attempt() -> None:
    spec = render()["spec"]
    verdict, disruption, store = spec["podFailurePolicy"]["rules"]
    assert (verdict["action"], verdict["onExitCodes"]["values"]) == ("FailJob", [2])
    assert (disruption["action"], store["action"]) == ("Ignore", "Ignore")
    assert store["onExitCodes"]["values"] == [3]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (1, 60)
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


def test_the_job_and_its_pods_lead_back_to_the_run() -> None:
    job = render()
    assert job["metadata"]["ownerReferences"][0]["kind"] == "TrainingRun"
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert labels["millrace.dev/training-run"] == "gb"
    assert labels["app.kubernetes.io/managed-by"] == "millrace"


def levels(platform: Any) -> list[str | None]:
    resolved = Resolved.model_validate({**RESOLVED, "champion": None})
    job = training_job.render(make_run(), resolved, "gb-1", platform)
    told = [{item["name"]: item["value"] for item in stage["env"]} for stage in stages(job)]
    return [variables.get("MILLRACE_LOG_LEVEL") for variables in told]


def test_the_stages_say_as_much_as_the_operator_does() -> None:
    assert levels(PLATFORM.model_copy(update={"log_level": "DEBUG"})) == ["DEBUG"] * 3
    assert levels(PLATFORM) == ["INFO"] * 3


def test_the_trainer_has_a_tmp_of_its_own_and_nothing_is_imported_from_there() -> None:
    fetch, train, evaluate = stages(render())
    places = [{each["mountPath"]: each["name"] for each in stage["volumeMounts"]} for stage in (fetch, train, evaluate)]
    assert places[0]["/tmp"] == places[2]["/tmp"] != places[1]["/tmp"]
    volumes = render()["spec"]["template"]["spec"]["volumes"]
    assert {each["name"] for each in volumes} == {name for place in places for name in place.values()}
    assert all({"name": "PYTHONSAFEPATH", "value": "1"} in stage["env"] for stage in (fetch, train, evaluate))
