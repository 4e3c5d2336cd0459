"""What a TrainingRun decides, from waiting to a registered model."""

from __future__ import annotations

import json
from typing import Any

import pytest

from millrace.api.training_run import GateResult
from millrace.decide import training_run as decisions
from millrace.decide.job import Pod
from millrace.decide.plan import Plan
from millrace.decide.training_run import ModelView, gates
from run_worlds import (
    CHAMPION,
    FLOOR,
    NOT_WORSE,
    VERSION,
    A,
    B,
    after,
    make_dataset,
    make_job,
    make_run,
    measured,
    message,
    pod,
    ready_to_register,
    registered,
    resolved,
    succeeded,
    truth,
    world,
)


def test_a_run_without_its_dataset_waits_and_says_for_what() -> None:
    seen = after(world(make_run()))
    assert truth(seen, "Reconciling") == ("True", "DatasetNotFound")
    assert truth(seen, "Stalled")[0] == "False"
    assert message(seen).endswith(" Next: kubectl -n ml get mds"), "it is not there to be got by name"


def test_a_run_waits_for_the_first_version_and_passes_on_what_the_dataset_says() -> None:
    seen = after(world(make_run(), dataset=make_dataset(None, "no object at the source")))
    assert truth(seen, "Reconciling") == ("True", "DatasetNotReady")
    assert "no object at the source" in message(seen)


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
    spec = json.loads(job["spec"]["template"]["metadata"]["annotations"]["millrace.dev/task"])
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
    going_on = {"Fetching": "are being fetched", "Training": "runs", "Evaluating": "is being measured"}
    assert going_on[stage] in message(seen), "nothing reads as done that is not"
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
    assert decisions.decide(seen.model_copy(update={"models": (), "job": None})) == Plan(wake_after=86400.0)


def test_a_worse_model_is_not_registered_and_the_gate_is_named() -> None:
    seen = ready_to_register(message=measured("0.59", "0.68"), gates=[FLOOR, NOT_WORSE])
    assert decisions.decide(seen).creates == ()
    seen = after(seen)
    assert truth(seen, "Failed") == ("True", "GatesFailed")
    assert truth(seen, "GatesPassed") == ("False", "GatesFailed")
    assert truth(seen, "Stalled")[0] == "True"
    assert "not-worse" in message(seen)
    assert "floor" in message(seen)
    assert [gate.passed for gate in seen.run.status.gates] == [False, False]
    assert decisions.decide(seen) == Plan(wake_after=86400.0), "until its Job goes"


def test_the_first_model_has_no_champion_to_beat() -> None:
    seen = ready_to_register(message=measured("0.7", None), gates=[FLOOR, NOT_WORSE], models=())
    assert decisions.decide(seen.model_copy(update={"models": ()})).creates


def test_a_run_that_beat_the_champion_says_both_numbers_and_of_which_rows() -> None:
    seen = after(ready_to_register(registered(5)))
    told = "(roc_auc 0.7; champion churn-4 on the same test rows, those of version 3: roc_auc 0.68). Next: "
    assert told in message(seen)


def test_a_settled_run_does_not_repeat_its_success_as_what_goes_on_or_waits() -> None:
    seen = after(ready_to_register(registered(5)))
    told = {one.type: one.message for one in seen.run.status.conditions}
    assert told["Reconciling"] == "Nothing is under way."
    assert told["Stalled"] == "Nothing waits for a person."


def test_a_gate_that_had_nothing_to_be_compared_with_is_named() -> None:
    results = (
        GateResult(name="floor", passed=True, message="roc_auc 0.7 is >= 0.6"),
        GateResult(name="not-worse", passed=True, message=gates.NO_CHAMPION),
    )
    assert gates.holding(results) == (
        "2 of 2 gates hold. No version served when the run began, "
        "so not-worse passed without a champion to compare with."
    )
    assert gates.holding(results[:1]) == "1 of 1 gates hold."
