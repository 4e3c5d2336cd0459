from __future__ import annotations

from pathlib import Path

import pytest

from millrace_cluster import kind, prerequisites, selection
from millrace_cluster.failure import ClusterError
from millrace_machine import packages


@pytest.fixture(autouse=True)
def _no_wishes(monkeypatch: pytest.MonkeyPatch):
    for name in ("MILLRACE_CLUSTER", "MILLRACE_KUBECONFIG", "KUBECONFIG", "IMAGE_PREFIX"):
        monkeypatch.delenv(name, raising=False)


def put_docker(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = directory / "docker"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")


def test_an_ambient_kubeconfig_is_never_used_unasked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    put_docker(tmp_path, "exit 1", monkeypatch)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "production"))
    assert selection.choose()[0] == "embedded"


def test_kind_is_used_where_a_docker_engine_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    put_docker(tmp_path, "echo 28.2.2", monkeypatch)
    assert selection.choose() == ("kind", "a Docker engine answers")


@pytest.mark.parametrize("script", ["exit 1", "echo 'Cannot connect' >&2; exit 1", "exit 0"])
def test_a_docker_client_without_an_engine_is_not_docker(script: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    put_docker(tmp_path, script, monkeypatch)
    assert not kind.docker_answers()


def test_the_environment_decides_over_docker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    put_docker(tmp_path, "echo 28.2.2", monkeypatch)
    monkeypatch.setenv("MILLRACE_CLUSTER", "embedded")
    assert selection.choose() == ("embedded", "MILLRACE_CLUSTER=embedded")


def test_an_unknown_kind_of_cluster_is_refused_with_the_known_ones(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MILLRACE_CLUSTER", "minikube")
    with pytest.raises(ClusterError, match="it knows kubeconfig, kind and embedded") as caught:
        selection.choose()
    assert caught.value.exit_code == 2


def test_a_cluster_of_the_callers_own_needs_its_kubeconfig_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MILLRACE_CLUSTER", "kubeconfig")
    with pytest.raises(ClusterError, match="export MILLRACE_KUBECONFIG"):
        selection.up()


def test_the_callers_own_cluster_is_never_taken_down(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MILLRACE_CLUSTER", "kubeconfig")
    assert selection.down() is False


def test_the_kubeconfig_named_for_millrace_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("mine", "ambient"):
        (tmp_path / name).write_text("{}")
    monkeypatch.setenv("MILLRACE_KUBECONFIG", str(tmp_path / "mine"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "ambient"))
    assert selection.own_kubeconfig() == tmp_path / "mine"


def test_missing_programs_are_asked_for_in_one_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(packages, "ADMINISTRATORS", str(tmp_path))
    monkeypatch.setattr(packages, "CNI_DIRECTORIES", (tmp_path,))
    monkeypatch.setattr(packages, "BUSYBOX", (tmp_path / "busybox",))
    with pytest.raises(ClusterError) as caught:
        prerequisites.check()
    assert caught.value.exit_code == 2
    assert str(caught.value).splitlines()[-1] == (
        "  next: sudo apt-get update && sudo apt-get install -y --no-install-recommends busybox-static"
        " containernetworking-plugins iproute2 iptables mount openssl runc util-linux"
    )


def test_a_busybox_that_needs_shared_libraries_is_not_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    dynamic = tmp_path / "busybox"
    dynamic.write_bytes(b"\x7fELF" + b"\0" * 600 + b"/lib64/ld-linux-x86-64.so.2\0")
    monkeypatch.setattr(packages, "BUSYBOX", (dynamic,))
    assert prerequisites.static_busybox() is None
