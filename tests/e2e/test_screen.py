"""What a person sees without reading a manual."""

from __future__ import annotations

from typing import Any

import pytest

from millrace_demo import data, imports, objects, sources
from millrace_demo.kubectl import Kubectl


@pytest.fixture(scope="module")
def whole_loop(kubectl: Kubectl, store: sources.Sources, slices: tuple[data.Slice, data.Slice], importer: Any) -> None:
    """One object of each kind that has come to rest."""
    uri = store.put("sources/screen/a.csv", slices[0].csv)
    kubectl.apply(
        objects.dataset("screen", uri, interval=None),
        objects.training_run("screen", "screen", "screen", kubectl.whoami()),
        objects.deployment("screen", "screen", None),
    )
    importer.imported("waiting", 1, imports.logistic(7.0))


@pytest.mark.usefixtures("whole_loop")
@pytest.mark.parametrize("target", ["mds/screen", "mtr/screen", "mmd/screen-1", "mdep/screen"])
def test_kubectl_wait_for_ready_works_on_each_kind(kubectl: Kubectl, target: str) -> None:
    kubectl.run("wait", "--for=create", target, "--timeout=150s", timeout=160)
    assert "condition met" in kubectl.run("wait", "--for=condition=Ready", target, "--timeout=150s", timeout=160)


@pytest.mark.usefixtures("whole_loop")
def test_one_screen_answers_where_it_is_and_what_is_next(kubectl: Kubectl) -> None:
    kubectl.run("wait", "--for=condition=Ready", "mdep/screen", "--timeout=150s", timeout=160)
    screen = kubectl.run("get", "mds,mtr,mmd,mdep")
    rows = {line.split()[0]: line for line in screen.splitlines() if line}
    assert "Ready" in rows["dataset.millrace.dev/screen"]
    assert "screen-1" in rows["trainingrun.millrace.dev/screen"]
    assert "screen-1 is approved" in rows["model.millrace.dev/screen-1"]
    assert "PendingApproval" in rows["model.millrace.dev/waiting-1"]
    assert "screen-1" in rows["deployment.millrace.dev/screen"]
    assert "kubectl" in rows["model.millrace.dev/waiting-1"]
    print(screen)
