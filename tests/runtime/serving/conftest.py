"""Real models, and one real server per model for the tests that only ask."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "kit"))

from serving_kit import models, process


@pytest.fixture(scope="session")
def classifier() -> models.Model:
    return models.classifier()


@pytest.fixture(scope="session")
def mixed() -> models.Model:
    return models.mixed_classifier()


@pytest.fixture(scope="session")
def regressor() -> models.Model:
    return models.regressor()


@pytest.fixture(scope="session")
def server(classifier, tmp_path_factory) -> Iterator[process.Server]:
    with process.start(classifier, tmp_path_factory.mktemp("classifier")) as running:
        yield running.wait_ready()


@pytest.fixture(scope="session")
def mixed_server(mixed, tmp_path_factory) -> Iterator[process.Server]:
    with process.start(mixed, tmp_path_factory.mktemp("mixed")) as running:
        yield running.wait_ready()
