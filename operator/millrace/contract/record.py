"""Frozen dataclasses to and from JSON: camelCase keys, unknown keys ignored, absent keys take the default.

The readers are of another version than the writers whenever an upgrade is under way, so reading is lenient about
what is unknown and strict about what has the wrong type.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, Self, Union


class MalformedRecord(ValueError):
    """The JSON is not this record; the message names the path and what was expected there."""


@functools.cache
def camel(name: str) -> str:
    """`storage_uri` -> `storageUri`."""
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


class Record:
    """Mixin for frozen dataclasses whose fields are scalars, records, tuples of either, mappings or `None`."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; fields that are `None` are left out."""
        return {
            camel(field.name): _plain(getattr(self, field.name))
            for field in dataclasses.fields(self)  # type: ignore[arg-type]
            if getattr(self, field.name) is not None
        }

    def to_json(self) -> str:
        """Compact JSON with keys in declaration order; NaN and infinities are refused (ValueError)."""
        return json.dumps(self.to_dict(), separators=(",", ":"), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> Self:
        """Raises MalformedRecord with the path of the first field that is missing or of the wrong type."""
        if not isinstance(data, Mapping):
            raise MalformedRecord(f"{path or cls.__name__}: expected an object, got {_kind(data)}")
        values: dict[str, Any] = {}
        own: Any = cls  # mypy takes no class of ours for a key
        hints = _hints(own)
        for field in dataclasses.fields(cls):  # type: ignore[arg-type]
            key = camel(field.name)
            where = f"{path}.{key}" if path else key
            if key in data:
                values[field.name] = _read(hints[field.name], data[key], where)
            elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                if not _optional(hints[field.name]):
                    raise MalformedRecord(f"{where}: required, but absent")
                values[field.name] = None
        return cls(**values)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Raises MalformedRecord."""
        try:
            data = json.loads(text)
            # Half a surrogate pair is a text to Python, and breaks whoever writes it on.
            json.dumps(data, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise MalformedRecord(f"{cls.__name__}: not JSON: {error}") from error
        return cls.from_dict(data)


@functools.cache
def _hints(record: type[Record]) -> Mapping[str, Any]:
    """Types by field. They are written as text, which is compiled whenever they are asked for."""
    return typing.get_type_hints(record)


def _optional(hint: Any) -> bool:
    return typing.get_origin(hint) in (Union, types.UnionType) and type(None) in typing.get_args(hint)


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _read(hint: Any, value: Any, path: str) -> Any:
    if _optional(hint):
        if value is None:
            return None
        (hint,) = [item for item in typing.get_args(hint) if item is not type(None)]
    if hint is Any:
        return value
    origin = typing.get_origin(hint)
    if origin is not None:
        return _container(origin, typing.get_args(hint), value, path)
    if issubclass(hint, Record):
        return hint.from_dict(value, path)
    return _scalar(hint, value, path)


def _container(origin: Any, items: tuple[Any, ...], value: Any, path: str) -> Any:
    if origin is tuple:
        if not isinstance(value, list):
            raise MalformedRecord(f"{path}: expected a list, got {_kind(value)}")
        return tuple(_read(items[0], element, f"{path}[{index}]") for index, element in enumerate(value))
    if not isinstance(value, Mapping):
        raise MalformedRecord(f"{path}: expected an object, got {_kind(value)}")
    return {str(key): _read(items[1], item, f"{path}.{key}") for key, item in value.items()}


def _scalar(hint: Any, value: Any, path: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if issubclass(hint, str) and isinstance(value, str):
        try:
            return hint(value)
        except ValueError as error:
            raise MalformedRecord(f"{path}: {value!r} is not one of {', '.join(hint)}") from error
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise MalformedRecord(f"{path}: expected {hint.__name__}, got {_kind(value)}")
    return value


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__
