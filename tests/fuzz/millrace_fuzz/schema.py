"""The CRDs as files, places in an object, and copies of objects with one place changed."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
Node = dict[str, Any]
Place = tuple[str | int, ...]

ROOT = Path(__file__).parents[3]
PLURALS = {"Dataset": "datasets", "TrainingRun": "trainingruns", "Model": "models", "Deployment": "deployments"}
KINDS = tuple(PLURALS)
RULES = "x-kubernetes-validations"
LIST = "x-kubernetes-list-type"


@functools.cache
def root(kind: str) -> Node:
    """The schema of a whole object of that kind, as the API server is given it."""
    crd = yaml.safe_load((ROOT / "crds" / f"millrace.dev_{PLURALS[kind]}.yaml").read_text())
    found: Node = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def spec(kind: str) -> Node:
    """The schema of the spec."""
    found: Node = root(kind)["properties"]["spec"]
    return found


def spelled(place: Place) -> str:
    """The place as the API server writes it: `spec.schema.fields[0].name`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")


def generic(place: Place) -> str:
    """The place without positions: `spec.schema.fields[].name`."""
    return re.sub(r"\[\d+\]", "[]", spelled(place))


def at(value: Any, place: Place) -> Any:
    """What stands there."""
    for part in place:
        value = value[part]
    return value


def with_value(value: Manifest, place: Place, new: Any) -> Manifest:
    """A copy with another value there."""
    changed = copy.deepcopy(value)
    at(changed, place[:-1])[place[-1]] = copy.deepcopy(new)
    return changed


def without(value: Manifest, place: Place) -> Manifest:
    """A copy with nothing there."""
    changed = copy.deepcopy(value)
    del at(changed, place[:-1])[place[-1]]
    return changed


def child(node: Node, part: str | int) -> Node:
    """The schema one step further down."""
    if node["type"] == "array":
        found: Node = node["items"]
    else:
        found = node["properties"][part] if "properties" in node else node["additionalProperties"]
    return found


def down(node: Node, place: Place) -> Node:
    """The schema at a place below."""
    for part in place:
        node = child(node, part)
    return node


def walk(node: Node, value: Any, place: Place = ()) -> Iterator[tuple[Place, Node, Any]]:
    """Every place of a value with its schema, the value itself first."""
    yield place, node, value
    if isinstance(value, list):
        for position, item in enumerate(value):
            yield from walk(node["items"], item, (*place, position))
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from walk(child(node, name), item, (*place, name))


def fields(node: Node, path: str = "spec") -> Iterator[tuple[str, Node]]:
    """Every field of a schema, positions left out, with its schema; values of maps and items of lists included."""
    yield path, node
    for name, below in node.get("properties", {}).items():
        yield from fields(below, f"{path}.{name}")
    if "items" in node:
        yield from fields(node["items"], f"{path}[]")
    if "additionalProperties" in node:
        yield from fields(node["additionalProperties"], f"{path}.*")


def is_leaf(node: Node) -> bool:
    """Whether it is a scalar."""
    return node["type"] not in ("object", "array")


def defaulted(node: Node, value: Any) -> Any:
    """The value as the API server sees it after defaulting (and dropping nulls that have no default)."""
    if isinstance(value, dict) and node.get("type") == "object":
        known = node.get("properties", {})
        kept = {name: item for name, item in value.items() if item is not None}
        for name, below in known.items():
            if name not in kept and "default" in below:
                kept[name] = copy.deepcopy(below["default"])
        more = node.get("additionalProperties", {})
        return {name: defaulted(known.get(name, more), item) for name, item in kept.items()}
    if isinstance(value, list) and "items" in node:
        return [defaulted(node["items"], item) for item in value]
    return value
