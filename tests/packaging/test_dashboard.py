"""The dashboard that is shipped."""

from __future__ import annotations

import json
import re
from pathlib import Path

from millrace.contract import series

ROOT = Path(__file__).resolve().parents[2]


def test_the_dashboard_reads_only_series_that_exist():
    from millrace.telemetry import Series

    board = json.loads((ROOT / "manifests/dashboards/millrace.json").read_text())
    expressions = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    own = {metric.name for metric in Series().registry.collect()} | {item.name for item in series.SERVER_SERIES}
    named = {name for text in expressions for name in re.findall(r"\b([a-z_]+_[a-z_]+)\{", text)}
    known = {name for name in named if name.startswith("envoy_cluster_")}
    known |= {name for name in named if re.sub(r"_(bucket|total|count|sum)$", "", name) in own or name in own}
    known |= {"process_resident_memory_bytes"}  # the client library's own, on Linux
    assert expressions
    assert named <= known
