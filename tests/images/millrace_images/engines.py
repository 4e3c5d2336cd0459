"""The two programs that build images: a Docker engine where one answers, else buildah. Same Dockerfiles."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Protocol

from millrace_cluster import binaries, console
from millrace_cluster.failure import ClusterError
from millrace_images import base, pipconfig
from millrace_machine import packages

PULLED_BASE = "python:3.11-slim-bookworm"


class Engine(Protocol):
    """What building needs of an engine. Every method raises ClusterError with the engine's own last words."""

    name: str

    def has(self, reference: str) -> bool: ...
    def base(self) -> str: ...
    def build(self, dockerfile: Path, context: Path, reference: str, arguments: dict[str, str]) -> None: ...
    def export(self, reference: str, archive: Path) -> None: ...
    def push(self, reference: str) -> None: ...
    def remove(self, reference: str) -> None: ...
    def tidy(self) -> None: ...


def choose() -> Engine:
    """Docker if its engine answers, else buildah.

    Raises:
        ClusterError: neither is here; says what to install.
    """
    if shutil.which("docker") and _answers(["docker", "version", "--format", "{{.Server.Version}}"]):
        return Docker()
    if shutil.which("buildah"):
        return Buildah()
    lacking = packages.missing({packages.BUILDER, packages.BASE})
    raise ClusterError("nothing here builds images", "no Docker engine answers and buildah is not installed",
                       packages.install_line(package.name for package in lacking), 2)  # fmt: skip


class Docker:
    """`docker build` with BuildKit, `docker save`, `docker push`."""

    name = "docker"

    def has(self, reference: str) -> bool:
        return _answers(["docker", "image", "inspect", reference])

    def base(self) -> str:
        """BASE_IMAGE if set, else the Dockerfile's default if it is here or can be pulled, else our own."""
        chosen = os.environ.get("BASE_IMAGE")
        if chosen:
            return chosen
        if self.has(PULLED_BASE) or _answers(["docker", "pull", "--quiet", PULLED_BASE]):
            return PULLED_BASE
        if not self.has(base.REFERENCE):
            home = base.rootfs()
            change = ["--change", 'CMD ["python3"]']
            _run("loading the base image", ["docker", "import", *change, str(home / "rootfs.tar"), base.REFERENCE])
        return base.REFERENCE

    def build(self, dockerfile: Path, context: Path, reference: str, arguments: dict[str, str]) -> None:
        with tempfile.TemporaryDirectory() as private:
            options = ["--network", "host", *_arguments(arguments), *pipconfig.secrets(Path(private))]
            command = ["docker", "build", *options, "-f", str(dockerfile), "-t", reference, str(context)]
            _run(f"building {reference}", command)

    def export(self, reference: str, archive: Path) -> None:
        _run(f"exporting {reference}", ["docker", "save", "-o", str(archive), reference])

    def push(self, reference: str) -> None:
        _run(f"pushing {reference}", ["docker", "push", reference])

    def remove(self, reference: str) -> None:
        _answers(["docker", "image", "rm", reference])

    def tidy(self) -> None:
        """Nothing to do: the engine owns its mounts."""


class Buildah:
    """buildah in a storage of its own under the cache, chroot isolation: neither a daemon nor namespaces are needed."""

    name = "buildah"

    def __init__(self) -> None:
        home = binaries.cache() / "images"
        self.scratch = home / "tmp"
        self.scratch.mkdir(parents=True, exist_ok=True)
        self.storage = home / "storage"
        self.command = ["buildah", "--root", str(self.storage), "--runroot", str(home / "run")]

    def has(self, reference: str) -> bool:
        return _answers([*self.command, "inspect", "--type", "image", reference])

    def base(self) -> str:
        """BASE_IMAGE if set, else our own, made by debootstrap."""
        chosen = os.environ.get("BASE_IMAGE")
        if chosen:
            return chosen
        if not self.has(base.REFERENCE):
            home = base.rootfs()
            self._run("loading the base image", ["bud", "--isolation", "chroot", "-t", base.REFERENCE, str(home)])
        return base.REFERENCE

    def build(self, dockerfile: Path, context: Path, reference: str, arguments: dict[str, str]) -> None:
        with tempfile.TemporaryDirectory() as private:
            options = ["bud", "--isolation", "chroot", "--network", "host", "--layers", "--format", "docker"]
            options += [*_arguments(arguments), *pipconfig.secrets(Path(private))]
            self._run(f"building {reference}", [*options, "-f", str(dockerfile), "-t", reference, str(context)])

    def export(self, reference: str, archive: Path) -> None:
        self._run(f"exporting {reference}", ["push", "--quiet", reference, f"docker-archive:{archive}:{reference}"])

    def push(self, reference: str) -> None:
        self._run(f"pushing {reference}", ["push", reference, f"docker://{reference}"])

    def remove(self, reference: str) -> None:
        _answers([*self.command, "rmi", reference])

    def tidy(self) -> None:
        """Removes containers that a failed build left, and the mounts under the storage."""
        _answers([*self.command, "rm", "--all"])
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for mount in reversed([found for found in mounts if found.startswith(f"{self.storage}/")]):
            _answers(["umount", mount])

    def _run(self, title: str, arguments: list[str]) -> None:
        # TMPDIR also holds buildah's cache mounts, pip's among them.
        _run(title, [*self.command, *arguments], {"TMPDIR": str(self.scratch)})


def _arguments(values: dict[str, str]) -> list[str]:
    return [word for key, value in values.items() for word in ("--build-arg", f"{key}={value}")]


def _answers(command: list[str]) -> bool:
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


def _run(title: str, command: list[str], environment: dict[str, str] | None = None) -> None:
    """Runs one step with its last line of output as progress; the last lines become the error's reason."""
    settings = {**os.environ, "DOCKER_BUILDKIT": "1", "BUILDKIT_PROGRESS": "plain", **(environment or {})}
    tail: list[str] = []
    with console.step(title) as step, subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=settings
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            tail = [*tail[-14:], line.rstrip()]
            step.detail = line.strip()[:60]
        if process.wait():
            reason = "\n        ".join(tail) or f"exit code {process.returncode}"
            raise ClusterError(f"{title} failed", reason, "python tests/images build")
