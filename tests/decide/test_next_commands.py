"""A next command stands alone at the end of its message, works as it stands, and is not printed once it was used."""

from __future__ import annotations

import ast
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dataset_worlds import NOW, finished, frozen, looked, make_dataset, refused
from dataset_worlds import after as after_look
from dataset_worlds import world as dataset_world
from millrace import api
from millrace.contract.report import SnapshotOutcome, SnapshotReport
from millrace.decide import model as models
from millrace.decide.deployment.observation import Trouble
from millrace_kit import commands
from millrace_kit.simulation import SimulatedCluster, make_model

SOURCE = Path(__file__).parents[2] / "operator/millrace"
ERRORS = {"name": "errors", "builtin": "ErrorRate", "thresholdRange": {"max": 0.02}, "minSamples": 50}


def next_step(message: str | None) -> str:
    return (message or "").rpartition(commands.SIGN)[2]


@pytest.mark.parametrize(("reason", "command"), commands.every(make_model("churn", 1)).items())
def test_the_command_of_every_reason_stands_alone_and_leaves_nothing_to_fill_in(reason: str, command: str) -> None:
    assert commands.fault(f"It is so.{commands.SIGN}{command}") == "", f"{reason}: {command}"


def test_no_module_prints_a_command_that_no_reason_has() -> None:
    """What is printed elsewhere would be run by nobody."""
    known = {
        "decide/model/decision.py",  # the caller's name in the patch of ModelReason.PendingApproval
        "wiring.py",  # the log of an operator that cannot start: no object has a message yet
        "store_credentials.py",  # the log of an init container
    }
    modules = {str(path.relative_to(SOURCE)): path for path in SOURCE.rglob("*.py") if "api/" not in str(path)}
    assert {name for name, path in modules.items() if prints_a_command(path)} <= known


def prints_a_command(module: Path) -> bool:
    """Whether a string of it, other than a docstring, begins a command."""
    tree = ast.parse(module.read_text())
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in prose]
    return any(isinstance(one.value, str) and "kubectl " in one.value for one in texts)


# --- what the worlds say


def told(cluster: SimulatedCluster) -> list[str]:
    status = cluster.status
    return [status.message or "", *(one.message for one in status.conditions), *(one.message for one in cluster.events)]


def rolled_back(cluster: SimulatedCluster) -> None:
    cluster.broken[f"sha256:{2:064x}"] = Trouble(reason="GoldenSetMismatch", message="row 3 differs")
    cluster.add(make_model("churn", 2))
    cluster.settle(5)


def analysed(cluster: SimulatedCluster) -> None:
    steps: list[dict[str, Any]] = [{"setWeight": 25}, {"analysis": {"metrics": [ERRORS], "maxDuration": "10s"}}]
    cluster.change(strategy={"canary": {"steps": steps}})
    cluster.add(make_model("churn", 2))
    cluster.settle(14)


def unapproved(cluster: SimulatedCluster) -> None:
    cluster.add(make_model("churn", 2, approved=False))
    cluster.change(modelSelector=None, modelRef={"name": "churn-2"})
    cluster.settle(2)


def unscheduled(cluster: SimulatedCluster) -> None:
    cluster.broken[f"sha256:{2:064x}"] = Trouble(reason="Unschedulable", message="0/3 nodes")
    cluster.add(make_model("churn", 2))
    cluster.settle(14, seconds=60)


@pytest.fixture
def serving() -> SimulatedCluster:
    """churn-1 serves."""
    cluster = SimulatedCluster()
    cluster.add(make_model("churn", 1))
    cluster.settle(6)
    return cluster


@pytest.mark.parametrize("story", [rolled_back, analysed, unapproved, unscheduled], ids=lambda one: one.__name__)
def test_every_message_of_a_deployment_ends_in_its_command_or_has_none(serving: SimulatedCluster, story: Any) -> None:
    story(serving)
    assert {message: fault for message in told(serving) if (fault := commands.fault(message))} == {}


