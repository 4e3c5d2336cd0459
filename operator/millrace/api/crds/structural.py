"""Structural schemas (`apiextensions.k8s.io/v1`) from the pydantic models.

Anything that cannot be said without loss is refused with `NotStructuralError`: unions, free-form objects, lists whose
merging was not decided, and values without bounds (CEL's cost limits are computed from the bounds).
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo

from millrace.api.base import ListType, Rule, Shape

from . import prose

Schema = dict[str, Any]

# What Python and every API server agree on: a year of four digits, UTC. (Offsets of 99 h pass as date-time.)
TIME_PATTERN = r"^[12][0-9]{3}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?Z$"


class NotStructuralError(ValueError):
    """A field that a structural schema cannot express, or not with known bounds."""


def object_schema(shape: type[Shape], *, defaults: bool) -> Schema:
    """Schema of an object. Without `defaults` only `observedGeneration` has one (a status is the operator's)."""
    properties: dict[str, Schema] = {}
    required: list[str] = []
    for name, field in shape.model_fields.items():
        alias = field.alias or name
        where = f"{shape.__name__}.{name}"
        schema = {"description": prose.of_field(shape, name)}
        schema |= _of(field.annotation, tuple(field.metadata), where, defaults=defaults)
        if field.is_required():
            required.append(alias)
        elif defaults or name == "observed_generation":
            _add_default(schema, field)
        properties[alias] = schema
    result: Schema = {"type": "object", "properties": properties}
    if required:
        result["required"] = required
    if shape.RULES:
        result["x-kubernetes-validations"] = validations(shape.RULES)
    return result


def validations(rules: Iterable[Rule]) -> list[dict[str, str]]:
    """`x-kubernetes-validations`."""
    return [
        {"rule": rule.rule, "message": rule.message} | ({"fieldPath": rule.field} if rule.field else {})
        for rule in rules
    ]


def _add_default(schema: Schema, field: FieldInfo) -> None:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None:
        return
    if isinstance(value, Shape):
        # In full: a default is checked by the object's CEL rules before the defaults inside it are filled in.
        value = value.wire()
        if not value:
            return
    schema["default"] = list(value) if isinstance(value, tuple) else value


def _of(annotation: Any, metadata: tuple[Any, ...], where: str, *, defaults: bool) -> Schema:  # noqa: PLR0911 - a table
    """Schema of a type. `metadata` is what stands in `Annotated` around it."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *around = get_args(annotation)
        return _of(inner, (*_flatten(around), *metadata), where, defaults=defaults)
    if origin in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        if len(members) != 1:
            raise NotStructuralError(f"{where}: a structural schema has no unions; use optional members and a CEL rule")
        return _of(members[0], metadata, where, defaults=defaults)
    if origin is Literal:
        return {"type": "string", "enum": list(get_args(annotation))}
    if origin in (list, tuple):
        return _list(get_args(annotation)[0], metadata, where, defaults=defaults)
    if origin is dict:
        return _map(get_args(annotation)[1], metadata, where)
    if isinstance(annotation, type) and issubclass(annotation, Shape):
        return object_schema(annotation, defaults=defaults)
    return _scalar(annotation, metadata, where)


def _flatten(metadata: Iterable[Any]) -> tuple[Any, ...]:
    """`Field(...)` inside `Annotated` holds the constraints that pydantic has already taken apart elsewhere."""
    flat: list[Any] = []
    for item in metadata:
        flat.extend(item.metadata if isinstance(item, FieldInfo) else [item])
    return tuple(flat)


def _list(item: Any, metadata: tuple[Any, ...], where: str, *, defaults: bool) -> Schema:
    merging = next((entry for entry in metadata if isinstance(entry, ListType)), None)
    bounds = _lengths(metadata, "Items")
    if merging is None or "maxItems" not in bounds:
        raise NotStructuralError(f"{where}: a list needs a ListType and a max_length")
    schema: Schema = {"type": "array", **bounds, "x-kubernetes-list-type": merging.kind}
    if merging.keys:
        schema["x-kubernetes-list-map-keys"] = list(merging.keys)
    schema["items"] = _of(item, (), f"{where}[]", defaults=defaults)
    return schema


def _map(value: Any, metadata: tuple[Any, ...], where: str) -> Schema:
    bounds = _lengths(metadata, "Properties")
    if "maxProperties" not in bounds:
        raise NotStructuralError(f"{where}: a map needs a max_length")
    return {"type": "object", **bounds, "additionalProperties": _of(value, (), f"{where}[]", defaults=False)}


def _scalar(annotation: Any, metadata: tuple[Any, ...], where: str) -> Schema:
    if annotation is bool:
        return {"type": "boolean"}
    if annotation is datetime:
        return {"type": "string", "format": "date-time", "maxLength": 32, "pattern": TIME_PATTERN}
    if annotation is float:
        return {"type": "number", **_bounds(metadata)}
    if annotation is str:
        return _string(metadata, where)
    if annotation is int:
        return _integer(metadata, where)
    raise NotStructuralError(f"{where}: {annotation!r} has no structural form")


def _string(metadata: tuple[Any, ...], where: str) -> Schema:
    schema: Schema = {"type": "string", **_lengths(metadata, "Length")}
    if "maxLength" not in schema:
        raise NotStructuralError(f"{where}: a string needs a max_length")
    for pattern in (getattr(entry, "pattern", None) for entry in metadata):
        if pattern:
            schema["pattern"] = pattern
    return schema


def _integer(metadata: tuple[Any, ...], where: str) -> Schema:
    bounds = _bounds(metadata)
    if "minimum" not in bounds or "maximum" not in bounds:
        raise NotStructuralError(f"{where}: an integer needs both bounds")
    return {"type": "integer", **bounds, "format": "int32" if bounds["maximum"] < 2**31 else "int64"}


def _lengths(metadata: tuple[Any, ...], of: str) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for entry in metadata:
        if isinstance(entry, annotated_types.MinLen):
            found[f"min{of}"] = entry.min_length
        elif isinstance(entry, annotated_types.MaxLen):
            found[f"max{of}"] = entry.max_length
    return found


def _bounds(metadata: tuple[Any, ...]) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for entry in metadata:
        match entry:
            case annotated_types.Ge(ge=value):
                found["minimum"] = value
            case annotated_types.Gt(gt=value):
                found |= {"minimum": value, "exclusiveMinimum": True}
            case annotated_types.Le(le=value):
                found["maximum"] = value
            case annotated_types.Lt(lt=value):
                found |= {"maximum": value, "exclusiveMaximum": True}
    return found
