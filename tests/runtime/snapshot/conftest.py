"""A Dataset on this machine's disk, and a real S3 server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "kit"))

from data_kit import gateway, tasks


@pytest.fixture
def dataset(tmp_path) -> tasks.Dataset:
    return tasks.Dataset(tmp_path)


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Iterator[gateway.Gateway]:
    with gateway.running(tmp_path_factory.mktemp("store")) as served:
        yield served
