"""Our kinds as the API server knows them: defaults, unknown fields, and what the OpenAPI schema refuses.

CEL rules are not evaluated; the immutable fields among them are in `admission`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from millrace.api import crds

from . import types

Schema = Mapping[str, Any]
_pattern = functools.lru_cache(maxsize=1024)(re.compile)


@dataclass(frozen=True)
class Definition:
    """One of our kinds."""

    schema: Schema
    type: types.Type


@functools.cache
def definitions() -> Mapping[str, Definition]:
    """By kind."""
    found = {}
    for crd in crds.render_all().values():
        schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        properties = {name: types.from_schema(one) for name, one in schema["properties"].items()}
        merge = types.Type(fields={**properties, "metadata": types.METADATA})
        found[crd["spec"]["names"]["kind"]] = Definition(schema, merge)
    return found


def with_defaults(value: Any, schema: Schema) -> Any:
    """The value with what its schema adds. Shares what needs nothing."""
    kind = schema.get("type")
    if kind == "object" and isinstance(value, dict):
        return _object_with_defaults(value, schema)
    if kind == "array" and isinstance(value, list):
        items = schema["items"]
        return [with_defaults(one, items) for one in value] if items.get("type") in {"object", "array"} else value
    return value


def _object_with_defaults(value: dict[str, Any], schema: Schema) -> dict[str, Any]:
    made = value
    for name, one in (schema.get("properties") or {}).items():
        if name in value:
            filled = with_defaults(value[name], one)
        elif "default" in one:
            filled = with_defaults(one["default"], one)
        else:
            continue
        if filled is not value.get(name) or name not in value:
            made = made if made is not value else dict(value)
            made[name] = filled
    return made


def unknown(value: Any, schema: Schema, path: str = "") -> Iterator[str]:
    """Paths that the schema does not know."""
    if isinstance(value, dict):
        properties, extra = schema.get("properties"), schema.get("additionalProperties")
        if properties is None and extra is None:
            return  # metadata
        for name, one in value.items():
            below = (properties or {}).get(name) or (extra if isinstance(extra, Mapping) else None)
            here = f"{path}.{name}" if path else name
            if below is None:
                yield here
            else:
                yield from unknown(one, below, here)
    elif isinstance(value, list) and "items" in schema:
        for position, one in enumerate(value):
            yield from unknown(one, schema["items"], f"{path}[{position}]")


def pruned(value: Any, schema: Schema) -> Any:
    """The value without what its schema does not know."""
    if isinstance(value, dict):
        properties, extra = schema.get("properties"), schema.get("additionalProperties")
        if properties is None and extra is None:
            return value  # metadata
        known = properties or {}
        rest: Schema = extra if isinstance(extra, Mapping) else {}
        kept = ((name, one, known.get(name) or rest) for name, one in value.items())
        return {name: pruned(one, below) for name, one, below in kept if below}
    if isinstance(value, list) and "items" in schema:
        return [pruned(one, schema["items"]) for one in value]
    return value


def refusals(value: Any, schema: Schema, path: str = "") -> Iterator[str]:
    """Why the schema refuses the value, a line each."""
    kind = schema.get("type")
    if "enum" in schema and value not in schema["enum"]:
        yield f'{path}: Unsupported value: "{value}"'
    if kind == "object":
        yield from _object_refusals(value, schema, path)
    elif kind == "array":
        yield from _list_refusals(value, schema, path)
    elif kind == "string":
        yield from _string_refusals(value, schema, path)
    elif kind in {"integer", "number"}:
        yield from _number_refusals(value, schema, path)
    elif kind == "boolean" and not isinstance(value, bool):
        yield _mistyped(path, "boolean", value)


def _mistyped(path: str, wanted: str, value: object) -> str:
    return f'{path}: Invalid value: "{type(value).__name__}": {path} in body must be of type {wanted}'


def _object_refusals(value: Any, schema: Schema, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield _mistyped(path, "object", value)
        return
    for name in schema.get("required") or ():
        if name not in value:
            yield f"{path}.{name}: Required value".lstrip(".")
    properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
    if len(value) > schema.get("maxProperties", len(value)):
        yield f"{path}: Too many: {len(value)}"
    for name, one in value.items():
        below = properties.get(name) or (extra if isinstance(extra, Mapping) else None)
        if below is not None:
            yield from refusals(one, below, f"{path}.{name}" if path else name)


def _list_refusals(value: Any, schema: Schema, path: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield _mistyped(path, "array", value)
        return
    if len(value) > schema.get("maxItems", len(value)):
        yield f"{path}: Too many: {len(value)}: must have at most {schema['maxItems']} items"
    if len(value) < schema.get("minItems", 0):
        yield f"{path}: Invalid value: {path} in body should have at least {schema['minItems']} items"
    names = schema.get("x-kubernetes-list-map-keys") or ()
    seen: set[Any] = set()
    for position, one in enumerate(value):
        yield from refusals(one, schema["items"], f"{path}[{position}]")
        key = tuple(one.get(name) for name in names) if names else None
        if schema.get("x-kubernetes-list-type") == "set":
            key = (one,)
        if key is not None and key in seen:
            yield f"{path}[{position}]: Duplicate value"
        seen.add(key)


def _string_refusals(value: Any, schema: Schema, path: str) -> Iterator[str]:
    if not isinstance(value, str):
        yield _mistyped(path, "string", value)
        return
    if len(value) > schema.get("maxLength", len(value)):
        yield f"{path}: Too long: may not be more than {schema['maxLength']} bytes"
    if len(value) < schema.get("minLength", 0):
        yield f"{path}: Invalid value: should be at least {schema['minLength']} chars long"
    if "pattern" in schema and not _pattern(schema["pattern"]).search(value):
        yield f"{path}: Invalid value: \"{value}\": {path} in body should match '{schema['pattern']}'"


def _number_refusals(value: Any, schema: Schema, path: str) -> Iterator[str]:
    whole = schema["type"] == "integer"
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        yield _mistyped(path, schema["type"], value)
        return
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and (value < low or (value == low and schema.get("exclusiveMinimum"))):
        yield f"{path}: Invalid value: {value}: should be greater than or equal to {low}"
    if high is not None and (value > high or (value == high and schema.get("exclusiveMaximum"))):
        yield f"{path}: Invalid value: {value}: should be less than or equal to {high}"
