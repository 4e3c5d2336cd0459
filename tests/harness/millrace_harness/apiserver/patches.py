"""JSON merge patch (RFC 7386) and JSON patch (RFC 6902). What is not touched is shared with the original."""

from __future__ import annotations

from typing import Any


def merge(target: Any, patch: Any) -> Any:
    """The target after a merge patch."""
    if not isinstance(patch, dict):
        return patch
    made = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            made.pop(name, None)
        else:
            made[name] = merge(made.get(name), value)
    return made


def json_patch(target: dict[str, Any], operations: Any) -> dict[str, Any]:
    """The target after add, replace, remove and test. Raises KeyError, IndexError, ValueError."""
    made: Any = target
    for one in operations:
        path = [part.replace("~1", "/").replace("~0", "~") for part in one["path"].split("/")[1:]]
        made = _step(made, path, one["op"], one.get("value"))
    changed: dict[str, Any] = made
    return changed


def _step(here: Any, path: list[str], operation: str, value: Any) -> Any:
    name, rest = path[0], path[1:]
    if isinstance(here, list):
        made = list(here)
        position = len(here) if name == "-" else int(name)
        if rest:
            made[position] = _step(here[position], rest, operation, value)
        elif operation == "add":
            made.insert(position, value)
        else:
            _act(made, position, operation, value)
        return made
    changed = dict(here)
    if rest:
        changed[name] = _step(here[name], rest, operation, value)
    elif operation == "add":
        changed[name] = value
    else:
        _act(changed, name, operation, value)
    return changed


def _act(made: Any, at: Any, operation: str, value: Any) -> None:
    known = made[at]
    if operation == "remove":
        del made[at]
    elif operation == "replace":
        made[at] = value
    elif operation == "test":
        if known != value:
            raise ValueError(f"the test of {at} failed")
    else:
        raise ValueError(f"no such operation: {operation}")
