"""What is said of retraining is so: of what it waits for, of what a run made, and of which run goes on."""

from __future__ import annotations

from typing import Any

import pytest

from millrace import api
from millrace_kit.simulation import SimulatedCluster, make_model
from retraining_worlds import dataset, drifting, end_runs, told

SLOW = {"name": "slow", "drift": {"for": "24h"}}
FAST = {"name": "fast", "drift": {"for": "60s"}}


def blocked(cluster: SimulatedCluster) -> tuple[str, str]:
    found = next(one for one in cluster.status.conditions if one.type == "RetrainingBlocked")
    return found.status, found.reason


def next_step(message: str) -> str:
    return message.partition(" Next: ")[2]


def test_a_version_that_is_held_is_no_rollout_under_way_and_its_command_is_printed() -> None:
    cluster = drifting()
    cluster.add(make_model("churn", 2, inputs=11))
    cluster.settle(40)
    assert blocked(cluster) == ("True", "RolloutInProgress")
    assert "churn-2 is held" in told(cluster), "and not that a rollout is under way"
    assert "no run starts before that is settled" in told(cluster)
    assert '"allowSignatureChange":"churn-2"' in next_step(told(cluster))


def test_policies_that_are_off_are_no_rollout_under_way_either() -> None:
    cluster = drifting()
    cluster.add(make_model("churn", 2))
    cluster.policy_in_force = False
    cluster.settle(40)
    assert told(cluster).startswith("The admission policies that check who approves are not in force, so nothing is")
    assert "validatingadmissionpolicies" in next_step(told(cluster))


@pytest.mark.parametrize("triggers", [[SLOW, FAST], [FAST, SLOW]], ids=["slow first", "fast first"])
def test_an_alarm_names_the_trigger_that_it_sets_off_first(triggers: list[Any]) -> None:
    cluster = drifting(triggers=triggers)
    cluster.settle(5)
    assert "Trigger fast asks for a run at 2026-11-21T08:" in told(cluster, "DriftDetected")


def test_a_newer_version_with_the_same_rows_is_not_said_not_to_be_there() -> None:
    """The source went back to what it was."""
    cluster = drifting()
    again = dataset(3)
    assert again.status.current is not None
    current = again.status.current.model_copy(update={"digest": f"sha256:{1:064x}"})
    cluster.dataset = again.model_copy(update={"status": again.status.model_copy(update={"current": current})})
    cluster.settle(40)
    assert blocked(cluster) == ("True", "NoNewData")
    assert "version 3 of Dataset customers has the same rows as churn-1 was trained on" in told(cluster)


@pytest.mark.parametrize(
    ("model", "becomes"),
    [
        (make_model("churn", 2, approved=False), "is served once it is approved"),
        (make_model("churn", 2, inputs=11), "waits to be rolled out"),
        (make_model("churn", 2), "is being rolled out"),
    ],
    ids=["unapproved", "approved and held", "approved"],
)
def test_what_becomes_of_the_model_that_a_run_made_is_told_as_it_is(model: api.Model, becomes: str) -> None:
    cluster = drifting()
    cluster.change(strategy={"canary": {"steps": [{"setWeight": 5}]}})
    cluster.settle(70)
    end_runs(cluster, "Complete", modelRef={"name": "churn-2"})
    cluster.add(model)
    cluster.settle(5)
    assert f"made churn-2, which {becomes}" in told(cluster)


def test_bytes_that_failed_under_another_name_are_not_promised_to_serve() -> None:
    cluster = drifting()
    cluster.settle(70)
    other = drifting()
    other.change(strategy={"canary": {"steps": [{"setWeight": 5}]}})
    other.add(make_model("churn", 9, digest=f"sha256:{2:064x}"))
    other.settle(4)
    assert other.status.canary is not None
    other.change(actions={"abort": {"revision": other.status.canary.revision}})
    other.settle(1)
    cluster.records = other.records
    end_runs(cluster, "Complete", modelRef={"name": "churn-2"})
    cluster.add(make_model("churn", 2))
    cluster.settle(5)
    assert blocked(cluster) == ("True", "AlreadyTried")
    assert "made churn-2, which is quarantined: Aborted" in told(cluster)


def test_of_two_runs_the_one_that_goes_on_is_named() -> None:
    cluster = drifting(limits={"cooldown": "1s", "maxConcurrent": 2})
    cluster.settle(40)
    (first,) = [run.metadata.name for run in cluster.runs]
    cluster.dataset = dataset(3)
    cluster.settle(5)
    going, ended = cluster.runs
    cluster.runs = [ended]
    end_runs(cluster)
    cluster.runs = [going, *cluster.runs]
    cluster.settle(2)
    assert f"TrainingRun {first} trains a new version" in (cluster.status.message or "")