@pytest.mark.parametrize(
    "reason", ["SourceNotFound", "SourceMalformed", "SchemaMismatch", "RuleViolated", "StoreDenied"]
)
def test_every_message_of_a_dataset_ends_in_its_command_or_has_none(reason: str) -> None:
    seen = looked(refused(reason, "It is so"))
    plan = after_look(dataset_world(make_dataset()))
    texts = [one.message for one in (*seen.dataset.status.conditions, *plan.dataset.status.conditions)]
    assert {text: fault for text in texts if (fault := commands.fault(text))} == {}


def test_what_a_person_does_beside_the_command_stands_before_it() -> None:
    text = looked(refused("SourceNotFound", "s3://lake/churn.csv is not there")).dataset.status.message
    assert (text or "").startswith("s3://lake/churn.csv is not there. Upload the file. Next: kubectl -n ml patch mds ")


# --- used once


def used(cluster: SimulatedCluster, action: str) -> dict[str, str]:
    """The request in the printed command, carried out as it stands."""
    command = next_step(cluster.status.message)
    found = re.search(rf'"{action}":(\{{.*?\}})', command)
    assert found is not None, command
    request = api.deployment.RevisionAction.model_validate_json(found[1]).wire()
    cluster.change(actions={action: request})
    return request


def test_a_command_that_lifts_a_quarantine_works_each_time_that_it_is_printed(serving: SimulatedCluster) -> None:
    rolled_back(serving)
    first = used(serving, "unquarantine")
    serving.settle(2)
    assert serving.status.quarantined == ()
    assert "unquarantine" not in (serving.status.message or ""), "once used it is not printed"
    serving.settle(30)
    assert len(serving.status.quarantined) == 1, "the model fails again"
    second = used(serving, "unquarantine")
    assert second != first
    serving.settle(2)
    assert serving.status.quarantined == ()


def test_a_command_that_gives_an_analysis_more_time_works_each_time_that_it_is_printed(
    serving: SimulatedCluster,
) -> None:
    analysed(serving)
    first = used(serving, "retry")
    serving.settle(2)
    assert "retry" not in next_step(serving.status.message)
    serving.settle(10)
    second = used(serving, "retry")
    assert second != first
    serving.settle(2)
    assert "retry" not in next_step(serving.status.message)


def test_a_dataset_that_looks_regularly_is_not_told_to_look_regularly() -> None:
    once = looked(refused("SourceNotFound", "It is so"))
    assert next_step(once.dataset.status.message).startswith("kubectl -n ml patch mds churn ")
    regularly = looked(refused("SourceNotFound", "It is so"), interval="5m")
    assert next_step(regularly.dataset.status.message) == "kubectl -n ml get mds churn --watch"


def test_a_refused_spec_beside_a_version_keeps_its_command_whole() -> None:
    good = looked(frozen())
    metadata = good.dataset.metadata.model_copy(update={"generation": 2})
    changed = good.model_copy(update={"dataset": good.dataset.model_copy(update={"metadata": metadata}), "jobs": ()})
    looking = after_look(changed)
    report = SnapshotReport(SnapshotOutcome.REJECTED, reason="SchemaMismatch", message="x" * 3000)
    job = finished(str(looking.dataset.status.job_name), report, at=NOW + timedelta(seconds=5))
    text = after_look(looking.model_copy(update={"jobs": (job,)}), job).dataset.status.message or ""
    assert len(text) <= 1000
    assert next_step(text) == "kubectl -n ml edit mds churn"


def test_the_approval_that_is_printed_is_that_of_whoever_runs_it() -> None:
    found = make_model("churn", 1).model_copy(update={"status": api.ModelStatus()})
    plan = models.decide(models.Observation(now=NOW, model=found, policy_in_force=True))
    assert plan.status is not None
    command = next_step(plan.status["message"])
    assert "$(kubectl auth whoami -o jsonpath={.status.userInfo.username})" in command
    assert commands.fault(plan.status["message"]) == ""
