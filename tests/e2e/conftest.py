"""One real cluster, one Helm release, shared by all end-to-end tests; every test names its own objects."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import millrace_cluster
from millrace_cluster import binaries, evidence, pods
from millrace_demo import data, imports, release, sources
from millrace_demo.kubectl import Kubectl, is_true

RELEASE = "millrace-e2e"
"""Its namespace has the same name."""
OLDER = os.environ.get("MILLRACE_OLDER", "53b9018")
"""The commit that an upgrade is tried from and a downgrade to: the oldest whose objects this version still serves."""


@pytest.fixture(scope="session")
def installed(request: pytest.FixtureRequest) -> Iterator[release.Release]:
    """The chart, freshly installed. From a cluster of the caller's own it is removed in the end, unless KEEP is set.

    When a test fails, its pods' last lines and the warnings are part of the report.
    """
    try:
        cluster = millrace_cluster.up()
        release.check(cluster, RELEASE)
        made = release.install(cluster, RELEASE, release.prepare_images(cluster))
    except release.Refused as error:
        pytest.exit(str(error), returncode=error.exit_code)
    if made.shared:
        say(request, made.shared)
    with evidence.offered(lambda: pods.last_words(made.kubectl.run)):
        yield made
    if cluster.kind == "own" and not os.environ.get("KEEP"):
        release.remove(cluster, RELEASE)


def say(request: pytest.FixtureRequest, line: str) -> None:
    """A line for whoever reads the run."""
    request.config.pluginmanager.getplugin("terminalreporter").write_line(line)


@pytest.fixture(scope="session")
def kubectl(installed: release.Release) -> Kubectl:
    """The cluster administrator's kubectl."""
    return installed.kubectl


@pytest.fixture(scope="module", autouse=True)
def room(kubectl: Kubectl) -> Iterator[None]:
    """The node has two cores: what one file served must not hold the CPU that a pod of the next one asks for."""
    yield
    kubectl.run("delete", "mdep,mtr,mds", "--all")


@pytest.fixture(scope="module")
def store(kubectl: Kubectl) -> Iterator[sources.Sources]:
    """The embedded store. An upgrade replaces its pod, and with it ends the way there."""
    with sources.open_sources(kubectl) as opened:
        yield opened


@pytest.fixture(scope="session")
def slices() -> tuple[data.Slice, data.Slice]:
    """The real rows, in two parts that differ."""
    return data.slices()


@dataclass(frozen=True)
class Version:
    """A version of Millrace that can be installed: its chart, and the chart's values that name its images."""

    chart: Path
    values: dict[str, str]


@pytest.fixture(scope="session")
def current(installed: release.Release) -> Version:
    """This checkout."""
    return Version(release.CHART, release.prepare_images(installed.cluster))


def unpack(commit: str, target: Path) -> bool:
    """The sources of a commit; False where this checkout does not have it."""
    command = ["git", "-C", str(release.ROOT), "archive", commit]
    archive = subprocess.run(command, capture_output=True, check=False, timeout=60)
    if archive.returncode:
        return False
    subprocess.run(["tar", "-x", "-C", str(target)], input=archive.stdout, check=True, timeout=60)
    return True


def images_of(checkout: Path, command: str) -> str:
    """What that checkout's own image tool printed."""
    done = subprocess.run(
        [sys.executable, str(checkout / "tests" / "images"), command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def older(
    request: pytest.FixtureRequest, installed: release.Release, tmp_path_factory: pytest.TempPathFactory
) -> Version:
    """The older version, its images built from its own sources by its own tools, and loaded."""
    checkout = tmp_path_factory.mktemp("older")
    if not unpack(OLDER, checkout):
        say(request, f"{OLDER} is not in this checkout (git fetch --unshallow has it): this version, numbered 0.0.0")
        assert unpack("HEAD", checkout)
        about = checkout / "operator" / "millrace" / "__init__.py"
        about.write_text(about.read_text().replace('__version__ = "', '__version__ = "0.0.0+'))
    values: dict[str, str] = json.loads(images_of(checkout, "values"))
    if release.pulls(installed.cluster):
        images_of(checkout, "push")
    elif installed.cluster.kind != "own":
        for name in {key.split(".")[1] for key in values}:
            installed.cluster.load_image(binaries.cache() / "images" / f"{name}-{values[f'images.{name}.tag']}.tar")
    return Version(checkout / "charts" / "millrace", values)


class Importer:
    """Imports models and approves them, as an administrator who is not their author."""

    def __init__(self, kubectl: Kubectl, store: sources.Sources, rows: list[list[float]]) -> None:
        self._kubectl = kubectl
        self._store = store
        self._rows = rows

    def imported(self, model_name: str, version: int, model: bytes, *, golden: dict[str, object] | None = None) -> str:
        """Create the Model; its digest."""
        made = imports.upload(self._store, model_name, version, model, self._rows, golden)
        self._kubectl.create(made.manifest)
        return made.digest

    def approved(self, model_name: str, version: int, model: bytes, *, golden: dict[str, object] | None = None) -> str:
        """Create the Model and approve it; its digest once the operator agrees."""
        digest = self.imported(model_name, version, model, golden=golden)
        self.approve(model_name, version, digest)
        return digest

    def approve(self, model_name: str, version: int, digest: str) -> None:
        """Approve an imported Model, and wait until the operator agrees."""
        name = f"{model_name}-{version}"
        patch = imports.approval(self._kubectl.whoami(), digest)
        self._kubectl.run("patch", "mmd", name, "--type=merge", "-p", patch)
        self._kubectl.until("mmd", name, lambda item: is_true(item, "Approved"), 60, "Approved")


@pytest.fixture(scope="module")
def importer(kubectl: Kubectl, store: sources.Sources, slices: tuple[data.Slice, data.Slice]) -> Importer:
    """Imports models whose golden rows are healthy people (few chronic conditions)."""
    healthy = sorted(slices[0].rows, key=lambda row: row[data.FEATURES.index("disea")])
    return Importer(kubectl, store, healthy[:2000])
