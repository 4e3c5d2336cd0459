"""One real cluster, one Helm release, shared by all end-to-end tests; every test names its own objects."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import millrace_cluster
from millrace_demo import data, imports, release, sources
from millrace_demo.kubectl import Kubectl, is_true

NAMESPACE = "millrace"


@pytest.fixture(scope="session")
def installed() -> release.Release:
    """The chart, freshly installed."""
    cluster = millrace_cluster.up()
    release.remove(cluster, NAMESPACE)
    return release.install(cluster, NAMESPACE, release.prepare_images(cluster))


@pytest.fixture(scope="session")
def kubectl(installed: release.Release) -> Kubectl:
    """The cluster administrator's kubectl."""
    return installed.kubectl


@pytest.fixture(scope="session")
def store(kubectl: Kubectl) -> Iterator[sources.Sources]:
    """The embedded store."""
    with sources.open_sources(kubectl) as opened:
        yield opened


@pytest.fixture(scope="session")
def slices() -> tuple[data.Slice, data.Slice]:
    """The real rows, in two parts that differ."""
    return data.slices()


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
        name = f"{model_name}-{version}"
        patch = imports.approval(self._kubectl.whoami(), digest)
        self._kubectl.run("patch", "mmd", name, "--type=merge", "-p", patch)
        self._kubectl.until("mmd", name, lambda item: is_true(item, "Approved"), 30, "Approved")
        return digest


@pytest.fixture(scope="session")
def importer(kubectl: Kubectl, store: sources.Sources, slices: tuple[data.Slice, data.Slice]) -> Importer:
    """Imports models whose golden rows are healthy people (few chronic conditions)."""
    healthy = sorted(slices[0].rows, key=lambda row: row[data.FEATURES.index("disea")])
    return Importer(kubectl, store, healthy[:2000])
