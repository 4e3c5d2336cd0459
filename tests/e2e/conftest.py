"""One real cluster, one Helm release, shared by all end-to-end tests; every test names its own objects.

Workers of pytest-xdist share them too: the first installs, the others find the release there, the last removes it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import millrace_cluster
from millrace_cluster import binaries, evidence
from millrace_demo import data, imports, release, sources
from millrace_demo.kubectl import Kubectl, Manifest, is_true

RELEASE = "millrace-e2e"
"""The namespace of all tests has the same name; that of operator and store is `millrace-e2e-system`."""
OLDER = os.environ.get("MILLRACE_OLDER", "53b9018")
"""The commit that an upgrade is tried from and a downgrade to: the oldest whose objects this version still serves."""


def pytest_sessionstart(session: pytest.Session) -> None:
    """Nothing is built, collected or handed to workers where the release may not be installed."""
    if is_worker(session.config) or session.config.option.collectonly:
        return
    try:
        release.check(millrace_cluster.up(), RELEASE)
    except release.Refused as error:
        pytest.exit(str(error), returncode=error.exit_code)


def is_worker(config: pytest.Config) -> bool:
    """Whether this is one of several processes that share the tests of a run."""
    return hasattr(config, "workerinput")


@pytest.fixture(scope="session")
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[release.Release]:
    """The chart, freshly installed. From a cluster of the caller's own it is removed in the end, unless KEEP is set.

    When a test fails, its pods' last lines and the warnings are part of the report.
    """
    base = tmp_path_factory.getbasetemp()
    state = (base.parent if is_worker(request.config) else base) / "release.json"
    with locked(state) as known:
        cluster = millrace_cluster.up()
        if known:
            made = release.attach(cluster, RELEASE, known["shared"])
        else:
            made = release.install(cluster, RELEASE, release.prepare_images(cluster))
        known |= {"shared": made.shared, "workers": known.get("workers", 0) + 1}
    if made.shared:
        say(request, made.shared)
    with evidence.offered(lambda: release.last_words(made.cluster, RELEASE)):
        yield made
    with locked(state) as known:
        known["workers"] -= 1
        if not known["workers"]:
            known.clear()
            if cluster.kind == "own" and not os.environ.get("KEEP"):
                release.remove(cluster, RELEASE)


@contextlib.contextmanager
def locked(state: Path) -> Iterator[dict[str, Any]]:
    """What the workers know together, nobody else writing it meanwhile; not written where the block raises."""
    with state.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known: dict[str, Any] = json.loads(state.read_text()) if state.exists() else {}
        yield known
        state.write_text(json.dumps(known))


def say(request: pytest.FixtureRequest, line: str) -> None:
    """A line for whoever reads the run."""
    request.config.pluginmanager.getplugin("terminalreporter").write_line(line)


@dataclass(frozen=True)
class Recording(Kubectl):
    """A kubectl that remembers the names of what it was given."""

    names: set[str] = field(default_factory=set, compare=False)

    def apply(self, *manifests: Manifest) -> str:
        self.names.update(manifest["metadata"]["name"] for manifest in manifests)
        return super().apply(*manifests)


@pytest.fixture(scope="module")
def kubectl(installed: release.Release) -> Iterator[Recording]:
    """The cluster administrator's kubectl.

    What a file has applied goes with it, and so do the runs that were started for it: the node has two cores, and what
    one file served must not hold the CPU that a pod of the next one asks for.
    """
    whole = installed.kubectl
    made = Recording(whole.binary, whole.kubeconfig, whole.namespace, whole.extra)
    yield made
    there = made.run("get", "mdep,mtr,mds", "-o", "name").split()
    its = [one for one in there if any(belongs(one.partition("/")[2], name) for name in made.names)]
    if its:
        made.run("delete", "--ignore-not-found", *its)


def belongs(name: str, owner: str) -> bool:
    """Whether an object has that name, or one that the operator derived from it."""
    return name == owner or name.startswith(f"{owner}-")


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
    why = "" if unpack(OLDER, checkout) else "is not in this checkout (git fetch --unshallow has it)"
    if not why and "watchNamespaces" not in (checkout / "charts" / "millrace" / "values.yaml").read_text():
        why = "is from before operator and objects had namespaces of their own"
        shutil.rmtree(checkout)
        checkout.mkdir()
    if why:
        say(request, f"{OLDER} {why}: this version, numbered 0.0.0")
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


AUTHOR = "imports@example.com"


class Importer:
    """Imports models as one person, and approves them as another: the administrator."""

    def __init__(self, kubectl: Kubectl, store: sources.Sources, rows: list[list[float]]) -> None:
        self._kubectl = kubectl
        self._store = store
        self._rows = rows

    def imported(
        self,
        model_name: str,
        version: int,
        model: bytes,
        *,
        golden: dict[str, object] | None = None,
        signature: dict[str, object] | None = None,
    ) -> str:
        """Create the Model; its digest."""
        made = imports.upload(self._store, model_name, version, model, self._rows, golden, author=AUTHOR)
        if signature is not None:
            made.manifest["spec"]["signature"] = signature
        dataclasses.replace(self._kubectl, extra=("--as", AUTHOR, "--as-group", "system:masters")).create(made.manifest)
        return made.digest

    def approved(self, model_name: str, version: int, model: bytes, **more: Any) -> str:
        """Create the Model and approve it; its digest once the operator agrees."""
        digest = self.imported(model_name, version, model, **more)
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
