from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from millrace_cluster import binaries, daemons
from millrace_cluster.failure import ClusterError


def test_every_pinned_project_has_a_version_and_sums():
    for project in binaries.PROJECTS:
        assert binaries.version_of(project).startswith("v")
        assert (binaries.GOMOD / project.name / "go.sum").stat().st_size > 0


def test_every_pinned_module_directory_is_a_known_project():
    assert {path.name for path in binaries.GOMOD.iterdir()} == {project.name for project in binaries.PROJECTS}


def test_every_daemon_of_the_node_is_a_program_the_tool_builds():
    programs = {name: Path("/programs") / name for name in binaries.NODE_PROGRAMS}
    assert {daemon["command"][0] for daemon in daemons.list_daemons(programs, Path("/state"))} <= {
        str(path) for path in programs.values()
    }


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("MILLRACE_CACHE", str(tmp_path))
    assert binaries.path_of("etcd").is_relative_to(tmp_path)
    monkeypatch.delenv("MILLRACE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert binaries.cache() == tmp_path / "xdg" / "millrace"


def test_different_flags_are_kept_apart():
    project = binaries.project_of("containerd")
    assert binaries.home_of(project) != binaries.home_of(dataclasses.replace(project, tags=""))


def test_a_program_nobody_builds_is_refused_by_name():
    with pytest.raises(ClusterError, match="minikube is not a program this tool builds"):
        binaries.ensure(["minikube"])


@pytest.mark.programs
def test_a_failed_build_shows_why_and_leaves_nothing_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    pinned = tmp_path / "gomod" / "kind"
    pinned.mkdir(parents=True)
    (pinned / "go.mod").write_text("module broken\n\ntool sigs.k8s.io/kind\n\nrequire sigs.k8s.io/kind v0.0.1\n")
    (pinned / "go.sum").write_text("")
    monkeypatch.setenv("MILLRACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GOPROXY", "off")
    monkeypatch.setattr(binaries, "GOMOD", tmp_path / "gomod")
    with pytest.raises(ClusterError, match=r"(?s)building kind failed.*why: .*next: "):
        binaries.ensure(["kind"])
    assert [path for path in (tmp_path / "cache" / "bin").iterdir() if path.is_dir()] == []


def test_a_run_without_programs_builds_none_and_says_how_to_mark_the_test(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("MILLRACE_CACHE", str(tmp_path))
    monkeypatch.setenv("MILLRACE_PROGRAMS", "none")
    with pytest.raises(ClusterError, match=r"helm is not built, and this run builds nothing(?s:.*)mark it `programs`"):
        binaries.ensure(["helm"])
    assert list(tmp_path.iterdir()) == []


def test_a_built_program_is_not_built_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("MILLRACE_CACHE", str(tmp_path))
    program = binaries.path_of("kind")
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", os.devnull)
    assert binaries.ensure(["kind"]) == {"kind": program}
