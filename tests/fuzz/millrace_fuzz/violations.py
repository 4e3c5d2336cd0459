"""Specs whose fields are fine one by one and wrong together: at least two for every rule of the CRDs."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from . import schema, seeds
from .schema import Manifest, Place

ABSENT = object()


@dataclass(frozen=True)
class Violation:
    """A seed with some places changed at once, and the rule that is broken then."""

    kind: str
    seed: str
    rule: str
    changes: dict[Place, Any]

    def spec(self) -> Manifest:
        """The broken spec."""
        changed = copy.deepcopy(seeds.SPECS[self.kind][self.seed])
        for place, value in self.changes.items():
            changed = schema.without(changed, place) if value is ABSENT else schema.with_value(changed, place, value)
        return changed


_FIELDS, _RULES, _SPLIT = ("schema", "fields"), ("validation", "rules"), ("split",)
_GATES, _CANARY, _RETRAIN = ("evaluation", "gates"), ("strategy", "canary"), ("retraining",)
_APPROVALS = ("approvals",)
_DEEP = (*_CANARY, "steps", 1, "analysis")
_BASELINE, _TWO = {"maxRegression": 0.1}, {"maxRegression": 0.1, "minImprovement": 0.1}
_TIME, _WHEN = {"method": "Time"}, {"name": "when", "type": "Timestamp", "role": "EventTime"}
_LABELS = [{"name": name, "type": "Bool", "role": "Label"} for name in ("a", "b")]

_BROKEN: dict[tuple[str, str], dict[str, list[dict[Place, Any]]]] = {
    ("Dataset", "full"): {
        "csv is for format CSV: remove it, or set format: CSV": [
            {("csv",): {"delimiter": ";"}},
            {("csv",): {}},
        ],
        "a request must not exceed its limit": [
            {("worker", "resources"): {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}},
            {("worker", "resources", "requests", "memory"): "513Mi"},
        ],
        "a resource is cpu, memory, ephemeral-storage or an extended one such as nvidia.com/gpu": [
            {("worker", "resources"): {"limits": {"gpu": "1"}}},
            {("worker", "resources"): {"requests": {"Memory": "1Gi"}}},
        ],
        "an extended resource such as nvidia.com/gpu is counted in whole numbers": [
            {("worker", "resources", "limits", "nvidia.com/gpu"): "500m"},
            {("worker", "resources"): {"limits": {"example.com/fpga": "1.5"}}},
        ],
        "an extended resource such as nvidia.com/gpu has equal requests and limits: set limits alone": [
            {("worker", "resources"): {"requests": {"nvidia.com/gpu": "1"}}},
            {("worker", "resources"): {"requests": {"a.b/c": "1"}, "limits": {"a.b/c": "2"}}},
        ],
        "minimum must not exceed maximum": [
            {(*_FIELDS, 0, "minimum"): 1200.5},
            {(*_FIELDS, 0, "maximum"): -1},
            {(*_FIELDS, 0, "type"): "Float32", (*_FIELDS, 0, "maximum"): -0.001},
        ],
        "minimum and maximum are for Int64, Float32 and Float64: nothing else is compared with them": [
            {(*_FIELDS, 1, "minimum"): 3},
            {(*_FIELDS, 0, "type"): "Timestamp"},
            {(*_FIELDS, 2, "maximum"): 1},
        ],
        "Strict and AllowNewFields need fields: list the columns, or set mode: Infer": [
            {_FIELDS: ABSENT},
            {_FIELDS: ABSENT, ("schema", "mode"): "AllowNewFields"},
        ],
        "at most one field may have role Label": [
            {(*_FIELDS, 0, "role"): "Label"},
            {_FIELDS: _LABELS, ("schema", "mode"): "Infer"},
        ],
        "interval must be at least 5s: each look at the source is a Job": [
            {("refresh", "interval"): text} for text in ("0s", "4s999ms", "0h0m", "1ms")
        ],
        "gracePeriod must be at least 1m: what was under way when it was named must have arrived": [
            {("retention", "gracePeriod"): text} for text in ("0s", "59s999ms", "0h0m")
        ],
        "set min, max or both": [{(*_RULES, 0, "rowCount"): {}}],
        "min must not exceed max": [{(*_RULES, 0, "rowCount", "max"): 9}, {(*_RULES, 0, "rowCount", "min"): 2**53 - 1}],
        "exactly one of rowCount, nullFraction, unique is required": [
            {(*_RULES, 0, "rowCount"): ABSENT},
            {(*_RULES, 0, "unique"): {"fields": ["plan"]}},
            {_RULES: [{"name": "nothing"}]},
        ],
        "fractions must add up to 1": [
            {(*_SPLIT, "fractions", "train"): 0.9},
            {(*_SPLIT, "fractions"): {"train": 0.5, "test": 0.4}},
            {(*_SPLIT, "fractions"): {"train": 1, "validation": 1, "test": 1}},
        ],
        "train and test fractions must be above 0: a model is judged on rows it never saw": [
            {(*_SPLIT, "fractions"): {"train": 1, "test": 0}},
            {(*_SPLIT, "fractions"): {"train": 0, "validation": 0.5, "test": 0.5}},
        ],
        "Stratified needs field": [{(*_SPLIT, "field"): ABSENT}],
        "Random takes no field: remove it, or set method: Stratified or Time": [
            {(*_SPLIT, "method"): "Random"},
            {(*_SPLIT, "method"): ABSENT},
        ],
        "at most one field may have role EventTime": [
            {(*_FIELDS, 0, "role"): "EventTime", (*_FIELDS, 1): _WHEN},
            {_FIELDS: [_WHEN, {**_WHEN, "name": "churned"}], ("schema", "mode"): "Infer"},
        ],
        "role EventTime needs type Timestamp or a number: rows are put in its order": [
            {(*_FIELDS, 1, "role"): "EventTime"},
            {(*_FIELDS, 2, "role"): "EventTime"},
        ],
        "Time needs a Timestamp or a number, and not the label": [
            {_SPLIT: {**_TIME, "field": "plan"}},
            {_SPLIT: {**_TIME, "field": "churned"}},
            {_SPLIT: {**_TIME, "field": "tenure"}, (*_FIELDS, 0, "role"): "Label", (*_FIELDS, 2, "role"): "Feature"},
        ],
        "split.field must be in schema.fields": [
            {(*_SPLIT, "field"): "ghost"},
            {(*_FIELDS, 2, "name"): "gone"},
            {_SPLIT: {**_TIME, "field": "ghost"}},
        ],
        "split.field must not have role Ignore: such columns are not frozen": [
            {(*_FIELDS, 2, "role"): "Ignore"},
            {(*_SPLIT, "field"): "plan", (*_FIELDS, 1, "role"): "Ignore", ("schema", "mode"): "Infer"},
        ],
        "every column of split.groupBy must be in schema.fields": [
            {(*_SPLIT, "groupBy"): ["ghost"]},
            {(*_SPLIT, "groupBy"): ["plan", "ghost"], ("schema", "mode"): "AllowNewFields"},
        ],
        "a column of split.groupBy must not have role Ignore or Label": [
            {(*_SPLIT, "groupBy"): ["plan", "churned"]},
            {(*_SPLIT, "groupBy"): ["plan"], (*_FIELDS, 1, "role"): "Ignore", ("schema", "mode"): "Infer"},
        ],
        "erasure.field must be in schema.fields, with role Id and type String, Category or Int64": [
            {("erasure", "field"): "ghost"},
            {("erasure", "field"): "plan"},
            {(*_FIELDS, 3, "role"): "Sensitive"},
            {(*_FIELDS, 3, "type"): "Float64"},
        ],
        "a key of ids is the digest of an Id, never the Id: `millrace erasure` makes it": [
            {("erasure", "ids"): {"alice@example.com": "DSR-1042"}},
            {("erasure", "ids"): {seeds.ID_DIGEST.upper(): ""}},
            {("erasure", "ids"): {f"{seeds.ID_DIGEST}0": ""}},
        ],
    },
    ("Dataset", "small"): {
        "csv is for format CSV: remove it, or set format: CSV": [{("format",): "Parquet"}],
        "delimiter must be neither the quote nor the decimal mark": [
            {("csv", "delimiter"): ","},
            {("csv",): {"delimiter": ".", "decimal": "."}},
        ],
        "Stratified needs field": [{(*_SPLIT, "method"): "Stratified"}],
        "Time takes no groupBy, as a group has old rows and new ones: remove it, or set method: Random": [
            {(*_SPLIT, "method"): "Time"},
            {(*_SPLIT, "method"): "Time", (*_SPLIT, "field"): "year"},
        ],
        "Time needs an event time: name a column, or give one role EventTime in schema.fields": [
            {_SPLIT: _TIME},
            {_SPLIT: _TIME, (*_FIELDS,): _LABELS[:1]},
        ],
        "set min, max or both": [{("validation",): {"rules": [{"name": "r", "rowCount": {}}]}}],
    },
    ("TrainingRun", "full"): {
        "a request must not exceed its limit": [
            {("trainer", "resourcesPerNode"): {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}},
            {("trainer", "resourcesPerNode", "requests", "memory"): "513Mi"},
        ],
        "a resource is cpu, memory, ephemeral-storage or an extended one such as nvidia.com/gpu": [
            {("trainer", "resourcesPerNode"): {"limits": {"gpu": "1"}}},
            {("trainer", "resourcesPerNode"): {"requests": {"Memory": "1Gi"}}},
        ],
        "an extended resource such as nvidia.com/gpu is counted in whole numbers": [
            {("trainer", "resourcesPerNode", "limits", "nvidia.com/gpu"): "500m"},
            {("trainer", "resourcesPerNode"): {"limits": {"example.com/fpga": "1.5"}}},
        ],
        "an extended resource such as nvidia.com/gpu has equal requests and limits: set limits alone": [
            {("trainer", "resourcesPerNode"): {"requests": {"nvidia.com/gpu": "1"}}},
            {("trainer", "resourcesPerNode"): {"requests": {"a.b/c": "1"}, "limits": {"a.b/c": "2"}}},
        ],
        "set min, max or both": [
            {(*_GATES, 0, "threshold"): {}},
            {(*_GATES, 1): {"name": "none", "metric": "brier", "threshold": {}}},
        ],
        "min must not exceed max": [
            {(*_GATES, 0, "threshold", "max"): 0.05},
            {(*_GATES, 0, "threshold", "min"): 1e300},
        ],
        "exactly one of maxRegression, minImprovement is required": [
            {(*_GATES, 1, "baseline"): {}},
            {(*_GATES, 1, "baseline"): _TWO},
        ],
        "exactly one of threshold, baseline is required": [
            {(*_GATES, 0, "threshold"): ABSENT},
            {(*_GATES, 0, "baseline"): _BASELINE},
        ],
        "every gate's metric must be listed in evaluation.metrics": [
            {(*_GATES, 0, "metric"): "accuracy"},
            {("evaluation", "metrics"): ["roc_auc"]},
        ],
        "evaluation.metrics must suit trainer.builtin.task: roc_auc, accuracy, f1, log_loss, brier for "
        "Classification; rmse, mae, r2 for Regression": [
            {("trainer", "builtin", "task"): "Regression"},
            {("evaluation", "metrics"): ["roc_auc", "log_loss", "brier", "rmse"]},
        ],
    },
    ("Model", "full"): {
        "an approval must name this artifact's digest (spec.artifact.digest)": [
            {(*_APPROVALS, 0, "digest"): seeds.OTHER_DIGEST},
            {("artifact", "digest"): seeds.OTHER_DIGEST},
        ],
    },
    ("Deployment", "full"): {
        "a request must not exceed its limit": [
            {("server", "resources", "limits", "cpu"): "249m"},
            {("server", "resources", "requests", "memory"): "1Ti"},
        ],
        "a resource is cpu, memory, ephemeral-storage or an extended one such as nvidia.com/gpu": [
            {("server", "resources", "limits", "disk"): "1"},
            {("server", "resources", "requests", "requests.a.b/c"): "1"},
        ],
        "an extended resource such as nvidia.com/gpu is counted in whole numbers": [
            {("server", "resources", "limits", "nvidia.com/gpu"): text} for text in ("1m", "0.25")
        ],
        "an extended resource such as nvidia.com/gpu has equal requests and limits: set limits alone": [
            {("server", "resources", "requests", "nvidia.com/gpu"): "2"},
            {("server", "resources", "requests", "example.com/fpga"): "1"},
        ],
        "an ErrorRate is a fraction: thresholdRange.max must be below 1": [
            {(*_DEEP, "metrics", 0, "thresholdRange", "max"): 1},
            {(*_CANARY, "analysis", "metrics", 0, "thresholdRange", "max"): 100},
        ],
        "exactly one of thresholdRange, compare is required": [
            {(*_DEEP, "metrics", 0, "thresholdRange"): ABSENT},
            {(*_CANARY, "analysis", "metrics", 0, "compare"): {"maxIncrease": 0.5}},
        ],
        "compare is for ErrorRate: give LatencyP95 a thresholdRange": [
            {(*_CANARY, "analysis", "metrics", 2, "builtin"): "LatencyP95"},
            {(*_DEEP, "metrics", 1, "builtin"): "LatencyP95"},
        ],
        "a canary is compared with stable: give it a setWeight from 1 to 99 before one of 100, "
        "or set disableDefaults: [ErrorRate]": [
            {(*_CANARY, "disableDefaults"): [], (*_CANARY, "steps", 0, "setWeight"): 100},
            {(*_CANARY, "disableDefaults"): ABSENT, (*_CANARY, "steps"): [{"pause": {"duration": "1m"}}]},
        ],
        "progressDeadline must be at least 1s": [
            {("strategy", "progressDeadline"): "0s"},
            {("strategy", "progressDeadline"): "999ms"},
        ],
        "maxDuration must be at least 1s": [
            {(*_DEEP, "maxDuration"): "0s"},
            {(*_CANARY, "analysis", "maxDuration"): "10ms"},
        ],
        "exactly one of setWeight, pause, analysis is required": [
            {(*_CANARY, "steps", 0): {}},
            {(*_CANARY, "steps", 0, "pause"): {"duration": "1m"}},
        ],
        "an analysis step needs a setWeight above 0 before it: a canary without traffic has no data": [
            {(*_CANARY, "steps", 0, "setWeight"): 0},
            {(*_CANARY, "steps"): [{"analysis": seeds.analysis(seeds.ERRORS)}, {"setWeight": 5}]},
        ],
        "interval must be at least 1s": [{("monitoring", "drift", "interval"): text} for text in ("0m", "999ms")],
        "exactly one of modelRef, modelSelector is required": [
            {("modelRef",): {"name": seeds.MODEL}},
            {("modelSelector",): ABSENT, _RETRAIN: ABSENT},
        ],
        "a drift trigger needs monitoring.drift": [
            {("monitoring",): ABSENT},
            {("monitoring",): ABSENT, ("actions",): ABSENT},
        ],
        "retraining needs modelSelector: a pinned modelRef would never serve the new model": [
            {("modelSelector",): ABSENT, ("modelRef",): {"name": seeds.MODEL}},
            {("modelSelector",): ABSENT, ("modelRef",): {"name": "other-2"}, ("replicas",): 2},
        ],
    },
}


def known() -> Iterator[Violation]:
    """All of them."""
    for (kind, seed), broken in _BROKEN.items():
        for rule, tries in broken.items():
            for changes in tries:
                yield Violation(kind, seed, rule, changes)
