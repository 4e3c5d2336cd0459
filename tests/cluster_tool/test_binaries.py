from __future__ import annotations

import dataclasses
import os
import re
import shutil
from pathlib import Path

import pytest

from millrace_cluster import binaries, daemons, nodefiles
from millrace_cluster.failure import ClusterError

COMPILED_AFTER_KUBERNETES = ("etcd", "containerd", "coredns", "helm")
OWN_VERSIONS = {
    "etcd": {"go.etcd.io/etcd/api/v3", "go.etcd.io/etcd/client/v3", "go.etcd.io/etcd/client/pkg/v3"},
    "containerd": {
        "github.com/coreos/go-systemd/v22",
        "github.com/godbus/dbus/v5",
        "github.com/opencontainers/runtime-spec",
        "github.com/opencontainers/selinux",
        # Newer ones do not compile with this containerd.
        "go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc",
        "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp",
        "k8s.io/cri-api",
    },
    "helm": {"github.com/cyphar/filepath-securejoin"},
}
"""Shared, and yet not alike: little is built on them, and the project knows best."""


def pins(project: str) -> dict[str, str]:
    """Module -> version of the go.mod of `project`, after its replacements."""
    text = (binaries.GOMOD / project / "go.mod").read_text()
    required = re.findall(r"^\s*(?:require )?(\S+\.\S+) (v\S+)", text, re.MULTILINE)
    return dict(required) | dict(re.findall(r"^\s*(?:replace )?(\S+) => \S+ (v\S+)", text, re.MULTILINE))


def age(version: str) -> tuple[list[int], bool, str]:
    """Sorts versions as Go does, which takes `v1.2.3-0.2026...` for older than `v1.2.3`."""
    numbers, _, before = version.removeprefix("v").partition("-")
    return [int(number) for number in numbers.split("+")[0].split(".")], not before, before


def plugins_of(corefile: str) -> set[str]:
    """The first word of every line directly within a server block."""
    found, depth = set(), 0
    for line in corefile.splitlines():
        if depth == 1 and line.strip() != "}":
            found.add(line.split()[0])
        depth += line.count("{") - line.count("}")
    return found


def test_every_pinned_project_has_a_version_and_sums():
    for project in binaries.PROJECTS:
        assert binaries.version_of(project).startswith("v")
        assert (binaries.GOMOD / project.name / "go.sum").stat().st_size > 0


def test_every_pinned_module_directory_is_a_known_project():
    assert {path.name for path in binaries.GOMOD.iterdir()} == {project.name for project in binaries.PROJECTS}


@pytest.mark.parametrize("project", COMPILED_AFTER_KUBERNETES)
def test_what_a_project_shares_with_kubernetes_has_the_same_version_so_that_go_compiles_it_once(project: str):
    own, kubernetes = pins(project), pins("kubernetes")
    differ = [
        module
        for module in sorted((own.keys() & kubernetes.keys()) - OWN_VERSIONS.get(project, set()))
        if own[module] != kubernetes[module]
    ]
    # Never down: `go get` of less than the project asks for takes the project itself to an older release.
    lines = [
        f"cd {binaries.GOMOD / place} && go get {' '.join(arguments)} && go mod tidy"
        for place, arguments in (
            (project, [f"{name}@{kubernetes[name]}" for name in differ if age(own[name]) < age(kubernetes[name])]),
            ("kubernetes", [f"{name}@{own[name]}" for name in differ if age(own[name]) > age(kubernetes[name])]),
        )
        if arguments
    ]
    assert not differ, "\n".join(lines)


def test_our_coredns_has_the_plugins_of_the_corefile_and_no_other():
    imported = re.findall(
        r"coredns/plugin/(\w+)\"$", (binaries.GOMOD / "coredns" / "main.go").read_text(), re.MULTILINE
    )
    assert plugins_of(nodefiles.coredns(Path("/kubeconfig"))) == set(imported)


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


def test_a_changed_source_is_kept_apart_and_a_project_with_a_main_of_ours_builds_that(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(binaries, "GOMOD", shutil.copytree(binaries.GOMOD, tmp_path / "gomod"))
    coredns, helm = binaries.project_of("coredns"), binaries.project_of("helm")
    assert (binaries.target_of(coredns), binaries.target_of(helm)) == (".", "tool")
    seen = {binaries.home_of(coredns)}
    for name in binaries.SOURCES:
        with (tmp_path / "gomod" / "coredns" / name).open("a") as source:
            source.write("\n// changed\n")
        assert binaries.home_of(coredns) not in seen
        seen.add(binaries.home_of(coredns))


def test_a_directory_of_pins_holds_nothing_that_the_caches_name_does_not_know():
    assert {path.name for path in binaries.GOMOD.glob("*/*")} == set(binaries.SOURCES)


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
