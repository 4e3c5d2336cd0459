"""Who makes an object in a namespace that the operator does not look into is told so at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from apiserver_kit import planes

from millrace.render import roles, unwatched
from millrace_cluster.control_plane import ControlPlane

SAMPLE = Path(__file__).parents[2] / "manifests/samples/dataset-minimal.yaml"
HOME, ELSEWHERE, ACCOUNT = "millrace", "elsewhere", unwatched.ACCOUNT


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory):
    with ControlPlane(tmp_path_factory.mktemp("plane"), users={"alice": []}) as started:
        planes.define(started)
        granted = [
            *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in (HOME, ELSEWHERE)),
            roles.role(ACCOUNT, HOME, roles.operator_rules()),
            roles.role_binding(ACCOUNT, HOME, account=ACCOUNT, account_namespace=HOME),
            *unwatched.manifests(),
        ]
        started.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(granted))
        yield started


def create(plane: ControlPlane, namespace: str) -> str:
    """What kubectl prints beside the object; it is made in every case."""
    done = plane.kubectl("create", "-f", str(SAMPLE), "-n", namespace, "--dry-run=server")
    assert "created" in done.stdout
    return done.stderr


def test_an_object_in_a_namespace_that_nobody_watches_is_answered_with_a_warning(plane: ControlPlane) -> None:
    for _ in range(100):  # a policy takes effect a moment after it is made
        warned = create(plane, ELSEWHERE)
        if warned:
            break
    assert "Warning: " in warned
    assert f"no Millrace operator looks into namespace {ELSEWHERE}" in warned
    assert create(plane, HOME) == ""
