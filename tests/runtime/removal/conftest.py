"""A real S3 server, and a store that is a folder of this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "snapshot" / "kit"))

from data_kit import gateway


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Iterator[gateway.Gateway]:
    with gateway.running(tmp_path_factory.mktemp("store")) as served:
        yield served
