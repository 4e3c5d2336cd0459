"""What was loaded into which cluster is remembered, and forgotten only when the cluster must be long gone."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from millrace_cluster import binaries
from millrace_images import loading


def load(identity: str) -> list[str]:
    """Load one image into the cluster of that identity; what was really transferred."""
    loaded: list[str] = []
    cluster: Any = SimpleNamespace(
        kind="embedded",
        kubectl=lambda *_: SimpleNamespace(stdout=identity),
        load_image=lambda archive: loaded.append(archive.name),
    )
    image: Any = SimpleNamespace(reference="millrace/server:1", archive=Path("server.tar"))
    loading.load([image], cluster)
    return loaded


@pytest.fixture(autouse=True)
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(binaries, "cache", lambda: tmp_path)
    folder = tmp_path / "images"
    folder.mkdir()
    return folder


def test_an_image_is_loaded_once_into_each_of_two_clusters_that_take_turns() -> None:
    assert [load("one"), load("two"), load("one"), load("two")] == [["server.tar"], ["server.tar"], [], []]


def test_the_record_of_a_cluster_that_nobody_used_for_long_goes(records: Path) -> None:
    load("gone")
    month = loading.RECORD_SECONDS + 1
    os.utime(records / "loaded-gone", (0, (records / "loaded-gone").stat().st_mtime - month))
    load("here")
    assert [path.name for path in records.iterdir()] == ["loaded-here"]
