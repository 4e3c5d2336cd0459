"""Every leaf of a kind's spec, where it stands in an object, and other values that the schema allows there."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Iterator
from typing import Any

from millrace.api import crds
from millrace.api.crds import kinds
from millrace.api.crds.kinds import Kind

Path = tuple[str, ...]
"""Names; `[]` for any item of a list, `{}` for any value of a map."""
Place = tuple[str | int, ...]
Node = dict[str, Any]

TEXTS = (
    "|", "1s", "7m", "9h", "other", "other-2", "churn-1", "s3://elsewhere/thing", "13", "0b0b0b0b", "300m", "3Gi",
    "2026-01-01T00:00:00Z", "sklearn.svm.SVC", "bob", "alice@example.com", f"sha256:{'e' * 64}", f"sha256:{'a' * 64}",
)  # fmt: skip


def leaves(kind: Kind) -> tuple[tuple[Path, Node], ...]:
    """Every field of the spec that holds no other one."""
    return _leaves(kinds.ALL.index(kind))


@functools.cache
def _leaves(number: int) -> tuple[tuple[Path, Node], ...]:
    root = crds.render(kinds.ALL[number])["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return tuple(_below(root["properties"]["spec"], ()))


def _below(node: Node, path: Path) -> Iterator[tuple[Path, Node]]:
    if "properties" in node:
        for name, child in node["properties"].items():
            yield from _below(child, (*path, name))
    elif "items" in node:
        yield from _below(node["items"], (*path, "[]"))
    elif "additionalProperties" in node:
        yield from _below(node["additionalProperties"], (*path, "{}"))
    else:
        yield path, node


def text(path: Path) -> str:
    """As people write it: `strategy.canary.steps[].setWeight`."""
    return ".".join(path).replace(".[]", "[]").replace(".{}", "{}")


def places(spec: Any, path: Path, before: Place = ()) -> Iterator[Place]:
    """Where the leaf stands in this spec."""
    if not path:
        yield before
    elif path[0] in ("[]", "{}"):
        keys: Any = range(len(spec)) if path[0] == "[]" else spec
        for key in keys:
            yield from places(spec[key], path[1:], (*before, key))
    elif path[0] in spec:
        yield from places(spec[path[0]], path[1:], (*before, path[0]))


def changed(spec: Node, place: Place, node: Node) -> Iterator[Node]:
    """The spec with other values there."""
    *above, last = place
    for value in _others(_at(spec, place), node):
        other = copy.deepcopy(spec)
        _at(other, tuple(above))[last] = value
        yield other


def _at(spec: Any, place: Place) -> Any:
    for key in place:
        spec = spec[key]
    return spec


def _others(value: Any, node: Node) -> Iterator[Any]:
    if "enum" in node:
        found: Iterator[Any] = iter(node["enum"])
    elif node["type"] == "boolean":
        found = iter([not value])
    elif node["type"] in ("integer", "number"):
        low, high = node.get("minimum", min(value / 10, value - 1)), node.get("maximum", 100 * value + 1)
        tries = [value * 10, value / 10, value + 1, value - 1, low, high, (low + high) / 2]
        open_below, open_above = node.get("exclusiveMinimum"), node.get("exclusiveMaximum")
        fits = [one for one in tries if low <= one <= high and not (open_below and one == low)]
        fits = [one for one in fits if not (open_above and one == high)]
        found = iter([int(one) for one in fits] if node["type"] == "integer" else [float(one) for one in fits])
    else:
        pattern = node.get("pattern", "")
        found = iter(one for one in TEXTS if re.search(pattern, one) and len(one) <= node["maxLength"])
    seen = [value]
    for one in found:
        if one not in seen:
            seen.append(one)
            yield one
