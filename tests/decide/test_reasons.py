"""A reason is one word for programs and a sentence with a next command for people: none without the other.

What is said is read from the source: a reason that no test happens to provoke must be documented too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
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
DECIDE = ROOT / "operator/millrace/decide"
RUNTIME = ROOT / "serving-image/millrace_runtime"
FROZEN = [RUNTIME / "outcome.py", RUNTIME / "snapshot/manifest.py"]


def calls(paths: Iterable[Path]) -> Iterator[ast.Call]:
    for path in paths:
        yield from (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))


def words(node: ast.expr) -> Iterator[str]:
    return (one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str))


def said_of_a_deployment() -> set[str]:
    """Constants given as `reason=`, or as the third argument of `_mark`; verdicts; what a pod says to end a canary."""
    verdict = Rollout.model_fields["last_verdict"].annotation
    found = set(HOPELESS) | {word for one in get_args(verdict) for word in get_args(one)}
    for call in calls((DECIDE / "deployment").glob("*.py")):
        given = [keyword.value for keyword in call.keywords if keyword.arg == "reason"]
        if isinstance(call.func, ast.Name) and call.func.id == "_mark":
            given += call.args[2:3]
        found |= {word for one in given for word in words(one) if word.isidentifier()}
    return found


def said_by_a_pod(paths: Iterable[Path]) -> set[str]:
    """Members of `millrace.contract.reasons` that the code of a stage names."""
    return {
        PodReason[node.attr].value
        for path in paths
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Reason"
    }


def test_a_deployment_says_every_reason_that_is_documented_and_no_other() -> None:
    assert said_of_a_deployment() == set(DeploymentReason.__members__)


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
