"""Every sample with one field wrong is refused, and the message says which field.

The wrong objects are made from the schema itself, so that a new field is tested the day it is written.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from millrace.api import crds

Manifest = dict[str, Any]
Path_ = tuple[str | int, ...]

ROOT = Path(__file__).parents[2]
SCHEMAS = {
    crd["spec"]["names"]["kind"]: crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    for crd in crds.render_all().values()
}
OTHER_TYPE = {"string": 7, "integer": "seven", "number": "seven", "boolean": "yes", "object": "text", "array": "text"}


@dataclass(frozen=True)
class Wrong:
    """A sample with one thing wrong, and how the API server must name it."""

    sample: str
    fault: str
    path: str
    manifest: Manifest


def load(path: Path) -> Manifest:
    manifest: Manifest = yaml.safe_load(path.read_text())
    if manifest["kind"] == "Model":
        # As somebody has approved it: decisions are fields too.
        digest = manifest["spec"]["artifact"]["digest"]
        manifest["spec"]["approvals"] = [
            {"user": "maker", "decision": "Approve", "digest": digest, "comment": "y", "time": "2026-11-20T09:00:00Z"}
        ]
    return manifest


SAMPLES = {
    path.stem: load(path)
    for path in sorted((ROOT / "manifests" / "samples").glob("*.yaml"))
    if not path.name.endswith(".patch.yaml")
}


def spelled(path: Path_) -> str:
    """The path as the API server writes it: `spec.schema.fields[0].name`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def at(manifest: Manifest, path: Path_) -> Any:
    for part in path:
        manifest = manifest[part]  # type: ignore[index]
    return manifest


def with_value(manifest: Manifest, path: Path_, value: Any) -> Manifest:
    changed = copy.deepcopy(manifest)
    at(changed, path[:-1])[path[-1]] = value
    return changed


def without(manifest: Manifest, path: Path_) -> Manifest:
    changed = copy.deepcopy(manifest)
    del at(changed, path[:-1])[path[-1]]
    return changed


def nodes(schema: Manifest, value: Any, path: Path_) -> Iterator[tuple[Path_, Manifest, Any]]:
    """Every place of an object with its schema and its value, the object itself included."""
    yield path, schema, value
    if schema["type"] == "array":
        for position, item in enumerate(value):
            yield from nodes(schema["items"], item, (*path, position))
    elif "additionalProperties" in schema:
        for name, item in value.items():
            yield from nodes(schema["additionalProperties"], item, (*path, name))
    elif schema["type"] == "object":
        for name, item in value.items():
            yield from nodes(schema["properties"][name], item, (*path, name))


def bad_strings(schema: Manifest) -> Iterator[tuple[str, Any]]:
    if "enum" in schema:
        yield "not in the enum", "Other"
        return
    if "pattern" in schema:
        yield "pattern", next(bad for bad in ("!", "a\x07") if not re.search(schema["pattern"], bad))
    if "maxLength" in schema and "format" not in schema:
        yield "too long", "a" * (schema["maxLength"] + 1)
    if schema.get("minLength"):
        yield "too short", ""
    if schema.get("format") == "date-time":
        yield "not a time", "yesterday"
        yield "not in UTC", "2026-11-20T09:00:00+02:00"


def bad_numbers(schema: Manifest) -> Iterator[tuple[str, Any]]:
    step = 1 if schema["type"] == "integer" else 0.5
    if "minimum" in schema:
        yield "too small", schema["minimum"] if schema.get("exclusiveMinimum") else schema["minimum"] - step
    if "maximum" in schema:
        yield "too large", schema["maximum"] if schema.get("exclusiveMaximum") else schema["maximum"] + step
    if schema["type"] == "integer":
        yield "not whole", 1.5


def bad_lists(schema: Manifest, value: list[Any]) -> Iterator[tuple[str, Any]]:
    item = value[0] if value else "a"
    yield "too many", [item] * (schema["maxItems"] + 1)
    if schema.get("minItems"):
        yield "too few", []


