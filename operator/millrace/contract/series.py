"""Names, labels and buckets of the server's series. Those of the router are in `millrace.contract.router`."""

from __future__ import annotations

from dataclasses import dataclass

COUNTER = "counter"
GAUGE = "gauge"
HISTOGRAM = "histogram"

COMMON_LABELS = ("model", "revision")
"""On every series of the server: the Model object's name and the served revision."""

LATENCY_BUCKETS_SECONDS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds of millrace_request_seconds; `+Inf` follows."""


@dataclass(frozen=True)
class Series:
    """One family; `labels` come after the common ones."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()


REQUESTS = Series("millrace_requests_total", COUNTER, "Inference requests answered, by HTTP status code.", ("code",))
REQUEST_SECONDS = Series(
    "millrace_request_seconds", HISTOGRAM, "Seconds from a request's last byte read to its answer."
)
ROWS = Series("millrace_rows_total", COUNTER, "Rows predicted.")
FEATURE_BINS = Series("millrace_feature_bin_total", COUNTER, "Served rows per bin of a feature.", ("feature", "bin"))
REFERENCE_BINS = Series("millrace_reference_bin", GAUGE, "Training rows per bin of a feature.", ("feature", "bin"))
OUTPUT_BINS = Series("millrace_output_bin_total", COUNTER, "Served rows per bin of an output.", ("output", "bin"))
REFERENCE_OUTPUT_BINS = Series(
    "millrace_reference_output_bin", GAUGE, "Training rows per bin of an output.", ("output", "bin")
)
MODEL_INFO = Series("millrace_model_info", GAUGE, "1; which bytes are served.", ("digest", "version"))
GOLDEN_ROWS = Series("millrace_golden_rows", GAUGE, "Golden rows reproduced before this server took traffic.")
READY = Series("millrace_ready", GAUGE, "1 while the server takes traffic, 0 before and while it leaves.")

SERVER_SERIES = (
    REQUESTS, REQUEST_SECONDS, ROWS, FEATURE_BINS, REFERENCE_BINS, OUTPUT_BINS, REFERENCE_OUTPUT_BINS,
    MODEL_INFO, GOLDEN_ROWS, READY,
)  # fmt: skip
