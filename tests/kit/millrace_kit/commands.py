"""The next commands that messages print: which there may be, and whether one stands as it should.

Every command comes from a reason of `millrace.api.reasons`; `EVERY` has each of them, filled in for the objects that
`FIELDS` names.
"""

from __future__ import annotations

import re
import shlex

from millrace.api.model import Model
from millrace.api.reasons import Reason
from millrace.api.reasons.any_kind import AnyKindReason
from millrace.api.reasons.deployment import DeploymentReason
from millrace.api.reasons.pipeline import DatasetReason, ModelReason, TrainingRunReason
from millrace.decide.model import decision as models

SIGN = " Next: "
KINDS: tuple[tuple[type[Reason], str, str], ...] = (
    (DatasetReason, "churn", "dataset.millrace.dev"),
    (TrainingRunReason, "churn-gb", "trainingrun.millrace.dev"),
    (ModelReason, "churn-1", "model.millrace.dev"),
    (DeploymentReason, "churn", "deployment.millrace.dev"),
    (AnyKindReason, "churn", "dataset.millrace.dev"),
)
"""Whose reasons they are, and the object that each is about."""
FIELDS = {
    "namespace": "ml",
    "deployment": "churn",
    "job": "churn-gb-job",
    "container": "train",
    "dataset": "churn",
    "model": "churn-1",
    "models": "-l millrace.dev/model-name=churn",
    "run": "churn-gb",
    "revision": "aabbccdd",
    "rejected": "churn-1",
    "time": "2026-11-21T08:00:00Z",
    "asked": "quarantined at 2026-11-21T08:00:00Z",
    "operator": "millrace-operator",
    "operator_namespace": "ml",
}


def filled(reason: Reason, name: str, kind: str, model: Model) -> str:
    """The command of a reason as a message about that object prints it."""
    fields = {**FIELDS, "name": name, "kind": kind, "patch": models._patch(model)}
    text = reason.next_step
    for field, value in fields.items():
        text = text.replace("{" + field + "}", value)
    return text


def every(model: Model) -> dict[str, str]:
    """Each reason's command, by the reason's kind and name."""
    return {
        f"{reasons.__name__}.{reason.name}": filled(reason, name, kind, model)
        for reasons, name, kind in KINDS
        for reason in reasons
        if reason.next_step
    }


def fault(message: str) -> str:
    """What is wrong with how a message ends; empty where it ends in a command that stands alone, or in none."""
    before, sign, command = message.rpartition(SIGN)
    if "kubectl" in (before if sign else message):
        return "a command in the middle"
    return _fault(command) if sign else ""


def _fault(command: str) -> str:
    if not command.startswith("kubectl "):
        return "it does not begin with the command"
    if "\n" in command or command.rstrip() != command or command.endswith("."):
        return "something follows the command"
    if re.search(r"<[a-z ]+>|\[[a-z ]+\]|\.\.\.|…", command) or re.search(r"\{[a-z_]+\}", command):
        return "something is left for the reader to fill in"
    try:
        words = shlex.split(command)
    except ValueError as error:
        return f"no shell reads it: {error}"
    return "prose among the words" if {"then", "and", "or"} & set(words) else ""
