"""What must be refused, by the schema alone: read and checked here, never asked of the API server.

A finding is a place and what is wrong there. No finding: the object is valid and must be accepted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from . import rules, schema
from .schema import Node, Place

Finding = tuple[str, str]
"""(place as the API server spells it, what is wrong)."""

TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,), "boolean": (bool,), "integer": (int,), "number": (int, float), "object": (dict,),
    "array": (list,),
}  # fmt: skip


def findings(kind: str, spec: Any, old: Any = None) -> list[Finding]:
    """What is wrong with a spec, and with the step from `old` to it. Rules are asked once the structure is right."""
    node = schema.spec(kind)
    now = schema.defaulted(node, spec)
    found = list(_structure(node, now, ("spec",)))
    if not found:
        before = schema.defaulted(node, old) if old is not None else None
        found = list(_ruled(node, now, before, ("spec",)))
    return found


def _structure(node: Node, value: Any, place: Place) -> Iterator[Finding]:
    where = schema.spelled(place)
    if not isinstance(value, TYPES[node["type"]]) or (isinstance(value, bool) and node["type"] != "boolean"):
        yield where, "wrong type"
        return
    if "enum" in node and value not in node["enum"]:
        yield where, "not in the enum"
    match value:
        case dict():
            yield from _object(node, value, place)
        case list():
            yield from _array(node, value, place)
        case str():
            yield from ((where, why) for why in _string(node, value))
        case int() | float() if not isinstance(value, bool):
            yield from ((where, why) for why in _number(node, value))


def _object(node: Node, value: dict[str, Any], place: Place) -> Iterator[Finding]:
    known = node.get("properties", {})
    if len(value) > node.get("maxProperties", len(value)):
        yield schema.spelled(place), "too many"
    for name in node.get("required", ()):
        if name not in value:
            yield schema.spelled((*place, name)), "missing"
    for name, item in value.items():
        if name in known or "additionalProperties" in node:
            yield from _structure(schema.child(node, name), item, (*place, name))
        else:
            yield schema.spelled((*place, name)), "unknown field"


def _array(node: Node, value: list[Any], place: Place) -> Iterator[Finding]:
    if not node.get("minItems", 0) <= len(value) <= node["maxItems"]:
        yield schema.spelled(place), "too many" if value else "too few"
    seen = set()
    for position, item in enumerate(value):
        here = (*place, position)
        yield from _structure(node["items"], item, here)
        identity = _identity(node, item)
        if identity is not None and identity in seen:
            yield schema.spelled(here), "twice"
        seen.add(identity)


def _identity(node: Node, item: Any) -> str | None:
    if node[schema.LIST] == "set":
        return json.dumps(item, sort_keys=True)
    if node[schema.LIST] == "map" and isinstance(item, dict):
        return json.dumps([item.get(key) for key in node["x-kubernetes-list-map-keys"]])
    return None


def _string(node: Node, value: str) -> Iterator[str]:
    if not node.get("minLength", 0) <= len(value) <= node.get("maxLength", len(value)):
        yield "too long" if value else "too short"
    if "pattern" in node and not re.search(anchored(node["pattern"]), value):
        yield "pattern"
    if node.get("format") == "date-time" and not _is_time(value):
        yield "not a time"


def anchored(pattern: str) -> str:
    """In Python `$` also matches before a last newline; in Go it does not."""
    return pattern.removesuffix("$") + r"\Z" if pattern.endswith("$") else pattern


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(re.sub(r"\.[0-9]+", "", text))
    except ValueError:
        return False
    return True


def _number(node: Node, value: float) -> Iterator[str]:
    lowest, highest = node.get("minimum"), node.get("maximum")
    if lowest is not None and (value < lowest or (value == lowest and node.get("exclusiveMinimum"))):
        yield "too small"
    if highest is not None and (value > highest or (value == highest and node.get("exclusiveMaximum"))):
        yield "too large"


def _ruled(node: Node, value: Any, old: Any, place: Place) -> Iterator[Finding]:
    for rule in node.get(schema.RULES, ()):
        if not _holds(rule["message"], value, old):
            yield schema.spelled(place) + rule.get("fieldPath", ""), rule["message"]
    if isinstance(value, dict):
        for name, item in value.items():
            before = old.get(name) if isinstance(old, dict) else None
            yield from _ruled(schema.child(node, name), item, before, (*place, name))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _ruled(node["items"], item, None, (*place, position))


def _holds(message: str, value: Any, old: Any) -> bool:
    if message in rules.TRANSITIONS:
        return old is None or rules.TRANSITIONS[message](value, old)
    return rules.STATES[message](value)
