"""The generated CRDs: complete, bounded, small, and the ones in the repository."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

from millrace.api import crds
from millrace.api.base import ATOMIC, Shape
from millrace.api.crds import kinds, prose, reference, structural

ROOT = Path(__file__).parents[2]
ALL = crds.render_all()
Manifest = dict[str, Any]


def root_of(crd: Manifest) -> Manifest:
    schema: Manifest = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def fields(schema: Manifest, path: str = "") -> Iterator[tuple[str, Manifest]]:
    for name, node in schema.get("properties", {}).items():
        yield f"{path}.{name}", node
        yield from fields(node, f"{path}.{name}")
        yield from fields(node.get("items", {}), f"{path}.{name}[]")


OURS = [
    (f"{crd['spec']['names']['kind']}{path}", node)
    for crd in ALL.values()
    for path, node in fields(root_of(crd))
    if path not in (".apiVersion", ".kind", ".metadata")
]


def test_the_files_in_the_repository_are_up_to_date() -> None:
    assert crds.main(["--out", str(ROOT / "crds"), "--check"]) == 0


def test_a_run_shows_the_trigger_that_started_it_beside_the_author_whose_run_it_repeats() -> None:
    columns = {one.name: one for one in kinds.TRAINING_RUN.columns}
    assert columns["Trigger"].path == r".metadata.labels.millrace\.dev/trigger"
    assert columns["Trigger"].priority == columns["Author"].priority == 1


def test_a_stale_or_missing_file_is_named_and_fails_the_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "crds", tmp_path, dirs_exist_ok=True)
    (tmp_path / "millrace.dev_models.yaml").write_text("kind: Other\n")
    (tmp_path / "millrace.dev_datasets.yaml").unlink()
    assert crds.main(["--out", str(tmp_path), "--check"]) == 1
    said = capsys.readouterr().err
    assert "millrace.dev_models.yaml" in said
    assert "millrace.dev_datasets.yaml" in said
    assert "deployments" not in said
    assert crds.main(["--out", str(tmp_path)]) == 0
    assert crds.main(["--out", str(tmp_path), "--check"]) == 0


def test_the_prose_of_a_page_survives_and_its_table_does_not(tmp_path: Path) -> None:
    page = tmp_path / "model.md"
    page.write_text("Before.\n" + reference.skeleton(kinds.MODEL) + "After.\n")
    crds.main(["--out", str(tmp_path)])
    written = page.read_text()
    assert written.startswith("Before.\n")
    assert written.endswith("After.\n")
    assert "| `spec.artifact.digest` | string | **required** |" in written
    page.write_text("no markers")
    with pytest.raises(ValueError, match="lacks the markers"):
        crds.main(["--out", str(tmp_path)])


@pytest.mark.parametrize("name", ALL)
def test_a_crd_fits_into_the_annotation_of_a_client_side_apply(name: str) -> None:
    assert len(crds.to_yaml(ALL[name])) < 100_000


@pytest.mark.parametrize("path,node", OURS, ids=[path for path, _ in OURS])
def test_every_field_says_what_it_is_and_is_bounded(path: str, node: Manifest) -> None:
    assert node["description"].endswith((".", "`")) or node["description"].count(" ") < 30
    assert not {"$ref", "anyOf", "oneOf", "allOf", "title", "nullable"} & node.keys()
    match node:
        case {"type": "array"}:
            assert "maxItems" in node
            assert node["x-kubernetes-list-type"] in ("map", "set", "atomic")
        case {"type": "object"}:
            assert ("properties" in node) != ("additionalProperties" in node)
        case {"type": "string"}:
            assert "enum" in node or "maxLength" in node
        case {"type": "integer"}:
            assert {"minimum", "maximum", "format"} <= node.keys()


@pytest.mark.parametrize("name", ALL)
def test_a_status_has_no_default_but_that_nobody_has_looked_yet(name: str) -> None:
    status = root_of(ALL[name])["properties"]["status"]
    assert status["default"] == {"observedGeneration": -1}
    assert [path for path, node in fields(status) if "default" in node] == [".observedGeneration"]


def test_lists_of_a_status_are_the_operators_whole_but_for_conditions_and_signatures() -> None:
    merged = {
        path
        for crd in ALL.values()
        for path, node in fields(root_of(crd)["properties"]["status"])
        if node.get("x-kubernetes-list-type", "atomic") != "atomic"
    }
    assert merged == {".conditions", ".candidate.signature.inputs", ".candidate.signature.outputs"}


def test_every_kind_shows_readiness_and_what_comes_next_last() -> None:
    for kind in kinds.ALL:
        shown = [column.name for column in kind.columns if not column.priority]
        assert shown[-4:] == ["Ready", "Phase", "Age", "Message"]


def test_what_belongs_to_a_canary_is_called_so_and_no_pod_is_shown_in_two_columns_of_a_deployment() -> None:
    """`WEIGHT` was the canary's, and `PODS` the canary's too while nothing else served."""
    shown = {column.name: column.path for column in kinds.DEPLOYMENT.columns}
    of_canary = {name for name, path in shown.items() if path.startswith(".status.canary.")}
    assert of_canary == {"Canary", "Canary-Weight", "Canary-Ready-Pods"}
    assert shown["Ready-Pods"] == ".status.stable.readyReplicas"


class Union(Shape):
    value: int | str
    """Either."""


class Endless(Shape):
    value: str
    """Any length."""


class Unmerged(Shape):
    value: Annotated[list[bool], Field(max_length=3)]
    """Nobody said how to merge it."""


class HalfBounded(Shape):
    value: Annotated[int, Field(ge=0)]
    """No largest."""


class FreeForm(Shape):
    value: dict[str, bool]
    """Any number of keys."""


class Unknown(Shape):
    value: Annotated[list[bytes], Field(max_length=3), ATOMIC]
    """No such type in JSON."""


@pytest.mark.parametrize("shape", [Union, Endless, Unmerged, HalfBounded, FreeForm, Unknown])
def test_what_a_structural_schema_cannot_say_is_refused_by_name(shape: type[Shape]) -> None:
    with pytest.raises(structural.NotStructuralError, match=f"^{shape.__name__}.value"):
        structural.object_schema(shape, defaults=True)


class Silent(Shape):
    value: bool


def test_a_field_without_a_description_is_refused() -> None:
    with pytest.raises(prose.UndocumentedFieldError, match=r"Silent\.value"):
        structural.object_schema(Silent, defaults=True)
