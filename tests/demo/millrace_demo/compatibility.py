"""Whether what a cluster has can stand in for what this checkout's chart would make."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

Manifest = dict[str, Any]

_SHOWN_ONLY = frozenset({"description", "additionalPrinterColumns", "storage"})
"""They change what a person reads, or how the API server keeps objects, and nothing that an operator does."""
_OPEN = ".properties"
"""Where a path ends in this, what follows are names of fields: they mean nothing, and further ones are optional."""


def difference(wanted: Manifest, there: Manifest) -> str:
    """Path of the first field in which `there` may do something else than `wanted`; empty when there is none.

    Texts do not count, nor do further optional fields of a kind: the operator ignores what it does not know.
    """
    versions = [one["name"] for one in wanted.get("spec", {}).get("versions", ())]
    return next(_differences(_essence(wanted, versions), _essence(there, versions), ""), "")


def _essence(manifest: Manifest, versions: Collection[str]) -> Mapping[str, Any]:
    """What it does; of a definition, in these versions."""
    if manifest["kind"] == "ClusterRole":
        labels = manifest["metadata"].get("labels") or {}
        return {"rules": manifest["rules"], "labels": sorted(name for name in labels if "/aggregate-to-" in name)}
    spec = manifest["spec"]
    kind = {
        "group": spec["group"],
        "scope": spec["scope"],
        "names": {name: spec["names"].get(name) for name in ("kind", "plural", "shortNames")},
        "versions": {one["name"]: one for one in spec["versions"] if one["name"] in versions},
    }
    return {"spec": kind}


def _differences(wanted: Any, there: Any, path: str) -> Iterator[str]:
    if isinstance(wanted, Mapping) and isinstance(there, Mapping):
        yield from _of_mappings(wanted, there, path)
    elif isinstance(wanted, list) and isinstance(there, list) and len(wanted) == len(there):
        yield from _of_lists(wanted, there, path)
    elif wanted != there:
        yield path


def _of_mappings(wanted: Mapping[str, Any], there: Mapping[str, Any], path: str) -> Iterator[str]:
    are_fields = path.endswith(_OPEN)
    for name in dict.fromkeys((*wanted, *there)):
        if name in _SHOWN_ONLY and not are_fields:
            continue
        where = f"{path}.{name}".lstrip(".")
        if name in wanted and name in there:
            yield from _differences(wanted[name], there[name], where)
        elif name in wanted or not are_fields:
            yield where


def _of_lists(wanted: Sequence[Any], there: Sequence[Any], path: str) -> Iterator[str]:
    for index, (one, other) in enumerate(zip(wanted, there, strict=True)):
        yield from _differences(one, other, f"{path}[{index}]")