def bad_values(schema: Manifest, value: Any) -> Iterator[tuple[str, Any]]:
    """Values in place of this one that the schema forbids at this very place."""
    yield "wrong type", OTHER_TYPE[schema["type"]]
    if schema["type"] == "string":
        yield from bad_strings(schema)
    elif schema["type"] in ("integer", "number"):
        yield from bad_numbers(schema)
    elif schema["type"] == "array":
        yield from bad_lists(schema, value)
    elif "maxProperties" in schema:
        example = next(iter(value.values()))
        yield "too many", {f"example.com/{number}": example for number in range(schema["maxProperties"] + 1)}


def wrong_objects(name: str, sample: Manifest) -> Iterator[Wrong]:
    schema = SCHEMAS[sample["kind"]]["spec"]
    for path, node, value in nodes(schema, sample["spec"], ("spec",)):
        for fault, bad in bad_values(node, value):
            yield Wrong(name, fault, spelled(path), with_value(sample, path, bad))
        if "properties" in node:
            surplus = (*path, "surplus")
            yield Wrong(name, "unknown field", spelled(surplus), with_value(sample, surplus, 1))
            for required in node.get("required", ()):
                yield Wrong(name, "missing", spelled((*path, required)), without(sample, (*path, required)))
        if node.get("x-kubernetes-list-type") in ("map", "set") and value:
            twice = (*path, len(value))
            doubled = with_value(sample, path, [*value, value[0]])
            yield Wrong(name, "twice", spelled(twice), doubled)
    yield Wrong(name, "missing", "spec", without(sample, ("spec",)))


WRONG = [wrong for name, sample in SAMPLES.items() for wrong in wrong_objects(name, sample)]


@pytest.mark.parametrize("wrong", WRONG, ids=[f"{w.sample}-{w.path}-{w.fault}" for w in WRONG])
def test_one_wrong_field_is_refused_by_its_path(wrong: Wrong, api: Any) -> None:
    answer = api.create(wrong.manifest, dry_run=True)
    assert answer.code in (400, 422), f"accepted, or refused otherwise: {answer.code} {answer.message}"
    named = re.compile(rf'(^|[\s"*\[]){re.escape(wrong.path)}([\s":,]|$)')
    assert named.search(answer.message), answer.message


def optional_places(schema: Manifest, path: str) -> Iterator[str]:
    """Every field below, positions left out."""
    for name, node in schema.get("properties", {}).items():
        yield f"{path}.{name}"
        yield from optional_places(node, f"{path}.{name}")
        yield from optional_places(node.get("items", {}), f"{path}.{name}[]")


@pytest.mark.parametrize("kind", SCHEMAS)
def test_the_samples_together_use_every_field(kind: str) -> None:
    used = {
        re.sub(r"\[\d+\]", "[]", spelled(path))
        for sample in SAMPLES.values()
        if sample["kind"] == kind
        for path, _, _ in nodes(SCHEMAS[kind]["spec"], sample["spec"], ("spec",))
    }
    assert sorted(set(optional_places(SCHEMAS[kind]["spec"], "spec")) - used) == []


def test_no_name_or_value_is_a_boolean_to_yaml() -> None:
    """`on:` is the key True in YAML 1.1, and `policy: off` the value False."""
    spellings = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "~"}

    def words(schema: Manifest) -> Iterator[str]:
        for name, node in schema.get("properties", {}).items():
            yield name
            yield from words(node)
            yield from words(node.get("items", {}))
            if "properties" in node or "items" in node or node.get("enum") != ["True", "False", "Unknown"]:
                yield from node.get("enum", ())

    found = {word for schema in SCHEMAS.values() for part in ("spec", "status") for word in words(schema[part])}
    assert {word for word in found if word.lower() in spellings} == set()
