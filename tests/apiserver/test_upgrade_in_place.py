"""An installation from before `watchNamespaces`, with operator and objects in one namespace, and an upgrade of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

import millrace_cluster
from millrace_cluster.control_plane import ControlPlane

ROOT = Path(__file__).parents[2]
PLACE = "millrace"
AS_BEFORE = ("operator.shareNamespace=true", f"watchNamespaces={{{PLACE}}}")
Upgrade = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def upgrade(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgrade]:
    """`helm upgrade` with these values, of a release in whose namespace there is a Dataset."""
    with ControlPlane(tmp_path_factory.mktemp("upgrade")) as plane:

        def helm(*values: str) -> subprocess.CompletedProcess[str]:
            given = [f"--set={value}" for value in ("operator.replicas=0", *values)]
            arguments = ("upgrade", "--install", PLACE, str(ROOT / "charts/millrace"), f"--namespace={PLACE}", *given)
            return subprocess.run(
                [str(millrace_cluster.binary("helm")), *arguments],
                env={**os.environ, "KUBECONFIG": str(plane.kubeconfig)},
                capture_output=True,
                text=True,
                check=False,
            )

        plane.kubectl("create", "namespace", PLACE)
        first = helm(*AS_BEFORE)
        assert first.returncode == 0, first.stderr
        plane.kubectl("wait", "--for=condition=Established", "crd/datasets.millrace.dev", "--timeout=30s")
        sample = yaml.safe_load((ROOT / "manifests/samples/dataset-minimal.yaml").read_text())
        plane.kubectl("create", "-f", "-", f"--namespace={PLACE}", stdin=yaml.safe_dump(sample))
        yield helm


@pytest.mark.parametrize(
    "values", [(), ("watchNamespaces={*}", "store.existingSecret=bucket")], ids=["defaults", "all"]
)
def test_an_upgrade_that_would_leave_objects_behind_is_refused_with_the_values_that_keep_them(
    upgrade: Upgrade, values: tuple[str, ...]
) -> None:
    done = upgrade(*values)
    assert done.returncode != 0
    assert f"is in {PLACE}, which the operator would no longer watch" in done.stderr
    assert all(f"--set {value}" in done.stderr for value in AS_BEFORE)


def test_with_these_values_it_goes_through(upgrade: Upgrade) -> None:
    done = upgrade(*AS_BEFORE)
    assert done.returncode == 0, done.stderr
