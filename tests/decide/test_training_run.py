"""A TrainingRun's life without a cluster: waiting, pinned, running, judged, registered, or failed with a name."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.api import conditions
from millrace.api.dataset import Dataset
from millrace.api.training_run import TrainingRun
from millrace.contract import report as reports
from millrace.contract.report import Measurement, StageFailure, TrainingOutcome, TrainingReport
from millrace.decide import training_run as decisions
from millrace.decide.job import Container, Job, Pod
from millrace.decide.plan import Plan
from millrace.decide.training_run import ModelView, Observation
from millrace.render.pod import Platform

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
PLATFORM = Platform(
    trainer_image="trainer:1",
    server_image="server:1",
    router_image="router:1",
    store_uri="s3://millrace",
    store_secret="store",
)
A, B, C = (f"sha256:{letter * 64}" for letter in "abc")
VERSION = {
    "version": 3,
    "digest": A,
    "uri": "s3://millrace/d/",
    "rows": 9,
    "bytes": 9,
    "createdTime": "2026-11-21T07:00:00Z",
}
CHAMPION = ModelView(
    name="churn-4", model_name="churn", version=4, digest=B, storage_uri="s3://millrace/4.onnx", aliases=("champion",)
)


def make_run(*, gates: list[dict[str, Any]] | None = None, name: str = "churn-gb", **status: object) -> TrainingRun:
    spec = {
        "author": "ada",
        "datasetRef": {"name": "churn"},
        "trainer": {"builtin": {"estimator": "sklearn.linear_model.LogisticRegression", "task": "Classification"}},
        "evaluation": {"metrics": ["roc_auc"], "gates": gates or []},
        "output": {"modelName": "churn", "approvalPolicy": {"required": 0}},
        "activeDeadlineSeconds": 600,
    }
    metadata = {"name": name, "namespace": "ml", "uid": "run-uid", "generation": 1}
    return TrainingRun.model_validate({"kind": "TrainingRun", "metadata": metadata, "spec": spec, "status": status})


def make_dataset(current: dict[str, Any] | None = VERSION, message: str = "") -> Dataset:
    spec = {"source": {"storageUri": "s3://lake/churn.csv"}, "format": "CSV"}
    status = {"current": current, "message": message}
    return Dataset.model_validate({"metadata": {"name": "churn", "namespace": "ml"}, "spec": spec, "status": status})


def world(run: TrainingRun, **more: Any) -> Observation:
    return Observation.model_validate({"now": NOW, "run": run, "platform": PLATFORM, **more})


def after(seen: Observation, **more: Any) -> Observation:
    """The world after the plan was carried out, changed as said."""
    plan = decisions.decide(seen)
    run = seen.run
    if plan.status is not None:
        run = TrainingRun.model_validate(run.model_dump(by_alias=True) | {"status": plan.status})
    return seen.model_copy(update={"run": run, **more})


def resolved(**more: Any) -> Observation:
    gates = more.pop("gates", None)
    return after(world(make_run(gates=gates), dataset=make_dataset(), models=more.pop("models", (CHAMPION,))), **more)


def pod(
    *,
    fetch: Any = 0,
    train: Any = None,
    evaluate: Any = None,
    message: str = "",
    reason: str = "",
    phase: str = "Running",
) -> Pod:
    """Exit codes of ended containers; None waits, `...` runs. The message belongs to the last that ended."""
    codes = {"fetch": fetch, "train": train, "evaluate": evaluate}
    ended = [name for name, code in codes.items() if isinstance(code, int)]
    containers = [
        Container(
            name=name,
            state="Terminated" if isinstance(code, int) else "Running" if code is ... else "Waiting",
            exit_code=code if isinstance(code, int) else None,
            message=message if ended and name == ended[-1] else "",
            reason=reason if ended and name == ended[-1] else "",
        )
        for name, code in codes.items()
    ]
    return Pod(name="p", phase=phase, containers=tuple(containers))


def make_job(seen: Observation, *pods: Pod, **more: Any) -> Job:
    return Job.model_validate({"name": seen.run.status.job_name, "uid": "job-uid", "pods": pods, **more})


def succeeded(seen: Observation, message: str) -> Job:
    return make_job(
        seen, pod(fetch=0, train=0, evaluate=0, message=message, phase="Succeeded"), state="Succeeded", finished=NOW
    )


def failed(seen: Observation, *pods: Pod, **more: Any) -> Job:
    return make_job(
        seen, *pods, **{"state": "Failed", "reason": "BackoffLimitExceeded", "failed": 3, "finished": NOW, **more}
    )


def measured(auc: str = "0.7", champion: str | None = "0.68", digest: str = C) -> str:
    report = TrainingReport(
        TrainingOutcome.SUCCEEDED,
        artifact=reports.Artifact("s3://millrace/models/ml/churn/run-uid/model.onnx", digest, 1234),
        signature=reports.Signature(
            inputs=(reports.Tensor("numeric", "FP32", (-1, 4)),), outputs=(reports.Tensor("label", "INT64", (-1,)),)
        ),
        golden_set_uri="s3://millrace/golden.json",
        reference_profile_uri="s3://millrace/profile.json",
        metrics=(Measurement("roc_auc", auc), Measurement("no_such_metric", "1"), Measurement("accuracy", "nan")),
        champion_metrics=(Measurement("roc_auc", champion),) if champion else (),
    )
    return report.to_json()


def truth(seen: Observation, kind: str) -> tuple[str, str]:
    found = conditions.find(seen.run.status.conditions, kind)
    assert found is not None, kind
    return found.status, found.reason


def said(seen: Observation) -> str:
    return str(seen.run.status.message)


def test_a_run_without_its_dataset_waits_and_says_for_what() -> None:
    seen = after(world(make_run()))
    assert truth(seen, "Reconciling") == ("True", "DatasetNotFound")
    assert truth(seen, "Stalled")[0] == "False"
    assert "Next: kubectl -n ml get mds churn" in said(seen)


def test_a_run_waits_for_the_first_version_and_passes_on_what_the_dataset_says() -> None:
    seen = after(world(make_run(), dataset=make_dataset(None, "no object at the source")))
    assert truth(seen, "Reconciling") == ("True", "DatasetNotReady")
    assert "no object at the source" in said(seen)


def test_what_a_run_depends_on_is_written_down_before_there_is_a_job() -> None:
    plan = decisions.decide(world(make_run(), dataset=make_dataset(), models=(CHAMPION,)))
    assert plan.children == ()
    assert plan.status is not None
    assert plan.status["resolved"]["dataset"] == {"name": "churn", "version": 3, "digest": A}
    assert plan.status["resolved"]["champion"]["name"] == "churn-4"
    assert plan.wake_after is not None


def test_the_job_is_made_of_what_was_written_down_and_not_of_what_is_there_now() -> None:
    seen = resolved(dataset=make_dataset(VERSION | {"version": 4, "digest": B})).model_copy(update={"models": ()})
    (job,) = decisions.decide(seen).children
    env = job["spec"]["template"]["spec"]["containers"][0]["env"]
    spec = json.loads(next(entry["value"] for entry in env if entry["name"] == "MILLRACE_SPEC"))
    assert spec["dataset"]["version"] == 3
    assert spec["champion"]["digest"] == B
    assert job["metadata"]["name"] == seen.run.status.job_name


def test_making_the_job_writes_no_status() -> None:
    seen = resolved()
    assert decisions.decide(seen).status == seen.run.status.wire()


@pytest.mark.parametrize(
    "models, champion",
    [
        ((), None),
        ((CHAMPION.model_copy(update={"aliases": ()}),), None),
        ((CHAMPION.model_copy(update={"model_name": "other"}),), None),
        ((CHAMPION.model_copy(update={"digest": "?"}),), None),
        ((CHAMPION, CHAMPION.model_copy(update={"name": "churn-10", "version": 10})), "churn-10"),
    ],
    ids=["none", "not-serving", "another-model", "without-digest", "two-serve"],
)
def test_the_champion_is_the_newest_version_that_serves(models: tuple[ModelView, ...], champion: str | None) -> None:
    found = resolved(models=models).run.status.resolved
    assert found is not None
    assert (found.champion.name if found.champion is not None else None) == champion


@pytest.mark.parametrize(
    "at, stage",
    [
        (pod(fetch=...), "Fetching"),
        (pod(fetch=0, train=...), "Training"),
        (pod(fetch=0, train=0, evaluate=...), "Evaluating"),
        (Pod(name="p", phase="Pending"), "Fetching"),
    ],
)
def test_the_stage_is_that_of_the_live_pod(at: Pod, stage: str) -> None:
    seen = resolved()
    seen = after(seen.model_copy(update={"job": make_job(seen, at)}))
    assert seen.run.status.stage == stage
    assert truth(seen, "Reconciling") == ("True", stage)


def test_a_second_attempt_is_counted_and_starts_over() -> None:
    seen = resolved()
    dead = pod(fetch=0, train=1, phase="Failed")
    seen = after(seen.model_copy(update={"job": make_job(seen, dead, pod(fetch=...), failed=1)}))
    assert (seen.run.status.attempts, seen.run.status.stage) == (2, "Fetching")


def test_a_run_writes_at_most_six_times() -> None:
    """Resolved, Job, Training, Evaluating, Model, Complete."""
    writes, seen = 0, world(make_run(), dataset=make_dataset(), models=(CHAMPION,))
    worlds: list[Any] = [
        lambda now: {},
        lambda now: {"job": make_job(now, pod(fetch=...))},
        lambda now: {"job": make_job(now, pod(train=...))},
        lambda now: {"job": make_job(now, pod(train=0, evaluate=...))},
        lambda now: {"job": succeeded(now, measured()), "models": (CHAMPION,), "models_are_live": True},
        lambda now: {"models": (CHAMPION, registered(5)), "models_are_live": True},
        lambda now: {},
    ]
    for change in worlds:
        plan = decisions.decide(seen)
        is_new = plan.status is not None and plan.status != seen.run.status.wire()
        writes += is_new + len(plan.creates) + (len(plan.children) if seen.job is None else 0)
        seen = after(seen)
        seen = seen.model_copy(update=change(seen))
    assert truth(seen, "Complete") == ("True", "ModelRegistered")
    assert writes == 6


def registered(version: int, **more: Any) -> ModelView:
    fields = {
        "name": f"churn-{version}",
        "model_name": "churn",
        "version": version,
        "digest": C,
        "run_uid": "run-uid",
        **more,
    }
    return ModelView.model_validate(fields)


def ready_to_register(*models: ModelView, live: bool = True, message: str | None = None, **more: Any) -> Observation:
    seen = resolved(**more)
    return seen.model_copy(
        update={"job": succeeded(seen, message or measured()), "models": models, "models_are_live": live}
    )


def test_the_model_gets_the_next_free_number() -> None:
    taken = registered(7, run_uid="other")
    by_name = ModelView(name="churn-9", model_name="stolen")
    (model,) = decisions.decide(ready_to_register(taken, by_name)).creates
    assert model["metadata"]["name"] == "churn-10"
    assert model["spec"]["version"] == "10"
    assert model["spec"]["provenance"]["author"] == "ada"
    assert model["spec"]["approvalPolicy"]["required"] == 0
    assert model["metadata"]["labels"]["millrace.dev/training-run-uid"] == "run-uid"
    assert "ownerReferences" not in model["metadata"]


def test_without_a_live_list_nothing_is_registered() -> None:
    plan = decisions.decide(ready_to_register(live=False))
    assert plan.creates == ()
    assert plan.status is None
    assert plan.wake_after is not None


def test_a_model_that_is_there_already_is_found_and_not_made_again() -> None:
    plan = decisions.decide(ready_to_register(registered(5)))
    assert plan.creates == ()
    assert plan.status is not None
    assert plan.status["modelRef"] == {"name": "churn-5"}
    assert [event.reason for event in plan.events] == ["ModelRegistered"]
    assert "succeeded" in plan.events[0].message


def test_a_model_that_only_carries_the_runs_label_is_not_the_runs() -> None:
    assert decisions.decide(ready_to_register(registered(5, digest=A))).creates


def test_a_complete_run_is_ready_and_never_moves_again() -> None:
    seen = after(ready_to_register(registered(5)))
    assert truth(seen, "Ready") == ("True", "ModelRegistered")
    assert truth(seen, "GatesPassed") == ("True", "AllPassed")
    assert truth(seen, "Stalled")[0] == truth(seen, "Reconciling")[0] == "False"
    assert [metric.name for metric in seen.run.status.metrics] == ["roc_auc"]
    assert decisions.decide(seen.model_copy(update={"models": (), "job": None})) == Plan()


NOT_WORSE = {"name": "not-worse", "metric": "roc_auc", "baseline": {"maxRegression": 0.005}}
FLOOR = {"name": "floor", "metric": "roc_auc", "threshold": {"min": 0.6}}


def test_a_worse_model_is_not_registered_and_the_gate_is_named() -> None:
    seen = ready_to_register(message=measured("0.59", "0.68"), gates=[FLOOR, NOT_WORSE])
    assert decisions.decide(seen).creates == ()
    seen = after(seen)
    assert truth(seen, "Failed") == ("True", "GatesFailed")
    assert truth(seen, "GatesPassed") == ("False", "GatesFailed")
    assert truth(seen, "Stalled")[0] == "True"
    assert "not-worse" in said(seen)
    assert "floor" in said(seen)
    assert [gate.passed for gate in seen.run.status.gates] == [False, False]
    assert decisions.decide(seen) == Plan()


def test_the_first_model_has_no_champion_to_beat() -> None:
    seen = ready_to_register(message=measured("0.7", None), gates=[FLOOR, NOT_WORSE], models=())
    assert decisions.decide(seen.model_copy(update={"models": ()})).creates


WORDS = StageFailure("train", "UnknownParameter", "LogisticRegression has no parameter depth.").to_json()
NOT_ONNX = TrainingReport(TrainingOutcome.FAILED, "NotOnnx", "It is a pickle.").to_json()


@pytest.mark.parametrize(
    "end, reason, words",
    [
        (pod(train=2, message=WORDS, phase="Failed"), "UnknownParameter", "no parameter depth"),
        (pod(train=137, reason="OOMKilled", phase="Failed"), "TrainerOutOfMemory", "memory"),
        (pod(train=0, evaluate=137, reason="OOMKilled", phase="Failed"), "StageOutOfMemory", "evaluate"),
        (
            pod(train=1, message="Traceback ...\nZeroDivisionError: x", phase="Failed"),
            "TrainerCrashed",
            "code 1: ZeroDivisionError: x, 3",
        ),
        (pod(train=9, phase="Failed"), "TrainerCrashed", "exit code 9"),
        (pod(fetch=1, phase="Failed"), "FetchFailed", "fetch"),
        (pod(train=0, evaluate=1, phase="Failed"), "EvaluationFailed", "evaluate"),
        (pod(train=0, evaluate=2, message=NOT_ONNX, phase="Failed"), "NotOnnx", "pickle"),
        (Pod(name="p", phase="Failed", reason="Evicted", message="disk"), "PodLost", "Evicted: disk"),
        (
            pod(train=1, message=StageFailure("train", "what's this", "?").to_json(), phase="Failed"),
            "TrainerCrashed",
            "?",
        ),
    ],
    ids=[
        "verdict",
        "train-memory",
        "evaluate-memory",
        "crash",
        "silent",
        "fetch",
        "evaluate",
        "not-onnx",
        "evicted",
        "odd",
    ],
)
def test_a_failed_job_has_a_reason_and_a_next_command(end: Pod, reason: str, words: str) -> None:
    seen = resolved()
    seen = after(seen.model_copy(update={"job": failed(seen, end)}))
    assert truth(seen, "Failed") == ("True", reason)
    assert truth(seen, "Stalled") == ("True", reason)
    assert truth(seen, "Ready") == ("False", reason)
    assert words in said(seen)
    assert "Next: kubectl -n ml" in said(seen)
    assert "Traceback" not in said(seen)


def test_the_logs_to_read_are_those_of_the_container_that_failed() -> None:
    seen = resolved()
    seen = after(seen.model_copy(update={"job": failed(seen, pod(train=1, phase="Failed"))}))
    assert f"kubectl -n ml logs job/{seen.run.status.job_name} -c train" in said(seen)


@pytest.mark.parametrize(
    "message, reason",
    [(NOT_ONNX, "NotOnnx"), ("{}", "MalformedReport"), ("", "PodLost"), (measured(digest="?"), "MalformedReport")],
)
def test_a_job_that_succeeds_without_a_model_has_failed(message: str, reason: str) -> None:
    seen = resolved()
    seen = after(seen.model_copy(update={"job": succeeded(seen, message)}))
    assert truth(seen, "Failed") == ("True", reason)


def test_a_run_that_hangs_names_the_stage_and_how_long_although_its_pod_is_gone() -> None:
    seen = resolved(now=NOW + timedelta(seconds=20))
    seen = after(seen.model_copy(update={"job": make_job(seen, pod(train=...))}))
    dead = make_job(seen, state="Failed", reason="DeadlineExceeded", finished=NOW + timedelta(seconds=600))
    seen = after(seen.model_copy(update={"job": dead}))
    assert truth(seen, "Failed") == ("True", "DeadlineExceeded")
    assert "did not end within 600 s; it hung in stage Training for 580 s" in said(seen)
    assert seen.run.status.stage == "Training"


def test_a_run_whose_pod_never_started_says_so_when_its_time_is_up() -> None:
    seen = resolved()
    waiting = Pod(name="p", phase="Pending", reason="Unschedulable", message="0/1 nodes: Insufficient memory")
    seen = after(seen.model_copy(update={"job": make_job(seen, waiting)}))
    assert truth(seen, "Reconciling") == ("True", "PodNotStarted")
    dead = make_job(seen, state="Failed", reason="DeadlineExceeded")
    seen = after(seen.model_copy(update={"job": dead}))
    assert "Insufficient memory" in said(seen)


def test_a_failed_job_without_pods_says_what_the_job_says() -> None:
    seen = resolved()
    seen = after(seen.model_copy(update={"job": failed(seen, message="quota")}))
    assert truth(seen, "Failed") == ("True", "PodLost")
    assert "quota" in said(seen)


def test_a_job_that_is_deleted_on_the_way_is_made_again() -> None:
    seen = resolved()
    going = seen.model_copy(update={"job": make_job(seen, is_going=True)})
    assert decisions.decide(going).children


def test_a_name_that_cannot_be_a_label_fails_at_once() -> None:
    seen = after(world(make_run(name="Run.1")))
    assert truth(seen, "Failed") == ("True", "NameNotUsable")


def test_a_run_that_is_being_deleted_is_left_alone() -> None:
    run = make_run()
    going = run.model_copy(update={"metadata": run.metadata.model_copy(update={"deletion_timestamp": NOW})})
    assert decisions.decide(world(going, dataset=make_dataset())) == Plan()


def test_a_run_that_lost_its_own_job_name_finds_it_again() -> None:
    seen = resolved()
    name = seen.run.status.job_name
    forgot = seen.run.model_copy(
        update={"status": seen.run.status.model_copy(update={"job_name": None, "stage": None})}
    )
    (job,) = decisions.decide(seen.model_copy(update={"run": forgot})).children
    assert job["metadata"]["name"] == name


texts = st.text(max_size=600)
messages = st.sampled_from([measured(), measured("0.1"), measured(digest="?"), WORDS, NOT_ONNX, "", "{}"]) | texts
containers = st.builds(
    Container,
    name=st.sampled_from(["fetch", "train", "evaluate", "stranger"]),
    state=st.sampled_from(["Waiting", "Running", "Terminated"]),
    reason=st.sampled_from(["", "OOMKilled", "ImagePullBackOff"]),
    message=messages,
    exit_code=st.sampled_from([None, 0, 1, 2, 137]),
)
pods = st.builds(
    Pod,
    name=texts,
    phase=st.sampled_from(["", "Pending", "Running", "Failed", "Succeeded"]),
    reason=st.sampled_from(["", "Evicted", "Unschedulable"]),
    message=texts,
    containers=st.lists(containers, max_size=3).map(tuple),
)
jobs = st.builds(
    Job,
    name=st.just("j"),
    uid=st.just("u"),
    state=st.sampled_from(["Active", "Succeeded", "Failed"]),
    reason=st.sampled_from(["", "DeadlineExceeded", "BackoffLimitExceeded"]),
    message=texts,
    failed=st.integers(0, 5000),
    is_going=st.booleans(),
    finished=st.none() | st.just(NOW),
    pods=st.lists(pods, max_size=3).map(tuple),
)
views = st.builds(
    ModelView,
    name=st.sampled_from(["churn-1", "churn-999999999", "churn-x", "churn-", "A.b"]) | texts,
    model_name=st.sampled_from(["churn", "other"]),
    version=st.integers(0, 999_999_999),
    digest=st.sampled_from([A, C, ""]),
    storage_uri=st.sampled_from(["s3://millrace/x", "?"]),
    aliases=st.sampled_from([(), ("champion",), ("challenger",)]),
    run_uid=st.sampled_from(["", "run-uid", "other"]),
)
steps = st.lists(
    st.tuples(
        st.none() | jobs,
        st.sampled_from([None, make_dataset(), make_dataset(None)]),
        st.lists(views, max_size=3).map(tuple),
        st.booleans(),
        st.integers(0, 5000),
    ),
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_whatever_happens_a_run_decides_once_and_ends_once(story: list[tuple[Any, ...]]) -> None:
    """Laws: total, deterministic, quiescent; one Model at most a pass; the end is final; what was pinned stays."""
    seen = world(make_run(gates=[FLOOR]))
    for job, dataset, models, live, passed in story:
        now = seen.now + timedelta(seconds=passed)
        change = {"job": job, "dataset": dataset, "models": models, "models_are_live": live, "now": now}
        seen = seen.model_copy(update=change)
        plan = decisions.decide(seen)
        assert plan == decisions.decide(seen)
        assert len(plan.creates) + len(plan.children) <= 1
        if decisions.is_over(seen.run):
            assert plan == Plan()
        rested = after(seen)
        before, told = seen.run.status, rested.run.status
        assert before.resolved is None or told.resolved == before.resolved
        if plan.status is not None:
            holds = [
                one.type
                for one in told.conditions
                if one.status == "True" and one.type in ("Ready", "Reconciling", "Stalled")
            ]
            assert len(holds) == 1
            caught_up = after(rested)  # the pass after pinning may find a Job
            again = decisions.decide(caught_up)
            assert again.status is None or again.status == caught_up.run.status.wire()
            assert again.events == ()
        seen = rested
