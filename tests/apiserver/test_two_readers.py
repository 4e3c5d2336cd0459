"""API server and operator read alike: what one accepts as a spec, the other does too.

The strict reading is that of files (`model_validate_json(strict=True)`), the lax one that of the operator, which must
read whatever the API server has accepted. CEL rules and lists with something twice are the API server's alone; unknown
fields are ignored by both here.
"""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from millrace import api as kinds
from millrace.api import crds
from millrace.api.base import Shape

Manifest = dict[str, Any]

SPECS: dict[str, type[Shape]] = {
    "Dataset": kinds.DatasetSpec,
    "TrainingRun": kinds.TrainingRunSpec,
    "Model": kinds.ModelSpec,
    "Deployment": kinds.DeploymentSpec,
}
SCHEMAS = {
    crd["spec"]["names"]["kind"]: crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for crd in crds.render_all().values()
}
# Generated, never shrunk: an example is a round trip, and its message says what differs.
SEARCH = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
JUNK = st.sampled_from(["", "x", "X", "0", "-1", "1.5", "true", "é", "a" * 300, "s3://a", "1h", "h", "1h\n"])
JUNK |= st.sampled_from([0, 1, -1, -2, 2, 2**31, 2**53, 0.5, 1.5, -0.5, True, False, [], {}, [{}], [[]], {"name": "a"}])


def strings(schema: Manifest) -> st.SearchStrategy[str]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("format") == "date-time":
        return st.datetimes().map(lambda time: time.strftime("%Y-%m-%dT%H:%M:%SZ")).filter(lambda time: time[0] in "12")
    longest = schema["maxLength"]
    if "pattern" in schema:
        wide = st.from_regex(re.compile(schema["pattern"], re.ASCII), fullmatch=True)
        return wide.filter(lambda text: schema.get("minLength", 0) <= len(text) <= longest)
    return st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=schema.get("minLength", 0), max_size=12)


def numbers(schema: Manifest) -> st.SearchStrategy[Any]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if schema["type"] == "integer":
        return st.integers(low, high)
    return st.floats(
        -1e9 if low is None else low,
        1e9 if high is None else high,
        exclude_min=schema.get("exclusiveMinimum", False),
        exclude_max=schema.get("exclusiveMaximum", False),
    ).map(lambda number: number + 0.0)


def values(schema: Manifest) -> st.SearchStrategy[Any]:
    """Values that the schema accepts."""
    match schema["type"]:
        case "string":
            return strings(schema)
        case "integer" | "number":
            return numbers(schema)
        case "boolean":
            return st.booleans()
        case "array":
            most = min(schema["maxItems"], 3)
            return st.lists(values(schema["items"]), min_size=schema.get("minItems", 0), max_size=most)
        case _ if "additionalProperties" in schema:
            names = st.sampled_from(["cpu", "memory"])
            return st.dictionaries(names, values(schema["additionalProperties"]), max_size=2)
        case _:
            required = set(schema.get("required", ()))
            fields = {name: values(node) for name, node in schema["properties"].items()}
            return st.fixed_dictionaries(
                {name: field for name, field in fields.items() if name in required},
                optional={name: field for name, field in fields.items() if name not in required},
            )


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for name, item in inner for place in [(*path, name), *places(item, (*path, name))]]


@st.composite
def specs(draw: st.DrawFn, schema: Manifest) -> Manifest:
    """A valid spec, or one with something else, or nothing, in one to three places."""
    spec: Manifest = copy.deepcopy(draw(values(schema)))
    for _ in range(draw(st.sampled_from([0, 1, 2, 3]))):
        found = places(spec)
        if not found:
            break
        *parents, last = draw(st.sampled_from(found))
        place: Any = spec
        for part in parents:
            place = place[part]
        if draw(st.booleans()):
            del place[last]
        else:
            place[last] = draw(JUNK)
    return spec


def is_read(shape: type[Shape], spec: Manifest, *, strict: bool) -> bool:
    try:
        if strict:
            shape.model_validate_json(json.dumps(spec), strict=True)
        else:
            shape.model_validate(spec)
    except ValidationError:
        return False
    return True


def is_structural(answer: Any, rules: set[str]) -> bool:
    """Whether the API server found the schema itself broken, and not only what it alone checks."""
    if answer.code == 403:
        return False  # by policy, which is asked after the schema
    for cause in answer.body.get("details", {}).get("causes", ()):
        said = cause["message"].split(": ", 1)[-1]
        alone = said in rules or cause["reason"] == "FieldValueDuplicate" or "no such key" in said
        if not (alone or "some validation rules were not checked" in said):
            return True
    return False


def name_of(kind: str, spec: Manifest) -> str:
    if kind != "Model":
        return "a"
    wanted = f"{spec.get('modelName')}-{spec.get('version')}"
    return wanted if re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?-[1-9][0-9]*", wanted) else "a-1"


def messages(schema: Manifest) -> set[str]:
    text = json.dumps(schema)
    return {json.loads(f'"{found}"') for found in re.findall(r'"message": "((?:[^"\\]|\\.)*)"', text)}


@pytest.mark.parametrize("kind", SPECS)
def test_the_api_server_accepts_what_the_operator_reads_and_nothing_else(kind: str, api: Any) -> None:
    rules = messages(SCHEMAS[kind])
    tally = {"accepted": 0, "refused": 0}

    @SEARCH
    @given(specs(SCHEMAS[kind]["properties"]["spec"]))
    def check(spec: Manifest) -> None:
        manifest = {
            "apiVersion": "millrace.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name_of(kind, spec)},
            "spec": spec,
        }
        answer = api.create(manifest, dry_run=True, unknown="Ignore")
        sound = not is_structural(answer, rules)
        tally["accepted" if sound else "refused"] += 1
        assert is_read(SPECS[kind], spec, strict=True) == sound, answer.message
        assert is_read(SPECS[kind], spec, strict=False) or not sound, answer.message

    check()
    assert min(tally.values()) >= 5, f"the examples are one-sided: {tally}"
