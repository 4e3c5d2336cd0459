"""The CEL rules once more, in Python and by their message: a second opinion on what the API server decides.

A predicate is told the object that carries the rule, defaults filled in, and for transitions the object before.
`test_rules.py` sees to it that every rule of the CRDs stands here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

Object = dict[str, Any]
Predicate = Callable[[Object], bool]
Transition = Callable[[Object, Object], bool]

CLASSIFICATION = {"roc_auc", "accuracy", "f1", "log_loss", "brier"}
REGRESSION = {"rmse", "mae", "r2"}
NUMBERS = {"Int64", "Float32", "Float64"}
ORDERED = {*NUMBERS, "Timestamp"}
RESOURCES = {"cpu", "memory", "ephemeral-storage"}
_UNITS = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_SUFFIXES = {
    "": Fraction(1), "m": Fraction(1, 1000), "k": Fraction(1000), "M": Fraction(10**6), "G": Fraction(10**9),
    "T": Fraction(10**12), "Ki": Fraction(2**10), "Mi": Fraction(2**20), "Gi": Fraction(2**30), "Ti": Fraction(2**40),
}  # fmt: skip


def milliseconds(duration: str) -> int:
    """Of a Go-style duration."""
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9]+)(ms|h|m|s)", duration))


def quantity(text: str) -> Fraction:
    """Of a Kubernetes quantity."""
    number, suffix = re.fullmatch(r"([0-9.]+)([a-zA-Z]*)", text).groups()  # type: ignore[union-attr]
    return Fraction(number) * _SUFFIXES[suffix]


def exactly_one(*names: str) -> Predicate:
    return lambda self: sum(name in self for name in names) == 1


def ordered(low: str, high: str) -> Predicate:
    return lambda self: low not in self or high not in self or self[low] <= self[high]


def at_least(name: str, seconds: int) -> Predicate:
    return lambda self: milliseconds(self[name]) >= 1000 * seconds


def at_most_one(role: str) -> Predicate:
    return lambda self: sum(field["role"] == role for field in self.get("fields", ())) <= 1


def _fields(dataset: Object) -> dict[str, Object]:
    """The declared fields by name."""
    return {field["name"]: field for field in dataset["schema"].get("fields", ())}


def _all_declared(dataset: Object) -> bool:
    return bool(_fields(dataset)) and dataset["schema"]["mode"] != "Infer"


def _has_event_time(dataset: Object) -> bool:
    split = dataset["split"]
    told = "field" in split or any(field["role"] == "EventTime" for field in _fields(dataset).values())
    return bool(split["method"] != "Time" or told)


def _is_time(dataset: Object) -> bool:
    split = dataset["split"]
    field = _fields(dataset).get(split.get("field", ""))
    return bool(split["method"] != "Time" or field is None or (field["role"] != "Label" and field["type"] in ORDERED))


def _field_is_declared(dataset: Object) -> bool:
    field = dataset["split"].get("field")
    return field is None or not _all_declared(dataset) or field in _fields(dataset)


def _field_is_frozen(dataset: Object) -> bool:
    return bool(_fields(dataset).get(dataset["split"].get("field", ""), {"role": "Feature"})["role"] != "Ignore")


def _groups_are_declared(dataset: Object) -> bool:
    return not _all_declared(dataset) or set(dataset["split"].get("groupBy", ())) <= _fields(dataset).keys()


def _groups_can_be(dataset: Object) -> bool:
    fields = _fields(dataset)
    return not any(
        name in fields and fields[name]["role"] in ("Ignore", "Label") for name in dataset["split"].get("groupBy", ())
    )


def _erases_an_id(dataset: Object) -> bool:
    field = _fields(dataset).get(dataset["erasure"]["field"]) if "erasure" in dataset else None
    is_fit = field is not None and field["role"] == "Id" and field["type"] in ("String", "Category", "Int64")
    return "erasure" not in dataset or is_fit


def _adds_up(split: Object) -> bool:
    return bool(0.999999 <= sum(split["fractions"][part] for part in ("train", "validation", "test")) <= 1.000001)


def _traffic_before_analysis(canary: Object) -> bool:
    for step in canary["steps"]:
        if step.get("setWeight", 0) > 0:
            return True
        if "analysis" in step:
            return False
    return True


def _compared_before_everything(canary: Object) -> bool:
    if "ErrorRate" in canary.get("disableDefaults", ()):
        return True
    weights = [weight for step in canary["steps"] if (weight := step.get("setWeight", 0))]
    return bool(weights) and weights[0] != 100


def _within_limits(resources: Object) -> bool:
    limits = resources.get("limits", {})
    return all(
        quantity(value) <= quantity(limits[name])
        for name, value in resources.get("requests", {}).items()
        if name in limits
    )


def _is_extended(name: str) -> bool:
    """Kubernetes' `IsExtendedResourceName`: a qualified name that quota could prefix."""
    domain, slash, plain = name.partition("/")
    parts = all(re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", part) for part in domain.split("."))
    fits = re.fullmatch(r"[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?", plain) is not None
    return bool(slash) and parts and fits and not name.startswith("requests.") and len(name) <= 253


def _known_resources(resources: Object) -> bool:
    named = (*resources.get("requests", {}), *resources.get("limits", {}))
    return all(name in RESOURCES or _is_extended(name) for name in named)


def _whole(resources: Object) -> bool:
    limits = resources.get("limits", {})
    return all(name in RESOURCES or quantity(value).denominator == 1 for name, value in limits.items())


def _equal(resources: Object) -> bool:
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    return all(
        name in RESOURCES or (name in limits and quantity(value) == quantity(limits[name]))
        for name, value in requests.items()
    )


def _suits_task(run: Object) -> bool:
    suited = CLASSIFICATION if run["trainer"]["builtin"]["task"] == "Classification" else REGRESSION
    return suited.issuperset(run["evaluation"]["metrics"])


def _gates_measured(evaluation: Object) -> bool:
    return all(gate["metric"] in evaluation["metrics"] for gate in evaluation["gates"])


STATES: dict[str, Predicate] = {
    # Dataset
    "csv is for format CSV: remove it, or set format: CSV": lambda self: "csv" not in self or self["format"] == "CSV",
    "delimiter must be neither the quote nor the decimal mark": lambda self: (
        "delimiter" not in self or self["delimiter"] not in (self.get("quote"), self.get("decimal"))
    ),
    "minimum must not exceed maximum": ordered("minimum", "maximum"),
    "Strict and AllowNewFields need fields: list the columns, or set mode: Infer": lambda self: (
        self["mode"] == "Infer" or "fields" in self
    ),
    "at most one field may have role Label": at_most_one("Label"),
    "at most one field may have role EventTime": at_most_one("EventTime"),
    "role EventTime needs type Timestamp or a number: rows are put in its order": lambda self: (
        self["role"] != "EventTime" or self["type"] in ORDERED
    ),
    "minimum and maximum are for Int64, Float32 and Float64: nothing else is compared with them": lambda self: (
        self["type"] in NUMBERS or ("minimum" not in self and "maximum" not in self)
    ),
    "interval must be at least 5s: each look at the source is a Job": at_least("interval", 5),
    "gracePeriod must be at least 1m: what was under way when it was named must have arrived": at_least(
        "gracePeriod", 60
    ),
    "set min, max or both": lambda self: "min" in self or "max" in self,
    "min must not exceed max": ordered("min", "max"),
    "exactly one of rowCount, nullFraction, unique is required": exactly_one("rowCount", "nullFraction", "unique"),
    "fractions must add up to 1": _adds_up,
    "train and test fractions must be above 0: a model is judged on rows it never saw": lambda self: (
        self["fractions"]["train"] > 0 and self["fractions"]["test"] > 0
    ),
    "Stratified needs field": lambda self: self["method"] != "Stratified" or "field" in self,
    "Random takes no field: remove it, or set method: Stratified or Time": lambda self: (
        self["method"] != "Random" or "field" not in self
    ),
    "Time takes no groupBy, as a group has old rows and new ones: remove it, or set method: Random": lambda self: (
        self["method"] != "Time" or "groupBy" not in self
    ),
    "Time needs an event time: name a column, or give one role EventTime in schema.fields": _has_event_time,
    "Time needs a Timestamp or a number, and not the label": _is_time,
    "split.field must be in schema.fields": _field_is_declared,
    "split.field must not have role Ignore: such columns are not frozen": _field_is_frozen,
    "every column of split.groupBy must be in schema.fields": _groups_are_declared,
    "a column of split.groupBy must not have role Ignore or Label": _groups_can_be,
    "erasure.field must be in schema.fields, with role Id and type String, Category or Int64": _erases_an_id,
    "a key of ids is the digest of an Id, never the Id: `millrace erasure` makes it": lambda self: all(
        re.fullmatch("[0-9a-f]{8}-[0-9a-f]{64}", one) for one in self["ids"]
    ),
    # TrainingRun
    "a request must not exceed its limit": _within_limits,
    "a resource is cpu, memory, ephemeral-storage or an extended one such as nvidia.com/gpu": _known_resources,
    "an extended resource such as nvidia.com/gpu is counted in whole numbers": _whole,
    "an extended resource such as nvidia.com/gpu has equal requests and limits: set limits alone": _equal,
    "exactly one of maxRegression, minImprovement is required": exactly_one("maxRegression", "minImprovement"),
    "exactly one of threshold, baseline is required": exactly_one("threshold", "baseline"),
    "every gate's metric must be listed in evaluation.metrics": _gates_measured,
    "evaluation.metrics must suit trainer.builtin.task: roc_auc, accuracy, f1, log_loss, brier for Classification; "
    "rmse, mae, r2 for Regression": _suits_task,
    # Model
    "an approval must name this artifact's digest (spec.artifact.digest)": lambda self: all(
        one["digest"] == self["artifact"]["digest"] for one in self.get("approvals", ())
    ),
    "time must be a time such as 2026-11-20T09:00:00Z": lambda _: True,  # the structure is asked first
    # Deployment
    "an ErrorRate is a fraction: thresholdRange.max must be below 1": lambda self: (
        self["builtin"] != "ErrorRate" or "thresholdRange" not in self or self["thresholdRange"]["max"] < 1
    ),
    "exactly one of thresholdRange, compare is required": exactly_one("thresholdRange", "compare"),
    "compare is for ErrorRate: give LatencyP95 a thresholdRange": lambda self: (
        "compare" not in self or self["builtin"] == "ErrorRate"
    ),
    "a canary is compared with stable: give it a setWeight from 1 to 99 before one of 100, "
    "or set disableDefaults: [ErrorRate]": _compared_before_everything,
    "interval must be at least 1s": at_least("interval", 1),
    "maxDuration must be at least 1s": at_least("maxDuration", 1),
    "progressDeadline must be at least 1s": at_least("progressDeadline", 1),
    "exactly one of setWeight, pause, analysis is required": exactly_one("setWeight", "pause", "analysis"),
    "an analysis step needs a setWeight above 0 before it: a canary without traffic has no data": (
        _traffic_before_analysis
    ),
    "exactly one of modelRef, modelSelector is required": exactly_one("modelRef", "modelSelector"),
    "a drift trigger needs monitoring.drift": lambda self: "retraining" not in self or "monitoring" in self,
    "retraining needs modelSelector: a pinned modelRef would never serve the new model": lambda self: (
        "retraining" not in self or "modelSelector" in self
    ),
}


def unchanged(name: str) -> Transition:
    return lambda self, old: self.get(name) == old.get(name)


def _appended(self: Object, old: Object) -> bool:
    before = old.get("approvals", [])
    return bool(self.get("approvals", [])[: len(before)] == before)


def _all_stay(self: Object, old: Object) -> bool:
    return set(old["ids"]) <= set(self["ids"])


IMMUTABLE = ("modelName", "version", "artifact", "signature", "provenance", "goldenSetUri", "referenceProfileUri")
TRANSITIONS: dict[str, Transition] = {
    "a TrainingRun is immutable: create a new one": lambda self, old: self == old,
    **{f"{name} is immutable: create a new version": unchanged(name) for name in IMMUTABLE},
    "approvals are append-only: add a Revoke entry at the end, do not remove, change or move one": _appended,
    "an Id that is to be forgotten stays so: put back the entries of ids that are missing": _all_stay,
    "Ids that are to be forgotten stay so: put back erasure": lambda self, old: (
        "erasure" in self or "erasure" not in old
    ),
}
