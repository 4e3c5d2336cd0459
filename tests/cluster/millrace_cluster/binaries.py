"""The programs a cluster is made of, built from pinned Go modules into a cache outside the clone.

Every directory of `gomod/` pins one project. Its programs live in the cache under a name made of the project, its
version and a hash of its files and the build flags: a changed pin is a new directory, nothing is built twice.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from millrace_cluster import console, golang
from millrace_cluster.failure import ClusterError
from millrace_machine import places

GOMOD = Path(__file__).resolve().parent.parent / "gomod"
SOURCES = ("go.mod", "go.sum", "main.go")
"""What a directory of `gomod/` may hold. A main.go is built in place of the tools that go.mod names."""
_VERSION_PACKAGE = "k8s.io/component-base/version"


@dataclasses.dataclass(frozen=True)
class Project:
    """One Go module of programs: `programs` maps the name used here to the name `go install` gives it."""

    name: str
    module: str
    programs: dict[str, str]
    tags: str = ""


PROJECTS = (
    Project("kubernetes", "k8s.io/kubernetes", {
        name: name for name in (
            "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
    }),
    Project("etcd", "go.etcd.io/etcd/server/v3", {"etcd": "server"}),
    Project("containerd", "github.com/containerd/containerd/v2", {
        name: name for name in ("containerd", "containerd-shim-runc-v2", "ctr")
    }, tags="no_btrfs,no_devmapper,no_zfs"),
    Project("coredns", "github.com/coredns/coredns", {"coredns": "coredns"}),
    Project("helm", "helm.sh/helm/v3", {"helm": "helm"}),
    Project("versitygw", "github.com/versity/versitygw", {"versitygw": "versitygw"}),
    Project("kind", "sigs.k8s.io/kind", {"kind": "kind"}),
)  # fmt: skip
NODE_PROGRAMS = (
    "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl",
    "etcd", "containerd", "containerd-shim-runc-v2", "ctr", "coredns",
)  # fmt: skip


def cache() -> Path:
    """The directory for everything built: MILLRACE_CACHE, else `millrace` in the user's cache directory."""
    return places.cache()


def project_of(program: str) -> Project:
    """The project that builds `program`."""
    for project in PROJECTS:
        if program in project.programs:
            return project
    known = " ".join(name for project in PROJECTS for name in project.programs)
    raise ClusterError(f"{program} is not a program this tool builds", f"it builds: {known}",
                       "python tests/cluster binaries", exit_code=2)  # fmt: skip


def version_of(project: Project) -> str:
    """The version of `project` that its go.mod requires."""
    text = (GOMOD / project.name / "go.mod").read_text()
    found = re.search(rf"^\s*(?:require\s+)?{re.escape(project.module)}\s+(v\S+)", text, re.MULTILINE)
    if not found:
        raise ClusterError(f"{project.name}/go.mod does not require {project.module}")
    return found.group(1)


def build_flags(project: Project) -> list[str]:
    """Flags of `go install` for `project`."""
    linker = "-s -w"
    if project.name == "kubernetes":
        version = version_of(project)
        major, minor, _ = version.removeprefix("v").split(".")
        stamps = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean",
                  "gitCommit": "0" * 40, "buildDate": "1970-01-01T00:00:00Z"}  # fmt: skip
        linker += "".join(f" -X {_VERSION_PACKAGE}.{name}={value}" for name, value in stamps.items())
    tags = ["-tags", project.tags] if project.tags else []
    # The linker leaves debugging information out (-w), so the compiler need not write it.
    return ["-trimpath", "-gcflags", "all=-dwarf=false", "-ldflags", linker, *tags]


def target_of(project: Project) -> str:
    """What `go install` is to build of `project`: the tools that its go.mod names, or the main.go beside it."""
    return "." if (GOMOD / project.name / "main.go").exists() else "tool"


def home_of(project: Project) -> Path:
    """The cache directory of `project` as pinned now."""
    digest = hashlib.sha256()
    for name in SOURCES:
        if (source := GOMOD / project.name / name).exists():
            digest.update(source.read_bytes())
    digest.update("\0".join(build_flags(project)).encode())
    return cache() / "bin" / f"{project.name}-{version_of(project)}-{digest.hexdigest()[:12]}"


def path_of(program: str) -> Path:
    """Where `program` is, or will be once built."""
    return home_of(project_of(program)) / program


def ensure(programs: Iterable[str]) -> dict[str, Path]:
    """Build what is missing among `programs` and return the path of each.

    Raises ClusterError when Go cannot be had or a build fails.
    """
    wanted = list(programs)
    for project in {project.name: project for project in map(project_of, wanted)}.values():
        if not _complete(project):
            _build(project)
    return {program: path_of(program) for program in wanted}


def _complete(project: Project) -> bool:
    return all(os.access(home_of(project) / program, os.X_OK) for program in project.programs)


def _build(project: Project) -> None:
    if os.environ.get("MILLRACE_PROGRAMS") == "none":
        raise ClusterError(f"{project.name} is not built, and this run builds nothing (MILLRACE_PROGRAMS=none)",
                           "a test that needs a program belongs to another tier: mark it `programs`",
                           f"python tests/cluster binaries {next(iter(project.programs))}")  # fmt: skip
    home = home_of(project)
    home.parent.mkdir(parents=True, exist_ok=True)
    with (home.parent / f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _complete(project):
            return
        go = golang.locate(cache())
        with tempfile.TemporaryDirectory(dir=home.parent, prefix="building-") as staging:
            _install(project, go, Path(staging))
            shutil.rmtree(home, ignore_errors=True)
            finished = Path(staging) / "finished"
            finished.mkdir(mode=0o755)
            for program, built in project.programs.items():
                (Path(staging) / built).rename(finished / program)
            finished.rename(home)


def _install(project: Project, go: Path, target: Path) -> None:
    command = [str(go), "install", "-v", *build_flags(project), target_of(project)]
    environment = {**os.environ, "CGO_ENABLED": "0", "GOBIN": str(target), "GOOS": "", "GOARCH": "",
                   "GOFLAGS": "-mod=readonly -buildvcs=false", "GOWORK": "off"}  # fmt: skip
    tail: list[str] = []
    with console.step(f"building {project.name} {version_of(project)}") as step:
        with subprocess.Popen(command, cwd=GOMOD / project.name, env=environment, text=True,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:  # fmt: skip
            assert process.stderr is not None
            for count, line in enumerate(process.stderr, start=1):
                tail = [*tail[-14:], line.rstrip()]
                step.detail = f"{count} packages"
        if process.returncode:
            raise ClusterError(
                f"building {project.name} failed", "\n        ".join(tail) or f"go exited {process.returncode}",
                f"cd {GOMOD / project.name} && CGO_ENABLED=0 {go} install -v {target_of(project)}")  # fmt: skip
