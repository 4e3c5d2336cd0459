"""Every sample is accepted, keeps every field it states, and shows well."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from millrace import api as kinds
from millrace.api.base import Resource
from millrace_cluster.control_plane import ControlPlane

Manifest = dict[str, Any]

ROOT = Path(__file__).parents[2]
SAMPLES = sorted(
    path.stem for path in (ROOT / "manifests" / "samples").glob("*.yaml") if not path.name.endswith(".patch.yaml")
)
STATUSES = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / "tests/api/statuses").glob("*.yaml")}
SHAPES: dict[str, type[Resource[Any, Any]]] = {
    "Dataset": kinds.Dataset,
    "TrainingRun": kinds.TrainingRun,
    "Model": kinds.Model,
    "Deployment": kinds.Deployment,
}


def is_within(stated: Any, stored: Any) -> bool:
    """Whether everything stated was stored, defaults aside."""
    if isinstance(stated, dict):
        return all(name in stored and is_within(value, stored[name]) for name, value in stated.items())
    if isinstance(stated, list):
        return len(stated) == len(stored) and all(map(is_within, stated, stored))
    return bool(stated == stored)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_accepted_with_full_status_and_nothing_is_lost(
    name: str, api: Any, made: Any, samples: dict[str, Manifest]
) -> None:
    created = made(samples[name])
    assert is_within(samples[name]["spec"], created["spec"])
    assert created["status"] == {"observedGeneration": -1}
    status = STATUSES[created["kind"].lower()]
    answer = api.replace({**created, "status": status}, subresource="/status")
    assert answer.ok, answer.message
    assert answer.body["status"] == status
    assert answer.body["spec"] == created["spec"]


@pytest.mark.parametrize("name", SAMPLES)
def test_what_the_api_server_returns_is_what_the_operator_reads_and_writes_back(
    name: str, made: Any, samples: dict[str, Manifest]
) -> None:
    stored = made(samples[name])
    read = SHAPES[stored["kind"]].model_validate(stored)
    assert read.spec.wire() == {"server": {}} | stored["spec"] if stored["kind"] == "Deployment" else stored["spec"]


def test_the_operators_status_is_accepted_as_it_writes_it(api: Any, made: Any, samples: dict[str, Manifest]) -> None:
    for name in ("dataset", "training-run", "model", "deployment"):
        stored = made(samples[name])
        stored["status"] = STATUSES[stored["kind"].lower()]
        written = SHAPES[stored["kind"]].model_validate(stored).status.wire()
        answer = api.patch(stored, {"status": written}, subresource="/status")
        assert answer.ok, answer.message
        assert answer.body["status"] == written


def test_the_sample_approval_can_be_patched_in(api: Any, made: Any, samples: dict[str, Manifest]) -> None:
    model = made(samples["model"])
    patch = yaml.safe_load((ROOT / "manifests/samples/model-approval.patch.yaml").read_text())
    patch["spec"]["approvals"][0]["user"] = "bob"
    answer = api.patch(model, patch, user="bob")
    assert answer.ok, answer.message


@pytest.fixture
def screen(api: Any, made: Any, samples: dict[str, Manifest], control_plane: ControlPlane) -> str:
    for name in ("dataset", "training-run", "model", "deployment"):
        stored = made(samples[name])
        api.patch(stored, {"status": STATUSES[stored["kind"].lower()]}, subresource="/status")
    return control_plane.kubectl("get", "mds,mtr,mmd,mdep", "-n", "ml").stdout


def rows(text: str) -> dict[str, list[str]]:
    """First word of each line -> the others."""
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}


def test_one_screen_says_where_everything_is_and_what_is_next(screen: str) -> None:
    found = rows(screen)
    assert found["dataset.millrace.dev/churn"][:4] == ["12", "48211", "True", "Ready"]
    assert found["trainingrun.millrace.dev/churn-gb"][:4] == ["churn", "churn-7", "True", "Succeeded"]
    assert found["model.millrace.dev/churn-7"][:5] == ["True", "True", "champion", "True", "Approved"]
    assert found["deployment.millrace.dev/churn"][:6] == ["churn-7", "churn-8", "25", "NoDrift", "True", "Progressing"]
    assert "churn-8 at 25 %, step 4 of 6, waiting for 10m to pass" in screen
    headers = [line for line in screen.splitlines() if line.startswith("NAME")]
    assert len(headers) == 4
    assert all(header.rstrip().endswith("MESSAGE") for header in headers)
    assert max(len(line) for line in screen.splitlines()) <= 160


def test_the_wide_screen_adds_what_an_engineer_looks_up(screen: str, control_plane: ControlPlane) -> None:
    wide = control_plane.kubectl("get", "mds,mtr,mmd,mdep", "-n", "ml", "-o", "wide").stdout
    for shown in ("s3://lake/churn/", "alice@example.com", "sha256:2c26b46b", "Cooldown", "http://churn.ml.svc"):
        assert shown in wide
        assert shown not in screen


@pytest.mark.parametrize("category", ["millrace", "ml"])
def test_all_kinds_are_got_by_category(category: str, screen: str, control_plane: ControlPlane) -> None:
    assert len(rows(control_plane.kubectl("get", category, "-n", "ml").stdout)) == 4 + 1


def test_get_all_does_not_show_and_so_delete_all_does_not_take_models(screen: str, control_plane: ControlPlane) -> None:
    assert "churn-7" not in control_plane.kubectl("get", "all", "-n", "ml").stdout


@pytest.mark.parametrize(
    "kind,selector,expected",
    [
        ("mtr", "spec.datasetRef.name=churn", ["churn-gb"]),
        ("mtr", "spec.output.modelName=other", []),
        ("mmd", "spec.modelName=churn", ["churn-7"]),
        ("mdep", "spec.modelSelector.modelName=churn", ["churn"]),
        ("mds", "status.phase=Ready", ["churn"]),
    ],
)
def test_objects_are_selected_by_the_fields_people_ask_for(
    kind: str, selector: str, expected: list[str], screen: str, control_plane: ControlPlane
) -> None:
    found = control_plane.kubectl("get", kind, "-n", "ml", f"--field-selector={selector}", "--no-headers").stdout
    assert [line.split()[0] for line in found.splitlines()] == expected


def test_a_deployment_scales_and_a_wrong_number_is_refused(
    api: Any, made: Any, samples: dict[str, Manifest], control_plane: ControlPlane
) -> None:
    minimal = made(samples["deployment-minimal"])
    assert minimal["spec"]["replicas"] == 1
    scale = json.loads(
        control_plane.kubectl("get", "mdep/rent", "-n", "ml", "--subresource=scale", "-o", "json").stdout
    )
    assert scale["spec"]["replicas"] == 1
    control_plane.kubectl("scale", "mdep/rent", "-n", "ml", "--replicas=3")
    assert api.get(minimal)["spec"]["replicas"] == 3
    refused = control_plane.kubectl("scale", "mdep/rent", "-n", "ml", "--replicas=0", check=False)
    assert refused.returncode != 0
    assert "spec.replicas" in refused.stderr


def test_explain_describes_every_field(control_plane: ControlPlane) -> None:
    for name in ("mds", "mtr", "mmd", "mdep"):
        text = control_plane.kubectl("explain", name, "--recursive", "--api-version=millrace.dev/v1alpha1").stdout
        assert "spec" in text
    assert "Counts from 1" in control_plane.kubectl("explain", "mmd.spec.version").stdout


def test_a_spec_can_be_copied_from_a_stored_object(api: Any, made: Any, samples: dict[str, Manifest]) -> None:
    stored = made(samples["training-run"])
    again = copy.deepcopy(stored)
    again["metadata"] = {"name": "churn-gb-again"}
    again.pop("status")
    answer = api.create(again, dry_run=True)
    assert answer.ok, answer.message
