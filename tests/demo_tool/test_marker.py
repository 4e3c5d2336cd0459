"""Everything that is put into a cluster says by whom, from the moment it is made."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

import millrace_cluster
from millrace_demo import clusterwide, marker, release

CLUSTER_WIDE_ONLY = "every object has a namespace, or is of a kind that is looked for before an install"


@pytest.mark.programs
def test_what_the_chart_renders_comes_out_in_the_same_order_with_the_label(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    options = ["--kube-version=v1.36.3", "--namespace=x-system"]
    rendered = subprocess.run(
        [str(millrace_cluster.binary("helm")), "template", "x", str(release.CHART), *options],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    monkeypatch.setattr(sys, "stdin", io.StringIO(rendered))
    assert marker.main(["millrace-demo"]) == 0
    before, after = marker.parsed(rendered), marker.parsed(capsys.readouterr().out)
    assert [clusterwide.key(one) for one in after] == [clusterwide.key(one) for one in before]
    assert all(marker.carries(one, "millrace-demo") for one in after)
    assert after == [marker.labelled(one, "millrace-demo") for one in before]
    wide = [one for one in before if "namespace" not in one["metadata"]]
    assert wide == [one for one in before if one["kind"] in clusterwide.RESOURCES], CLUSTER_WIDE_ONLY


def test_the_label_comes_beside_the_labels_that_are_there():
    made = marker.labelled({"kind": "Secret", "metadata": {"name": "a", "labels": {"b": "c"}}}, "millrace-e2e")
    assert made["metadata"] == {"name": "a", "labels": {"b": "c", marker.LABEL: "millrace-e2e"}}
    assert marker.carries(made, "millrace-e2e")
    assert not marker.carries(made, "millrace-demo")
    assert not marker.carries({"metadata": {"name": "a"}}, "millrace-demo")


def test_helm_is_told_of_no_other_cluster_by_variables_that_were_meant_for_somebody_elses_use_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    helm = tmp_path / "helm"
    helm.write_text("#!/bin/sh\nenv\n")
    helm.chmod(0o755)
    monkeypatch.setattr(millrace_cluster, "binary", lambda _: helm)
    for name in ("HELM_KUBECONTEXT", "HELM_KUBEAPISERVER", "HELM_NAMESPACE", "KUBECONFIG"):
        monkeypatch.setenv(name, "production")
    told = release._run_helm(["upgrade"], {"KUBECONFIG": "/ours"})
    assert "production" not in told
    assert "KUBECONFIG=/ours" in told.splitlines()
