"""Who makes an object in a namespace that the operator does not look into is told so at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from apiserver_kit import planes

from millrace.render import admission
from millrace_cluster.control_plane import ControlPlane

SAMPLE = Path(__file__).parents[2] / "manifests/samples/dataset-minimal.yaml"
WATCHED, HOME, ELSEWHERE = "ml", "millrace-system", "elsewhere"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory):
    trusted = admission.trust(["operator"], home=HOME, namespaces=[WATCHED])
    with ControlPlane(tmp_path_factory.mktemp("plane"), users={"alice": []}) as started:
        planes.define(started)
        spaces = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in (WATCHED, HOME, ELSEWHERE)
        ]
        made = [*spaces, *admission.manifests(trusted, HOME)]
        started.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(made))
        yield started


def create(plane: ControlPlane, namespace: str) -> tuple[str, str]:
    """What kubectl says of the object, and what beside it."""
    done = plane.kubectl("create", "-f", str(SAMPLE), "-n", namespace, "--dry-run=server", check=False)
    return done.stdout, done.stderr


def test_an_object_in_a_namespace_that_nobody_watches_is_made_with_a_warning(plane: ControlPlane) -> None:
    for _ in range(100):  # a policy takes effect a moment after it is made
        made, warned = create(plane, ELSEWHERE)
        if warned:
            break
    assert "created" in made
    assert "Warning: " in warned
    assert "does not watch the namespace elsewhere, it watches ml: use one of these" in warned
    made, warned = create(plane, WATCHED)
    assert "created" in made
    assert warned == ""


def test_one_in_the_operators_own_namespace_is_refused_with_where_to_make_it(plane: ControlPlane) -> None:
    for _ in range(100):
        made, refused = create(plane, HOME)
        if not made:
            break
    assert made == ""
    assert "the namespace millrace-system is the operator's own, it watches ml: use one of these" in refused
