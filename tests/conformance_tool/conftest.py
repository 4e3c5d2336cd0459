"""A real server that conforms, and whose answers the tests falsify."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "runtime" / "serving" / "kit"))

from serving_kit import models, process


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[process.Server]:
    """Two outputs, so that their order can be wrong."""
    with process.start(models.classifier(), tmp_path_factory.mktemp("classifier")) as running:
        yield running.wait_ready()


@pytest.fixture(scope="session")
def mixed_server(tmp_path_factory) -> Iterator[process.Server]:
    """Two inputs, one of strings."""
    with process.start(models.mixed_classifier(), tmp_path_factory.mktemp("mixed")) as running:
        yield running.wait_ready()
