"""What is in the images, read from the archives that clusters load: no engine is asked, nothing is run."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest

from millrace_images import building, inputs

OURS = ("operator", "server", "trainer", "router")
COMPILERS = {"gcc", "cc", "g++", "clang", "make", "ld", "go", "pip", "pip3"}


class Contents:
    """One archive: the image's configuration and the paths in its layers."""

    def __init__(self, built: building.Built) -> None:
        with tarfile.open(built.archive) as archive:
            manifest = json.load(_member(archive, "manifest.json"))[0]
            self.config: dict[str, Any] = json.load(_member(archive, manifest["Config"]))["config"]
            self.layers = [sorted(_paths(archive, layer)) for layer in manifest["Layers"]]
        self.paths = {path for layer in self.layers for path in layer}

    @property
    def environment(self) -> dict[str, str]:
        return dict(item.split("=", 1) for item in self.config["Env"])

    def packages(self) -> set[str]:
        """Top-level names in site-packages."""
        parts = [PurePosixPath(path).parts for path in self.paths]
        return {after[1] for found in parts if len(after := found[_index(found, "site-packages") :]) > 1}


def _index(parts: tuple[str, ...], name: str) -> int:
    return parts.index(name) if name in parts else len(parts)


def _member(archive: tarfile.TarFile, name: str) -> Any:
    member = archive.extractfile(name)
    assert member is not None, name
    return member


def _paths(archive: tarfile.TarFile, layer: str) -> Iterator[str]:
    with tarfile.open(fileobj=_member(archive, layer)) as files:
        for entry in files:
            yield entry.name.removeprefix("./")


@pytest.fixture(scope="session")
def images() -> dict[str, Contents]:
    return {built.name: Contents(built) for built in building.build()}


@pytest.mark.parametrize("name", inputs.IMAGES)
def test_nobody_is_root(images: dict[str, Contents], name: str):
    assert images[name].config["User"] == "65532:65532"


@pytest.mark.parametrize("name", ["operator", "server", "trainer"])
def test_a_library_that_asks_who_it_runs_as_gets_a_name(images: dict[str, Contents], name: str):
    assert images[name].environment["LOGNAME"] == "millrace"


@pytest.mark.parametrize("name", ["server", "trainer"])
def test_onnxruntime_reports_to_nobody(images: dict[str, Contents], name: str):
    assert "onnxruntime" in images[name].packages()
    assert images[name].environment["ORT_DISABLE_TELEMETRY"] == "1"


@pytest.mark.parametrize("name", OURS)
def test_nothing_compiles_or_installs_inside(images: dict[str, Contents], name: str):
    programs = {
        PurePosixPath(path).name
        for path in images[name].paths
        if path.startswith(("usr/bin/", "usr/local/bin/", "opt/venv/bin/"))
    }
    assert "python3" in programs
    assert programs & COMPILERS == set()


@pytest.mark.parametrize("name", OURS)
def test_the_machine_that_built_it_left_nothing(images: dict[str, Contents], name: str):
    left = [path for path in images[name].paths if path.startswith(("etc/pip", "root/.cache/pip/"))]
    assert left == []
    assert not [key for key in images[name].environment if key.startswith("PIP_")]


def test_the_server_cannot_train_and_has_nothing_of_the_control_plane(images: dict[str, Contents]):
    server = images["server"]
    assert not server.packages() & {"sklearn", "skl2onnx", "pandas", "pyarrow", "kopf", "kubernetes", "pydantic"}
    ours = {PurePosixPath(path).parts[2] for path in server.paths if path.startswith("app/millrace/")} - {"__pycache__"}
    assert {"__init__.py", "contract"} == ours
    assert not [path for path in server.paths if path.startswith("app/millrace_runtime/training/")]


def test_a_change_of_code_changes_one_layer(images: dict[str, Contents]):
    for name in ("operator", "server", "trainer"):
        holding = [layer for layer in images[name].layers if any(path.startswith("app/") for path in layer)]
        assert len(holding) == 1, name
        assert not [path for path in holding[0] if path.startswith("opt/venv")], name


def test_the_router_holds_envoy_and_nothing_of_ours(images: dict[str, Contents]):
    router = images["router"]
    assert "usr/local/bin/envoy" in router.paths
    assert not [path for path in router.paths if path.startswith(("app/", "opt/venv"))]


def test_the_store_is_one_program(images: dict[str, Contents]):
    files = {path for path in images["store"].paths if not path.endswith("/")}
    assert {path for path in files if PurePosixPath(path).name != PurePosixPath(path).parts[0]} >= {
        "usr/local/bin/versitygw"
    }


def test_the_name_of_an_image_follows_its_inputs(tmp_path, monkeypatch: pytest.MonkeyPatch):
    image = inputs.IMAGES["operator"]
    same = inputs.tag_of(image, "base:1")
    assert inputs.tag_of(image, "base:1") == same
    assert inputs.tag_of(image, "base:2") != same
    monkeypatch.setenv("IMAGE_PREFIX", "registry.example/team/")
    assert inputs.reference_of(image, "base:1") == f"registry.example/team/operator:{same}"
