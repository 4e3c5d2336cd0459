"""What every tier shares: telemetry off before any import of onnxruntime, and one marker per tier, given by folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

HERE = Path(__file__).parent
TIERS = frozenset({"apiserver", "router", "e2e", "images"})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        tier = item.path.relative_to(HERE).parts[0]
        if tier in TIERS:
            item.add_marker(tier)
