"""Descriptions of types and fields, read from the source: the running operator carries none of them."""

from __future__ import annotations

import ast
import functools
import inspect
import sys

from millrace.api.base import Shape


class UndocumentedFieldError(ValueError):
    """A field without a string below it: `kubectl explain` would have nothing to say."""


def of_type(shape: type[Shape]) -> str:
    """The class docstring, on one line."""
    return _flat(shape.__doc__ or "")


def of_field(shape: type[Shape], field: str) -> str:
    """The string below the field, on one line. Raises UndocumentedFieldError when there is none."""
    for owner in (base for base in shape.__mro__ if issubclass(base, Shape)):
        documented = _fields(owner.__module__).get((owner.__name__, field))
        if documented:
            return documented
    raise UndocumentedFieldError(f"{shape.__name__}.{field} has no docstring below it")


@functools.cache
def _fields(module: str) -> dict[tuple[str, str], str]:
    """(class, field) -> the string that follows the field, for every class of a module."""
    found: dict[tuple[str, str], str] = {}
    for node in ast.parse(inspect.getsource(sys.modules[module])).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for field, below in zip(node.body, node.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
                and isinstance(below.value.value, str)
            ):
                found[node.name, field.target.id] = _flat(below.value.value)
    return found


def _flat(text: str) -> str:
    return " ".join(text.split())
