"""Values for a place, from its schema: ones that it allows, and ones that it forbids."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from . import oracle, schema
from .schema import Node

OTHERS: dict[str, Any] = {"string": "text", "integer": 7, "boolean": True, "object": {"a": "b"}, "array": ["a"]}
ALIKE = {"number": "integer"}
EARLIEST, LATEST = datetime(1970, 1, 1), datetime(2199, 1, 1)  # noqa: DTZ001 - as Hypothesis wants them
RESOURCES = ("cpu", "memory", "ephemeral-storage", "nvidia.com/gpu", "example.com/fpga")


def strategy(node: Node) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - a table
    """Values that the structure allows. CEL rules are asked later."""
    if "enum" in node:
        return st.sampled_from(node["enum"])
    match node["type"]:
        case "string":
            return _strings(node)
        case "integer":
            return st.integers(node["minimum"], node["maximum"])
        case "number":
            return _numbers(node)
        case "boolean":
            return st.booleans()
        case "array":
            return _arrays(node)
        case _:
            return _objects(node)


def _strings(node: Node) -> st.SearchStrategy[str]:
    longest = node["maxLength"]
    if node.get("format") == "date-time":
        return st.datetimes(EARLIEST, LATEST).map(lambda t: f"{t:%Y-%m-%dT%H:%M:%S}Z")
    if "pattern" in node:
        made = st.from_regex(re.compile(oracle.anchored(node["pattern"])))
        return made.filter(lambda text: node.get("minLength", 0) <= len(text) <= longest)
    return st.text(min_size=node.get("minLength", 0), max_size=min(longest, 64))


def _numbers(node: Node) -> st.SearchStrategy[float]:
    return st.floats(
        node.get("minimum"),
        node.get("maximum"),
        exclude_min=bool(node.get("exclusiveMinimum")),
        exclude_max=bool(node.get("exclusiveMaximum")),
        allow_nan=False,
        allow_infinity=False,
    )


def _arrays(node: Node) -> st.SearchStrategy[list[Any]]:
    unique: Callable[[Any], str] | None = None
    if node[schema.LIST] == "set":
        unique = json.dumps
    elif node[schema.LIST] == "map":
        keys = node["x-kubernetes-list-map-keys"]
        unique = lambda item: json.dumps([item[key] for key in keys])  # noqa: E731 - as short as its twin
    least = node.get("minItems", 0)
    return st.lists(
        strategy(node["items"]), min_size=least, max_size=min(node["maxItems"], least + 3), unique_by=unique
    )


def _objects(node: Node) -> st.SearchStrategy[dict[str, Any]]:
    if "additionalProperties" in node:
        names = st.sampled_from(RESOURCES) if "pattern" in node["additionalProperties"] else st.text(max_size=40)
        return st.dictionaries(names, strategy(node["additionalProperties"]), max_size=min(node["maxProperties"], 4))
    required = node.get("required", ())
    known = {name: strategy(below) for name, below in node["properties"].items()}
    return st.fixed_dictionaries(
        {name: made for name, made in known.items() if name in required},
        optional={name: made for name, made in known.items() if name not in required},
    )


def draw(made: st.SearchStrategy[Any], count: int, seed: int) -> list[Any]:
    """At most `count` different values; the same for the same seed."""
    found: list[Any] = []

    @hypothesis.seed(seed)
    @settings(
        max_examples=2 * count + 2,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @hypothesis.given(made)
    def collect(value: Any) -> None:
        if len(found) < count and value not in found:
            found.append(value)

    try:
        collect()
    except hypothesis.errors.Unsatisfiable:
        return found
    return found


def is_closed(node: Node) -> bool:
    """Whether `edges` has all values there are."""
    return "enum" in node or node["type"] == "boolean"


def edges(node: Node) -> Iterator[Any]:
    """Values that the structure only just allows."""
    if "enum" in node:
        yield from node["enum"]
        return
    match node["type"]:
        case "integer":
            yield from (node["minimum"], node["maximum"])
        case "number":
            yield from _outermost(node)
        case "boolean":
            yield from (True, False)
        case "string" if "pattern" not in node and "format" not in node:
            yield "x" * node["maxLength"]
            yield "ä 日本 \U0001f600 \"'\\\n"[: node["maxLength"]]


def _outermost(node: Node) -> Iterator[float]:
    lowest, highest = node.get("minimum", -1e300), node.get("maximum", 1e300)
    yield math.nextafter(lowest, math.inf) if node.get("exclusiveMinimum") else lowest
    yield math.nextafter(highest, -math.inf) if node.get("exclusiveMaximum") else highest


def wrong(node: Node, value: Any) -> Iterator[tuple[str, Any]]:
    """(fault, value) pairs that the schema forbids in place of `value`."""
    own = ALIKE.get(node["type"], node["type"])
    for kind, other in OTHERS.items():
        if kind != own:
            yield "wrong type", other
    match node["type"]:
        case "string":
            yield from _wrong_strings(node, value)
        case "integer" | "number":
            yield from _wrong_numbers(node)
        case "array":
            yield from _wrong_lists(node, value)
        case "object":
            yield from _wrong_objects(node, value)


def _wrong_strings(node: Node, value: str) -> Iterator[tuple[str, Any]]:
    if "enum" in node:
        for text in ("", "Other", value.swapcase(), f"{value} "):
            if text not in node["enum"]:
                yield "not in the enum", text
        return
    if "pattern" in node:
        tried = ("", "!", f" {value}", f"{value}\n", f"{value} ", f"{value}!", value[:-1] + "\u00e4")
        yield from (("pattern", text) for text in tried if set(oracle._string(node, text)) & {"pattern", "too short"})
    if "format" not in node:
        yield "too long", (value + "a" * node["maxLength"])[: node["maxLength"] + 1]
    else:
        yield "not a time", "2026-02-30T09:00:00Z"
        yield "pattern", "2026-11-20T09:00:00+02:00"
    if node.get("minLength"):
        yield "too short", ""


def _wrong_numbers(node: Node) -> Iterator[tuple[str, Any]]:
    step = 1 if node["type"] == "integer" else 0.5
    if "minimum" in node:
        lowest = node["minimum"]
        yield "too small", lowest if node.get("exclusiveMinimum") else lowest - step
        yield "too small", lowest - 10**15
    if "maximum" in node:
        highest = node["maximum"]
        yield "too large", highest if node.get("exclusiveMaximum") else highest + step
        yield "too large", highest * 2 + 10**6
    if node["type"] == "integer":
        yield "wrong type", node["minimum"] + 0.5
    yield "wrong type", "1"


def _wrong_lists(node: Node, value: list[Any]) -> Iterator[tuple[str, Any]]:
    item = value[0] if value else "a"
    yield "too many", [item] * (node["maxItems"] + 1)
    if node.get("minItems"):
        yield "too few", []
    if value and node[schema.LIST] in ("map", "set"):
        yield "twice", [*value, value[-1]]


def _wrong_objects(node: Node, value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    if "additionalProperties" in node:
        item = next(iter(value.values()), "1")
        yield "too many", {f"example.com/{number}": item for number in range(node["maxProperties"] + 1)}
        return
    yield "unknown field", {**value, "surplus": 1}
    for name, item in [*value.items()][:1]:
        yield "unknown field", {**value, name[:1].upper() + name[1:]: item}
    for name in node.get("required", ()):
        yield "missing", {key: item for key, item in value.items() if key != name}
