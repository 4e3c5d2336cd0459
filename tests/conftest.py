"""What every tier shares: telemetry off before any import of onnxruntime, markers, and the report of what failed.

A tier with a folder of its own gives every test there its marker. Elsewhere a test that needs a program which is built
here says so: `programs`, or the marker of the tier whose means it uses, which implies it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from millrace_tiers import failures

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

HERE = Path(__file__).parent
TIERS = frozenset({"apiserver", "router", "e2e", "images"})


def pytest_configure(config: pytest.Config) -> None:
    failures.register(config)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(HERE).parts[0]
        if folder in TIERS:
            item.add_marker(folder)
        elif any(item.get_closest_marker(tier) for tier in TIERS):
            item.add_marker("programs")
