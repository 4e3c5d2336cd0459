"""A reason is one word for programs and a sentence with a next command for people: none without the other.

The reasons in use are read from the source: one that no test happens to provoke must be documented too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import pytest

from millrace.api.deployment_status import Rollout
from millrace.api.reasons import Reason
from millrace.api.reasons.deployment import DeploymentReason
from millrace.api.reasons.pipeline import DatasetReason, TrainingRunReason
from millrace.contract.reasons import Reason as PodReason
from millrace.decide.deployment.rollout import HOPELESS

ROOT = Path(__file__).parents[2]
DEPLOYMENT = ROOT / "operator/millrace/decide/deployment"
RUNTIME = ROOT / "serving-image/millrace_runtime"
FROZEN = [RUNTIME / "outcome.py", RUNTIME / "snapshot/manifest.py"]


def stated_of_a_deployment() -> set[str]:
    """Members that a decision names; verdicts, which are read back by name; what a pod says to end a canary."""
    verdict = Rollout.model_fields["last_verdict"].annotation
    found = set(HOPELESS) | {word for one in get_args(verdict) for word in get_args(one)}
    return found | {name for path in DEPLOYMENT.glob("*.py") for name in members_in(path)}


def members_in(path: Path) -> set[str]:
    """X of every `Reason.X` in a module."""
    return {
        node.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Reason"
    }


def said_by_a_pod(paths: Iterable[Path]) -> set[str]:
    """Members of `millrace.contract.reasons` that the code of a stage names."""
    return {PodReason[name].value for path in paths for name in members_in(path)}


def test_a_deployment_states_every_reason_that_is_documented_and_no_other() -> None:
    assert stated_of_a_deployment() == set(DeploymentReason.__members__)


def test_conditions_and_events_of_a_deployment_are_worded_in_one_place() -> None:
    makers = {"Mark", "Event", "message"}
    elsewhere = [
        f"{path.name}:{node.lineno}"
        for path in DEPLOYMENT.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if path.name != "messages.py"
        and isinstance(node, ast.Call)
        and ((isinstance(node.func, ast.Name) and node.func.id in makers) or ast.unparse(node.func) == "status.message")
    ]
    assert elsewhere == []


@pytest.mark.parametrize(
    "stage, reasons",
    [("snapshot", DatasetReason), ("training", TrainingRunReason)],
)
def test_what_a_pod_may_say_is_documented(stage: str, reasons: type[Reason]) -> None:
    said = said_by_a_pod([*FROZEN, *(RUNTIME / stage).glob("*.py")])
    assert len(said) > 5
    assert said - set(reasons.__members__) == set()


def test_a_pod_may_say_nothing_that_no_pod_says() -> None:
    assert said_by_a_pod(RUNTIME.rglob("*.py")) == {reason.value for reason in PodReason}
