"""How a Dataset may be read and divided: changes to its sample that a rule refuses, and some that none does."""

from __future__ import annotations

from typing import Any

TIME = {"method": "Time"}
_FIELD, _GROUPS, _FRACTIONS = "spec.split.field", "spec.split.groupBy", "spec.split.fractions"

REFUSED: list[tuple[str, str, str, dict[str, Any]]] = [
    ("spec.split", "fractions must add up to 1", _FRACTIONS, {f"{_FRACTIONS}.train": 0.7}),
    ("spec.split", "fractions must add up to 1", _FRACTIONS, {f"{_FRACTIONS}.train": 0.9}),
    (
        "spec.split", "train and test fractions must be above 0", _FRACTIONS,
        {_FRACTIONS: {"train": 0.9, "validation": 0.1, "test": 0}},
    ),
    ("spec.split", "Random takes no field", _FIELD, {"spec.split.method": "Random"}),
    ("spec.split", "Time takes no groupBy", _GROUPS, {"spec.split": {**TIME, "field": "tenure", "groupBy": ["plan"]}}),
    (
        "spec.schema.fields[]", "role EventTime needs type Timestamp or a number", "spec.schema.fields[4].type",
        {"spec.schema.fields[4].role": "EventTime"},
    ),
    (
        "spec.schema", "at most one field may have role EventTime", "spec.schema.fields",
        {"spec.schema.fields[1].role": "EventTime", "spec.schema.fields[2].role": "EventTime"},
    ),
    ("spec", "Time needs an event time", _FIELD, {"spec.split": TIME}),
    ("spec", "Time needs an event time", _FIELD, {"spec.schema": {"mode": "Infer"}, "spec.split": TIME}),
    *(
        ("spec", "Time needs a Timestamp or a number", _FIELD, {"spec.split": {**TIME, "field": field}})
        for field in ("plan", "churned")
    ),
    ("spec", "split.field must be in schema.fields", _FIELD, {_FIELD: "ghost"}),
    (
        "spec", "split.field must be in schema.fields", _FIELD,
        {"spec.split": {**TIME, "field": "ghost"}, "spec.schema.mode": "AllowNewFields"},
    ),
    ("spec", "split.field must not have role Ignore", _FIELD, {_FIELD: "joined", "spec.schema.mode": "Infer"}),
    ("spec", "every column of split.groupBy must be in schema.fields", _GROUPS, {_GROUPS: ["household", "ghost"]}),
    *(
        (
            "spec", "a column of split.groupBy must not have role Ignore or Label", _GROUPS,
            {_GROUPS: ["household", column], "spec.schema.mode": mode},
        )
        for column in ("joined", "churned") for mode in ("Strict", "Infer")
    ),
]  # fmt: skip

UNREADABLE: list[tuple[str, str, str, dict[str, Any]]] = [
    ("spec", "csv is for format CSV", "spec.csv", {"spec.csv": {"delimiter": ";"}}),
    (
        "spec.csv", "delimiter must be neither", "spec.csv.delimiter",
        {"spec.format": "CSV", "spec.csv": {"delimiter": ",", "decimal": ","}},
    ),
]  # fmt: skip
"""Where the rule is, how its message begins, the path reported, and the changes."""

ACCEPTED: list[dict[str, Any]] = [
    {"spec.split": {**TIME, "field": "tenure"}},
    {"spec.split": TIME, "spec.schema.fields[1].role": "EventTime"},
    {"spec.split": {**TIME, "field": "anything"}, "spec.schema": {"mode": "Infer"}, "spec.erasure": None},
    {"spec.split": {"groupBy": ["household", "plan"]}},
    {"spec.split": {"groupBy": ["anything"]}, "spec.schema": {"mode": "Infer"}, "spec.erasure": None},
    {"spec.split": {"method": "Stratified", "field": "plan", "groupBy": ["customer_id"]}},
]
