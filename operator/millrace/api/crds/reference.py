"""Reference pages: prose by hand, tables of fields and reasons between markers, generated."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from millrace.api.reasons import Reason
from millrace.api.reasons.any_kind import AnyKindReason
from millrace.api.reasons.deployment import DeploymentReason
from millrace.api.reasons.pipeline import DatasetReason, ModelReason, TrainingRunReason

from .kinds import Kind
from .structural import Schema

REASONS: dict[str, type[Reason]] = {
    "Dataset": DatasetReason,
    "TrainingRun": TrainingRunReason,
    "Model": ModelReason,
    "Deployment": DeploymentReason,
}


def refresh(page: str, kind: Kind, crd: dict[str, Any]) -> str:
    """The page with its tables made anew. Raises ValueError when a marker is missing."""
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    page = _between(page, "spec", _table(schema["properties"]["spec"], "spec"))
    page = _between(page, "status", _table(schema["properties"]["status"], "status"))
    page = _between(page, "rules", _rules(schema))
    return _between(page, "reasons", _reasons(kind))


def skeleton(kind: Kind) -> str:
    """A page with nothing but its tables, to be written around."""
    parts = [f"# {kind.resource.kind}"]
    for title, name in (("Spec", "spec"), ("Rules", "rules"), ("Status", "status"), ("Reasons", "reasons")):
        parts.append(f"## {title}\n\n{_mark(name, 'begin')}\n{_mark(name, 'end')}")
    return "\n\n".join(parts) + "\n"


def _mark(name: str, end: str) -> str:
    return f"<!-- generated: {name} {end} -->"


def _between(page: str, name: str, table: str) -> str:
    begin, end = _mark(name, "begin"), _mark(name, "end")
    if begin not in page or end not in page:
        raise ValueError(f"the page lacks the markers {begin} and {end}")
    head, rest = page.split(begin, 1)
    tail = rest.split(end, 1)[1]
    return f"{head}{begin}\n{table}\n{end}{tail}"


def _table(schema: Schema, path: str) -> str:
    lines = ["| field | type | default | |", "| --- | --- | --- | --- |"]
    for where, node, required in _walk(schema, path):
        default = "**required**" if required else _default(node)
        lines.append(f"| `{where}` | {_type(node)} | {default} | {_escape(node.get('description', ''))} |")
    return "\n".join(lines)


def _walk(schema: Schema, path: str) -> Iterator[tuple[str, Schema, bool]]:
    """(path, schema, required) of every field below, depth first, in the order of the schema."""
    for name, node in schema.get("properties", {}).items():
        where = f"{path}.{name}"
        yield where, node, name in schema.get("required", ())
        yield from _walk(node, where)
        if "items" in node:
            yield from _walk(node["items"], f"{where}[]")


def _default(node: Schema) -> str:
    if "default" not in node:
        return ""
    return "`" + json.dumps(node["default"]).replace("|", "\\|") + "`"


def _type(node: Schema) -> str:
    match node:
        case {"enum": values}:
            return ", ".join(f"`{value}`" for value in values)
        case {"type": "array", "items": items}:
            return f"list of {_type(items)}" + ("" if "enum" in items else f", at most {node['maxItems']}")
        case {"additionalProperties": values}:
            return f"map of {values['type']}, at most {node['maxProperties']}"
        case {"format": "date-time"}:
            return "time"
        case {"type": "integer" | "number"}:
            return f"{node['type']}{_range(node)}"
        case _:
            return str(node["type"])


def _range(node: Schema) -> str:
    above = ">" if node.get("exclusiveMinimum") else "≥"
    below = "<" if node.get("exclusiveMaximum") else "≤"
    parts = []
    if "minimum" in node:
        parts.append(f"{above} {node['minimum']}")
    if node.get("maximum", 2**40) < 2**40:
        parts.append(f"{below} {node['maximum']}")
    return f" {', '.join(parts)}" if parts else ""


def _rules(schema: Schema) -> str:
    """The CEL rules, as the sentences that users see."""
    lines = ["| where | rule |", "| --- | --- |"]
    lines += [
        f"| `{(where + rule.get('fieldPath', '')) or '(root)'}` | {_escape(rule['message'])} |"
        for where, node in _nodes(schema, "")
        for rule in node.get("x-kubernetes-validations", ())
    ]
    return "\n".join(lines)


def _nodes(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    yield path.removeprefix("."), schema
    for name, node in schema.get("properties", {}).items():
        yield from _nodes(node, f"{path}.{name}")
    if "items" in schema:
        yield from _nodes(schema["items"], f"{path}[]")


def _reasons(kind: Kind) -> str:
    lines = ["| reason | meaning | next |", "| --- | --- | --- |"]
    for reason in _reasons_of(kind.resource.kind):
        step = f"`{_escape(reason.next_step)}`" if reason.next_step else ""
        lines.append(f"| `{reason.name}` | {_escape(reason.sentence)} | {step} |")
    return "\n".join(lines)


def _reasons_of(kind: str) -> Iterator[Reason]:
    """The reasons of the kind, then those that every kind has."""
    yield from REASONS[kind]
    yield from AnyKindReason


def _escape(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")
