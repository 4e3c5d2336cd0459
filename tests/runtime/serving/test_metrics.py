"""`/metrics` counts what was served, in the bins of the reference profile."""

from __future__ import annotations

import collections

import numpy as np
import pytest
from serving_kit import models, process

from millrace.contract import exposition, series


def samples(server):
    return list(exposition.parse(server.get("/metrics").body.decode()))


def value(server, name, **labels):
    (found,) = [s for s in samples(server) if s.name == name and labels.items() <= s.labels.items()]
    return found.value


def bins(server, name, **labels):
    """Counts by (feature or output), in order of bins."""
    found = collections.defaultdict(dict)
    for sample in samples(server):
        if sample.name == name:
            label = sample.labels.get("feature", sample.labels.get("output"))
            found[label][int(sample.labels["bin"])] = int(sample.value)
    return {label: tuple(count for _, count in sorted(counts.items())) for label, counts in found.items()}


@pytest.fixture
def fresh(mixed, tmp_path):
    with process.start(mixed, tmp_path) as server:
        yield server.wait_ready()


def test_every_series_of_the_contract_is_exported_and_no_other(fresh):
    names = {sample.name for sample in samples(fresh)}
    families = {name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in names}
    assert families == {family.name for family in series.SERVER_SERIES}


def test_every_sample_names_model_and_revision(fresh):
    for sample in samples(fresh):
        assert sample.labels["model"] == "churn-7"
        assert sample.labels["revision"] == "7f9c2b00"


def test_the_page_is_understood_by_prometheus_own_parser(fresh):
    from prometheus_client.parser import text_string_to_metric_families

    families = {
        family.name: family.type for family in text_string_to_metric_families(fresh.get("/metrics").body.decode())
    }
    assert families["millrace_requests"] == "counter"
    assert families["millrace_request_seconds"] == "histogram"
    assert families["millrace_reference_bin"] == "gauge"


def test_requests_are_counted_by_code_and_rows_by_row(fresh, mixed):
    assert value(fresh, "millrace_requests_total", code="200") == 0
    for rows in (1, 2, 3):
        fresh.infer(mixed.rows(0, rows))
    fresh.infer(b"{}")
    fresh.get("/v2/models/churn/infer")
    assert value(fresh, "millrace_requests_total", code="200") == 3
    assert value(fresh, "millrace_requests_total", code="400") == 1
    assert value(fresh, "millrace_requests_total", code="405") == 1
    assert value(fresh, "millrace_requests_total", code="500") == 0
    assert value(fresh, "millrace_rows_total") == 6
    assert value(fresh, "millrace_request_seconds_count") == 5
    assert value(fresh, "millrace_request_seconds_bucket", le="+Inf") == 5
    assert 0 < value(fresh, "millrace_request_seconds_sum") < 5


def test_health_checks_and_the_golden_set_are_not_traffic(fresh):
    fresh.get("/v2/health/ready")
    assert value(fresh, "millrace_rows_total") == 0
    assert sum(map(sum, bins(fresh, "millrace_feature_bin_total").values())) == 0
    assert value(fresh, "millrace_golden_rows") == 64
    assert value(fresh, "millrace_ready") == 1


def test_the_reference_is_exported_as_it_stands_in_the_profile(fresh, mixed):
    expected = {feature.name: feature.counts for feature in mixed.profile.features}
    assert bins(fresh, "millrace_reference_bin") == expected
    assert bins(fresh, "millrace_reference_output_bin") == {o.name: o.counts for o in mixed.profile.outputs}


def test_serving_the_training_rows_gives_the_reference_counts(fresh, mixed):
    rows = mixed.profile.rows
    for start in range(0, rows, 7):
        assert fresh.infer(mixed.rows(start, min(start + 7, rows))).status == 200
    assert bins(fresh, "millrace_feature_bin_total") == bins(fresh, "millrace_reference_bin")
    labels = collections.Counter(mixed.expected(0, rows)[0].tolist())
    assert bins(fresh, "millrace_output_bin_total")["label"] == (*(labels[f"class_{i}"] for i in range(3)), 0, 0)


def test_unknown_and_missing_categories_have_bins_of_their_own(fresh, mixed):
    request = models.request(
        {
            "numeric": mixed.feeds["numeric"][:2],
            "categorical": np.array([["violet", ""], ["low", "fair"]], dtype=object),
        }
    )
    assert fresh.infer(request).status == 200
    live = bins(fresh, "millrace_feature_bin_total")
    assert live["hue"] == (0, 1, 1, 0)
    assert live["colour"] == (0, 1, 0, 1)


def test_refused_requests_are_not_in_the_histograms(fresh, mixed):
    request = mixed.rows(0, 1)
    request["inputs"][1]["data"][0] = None
    assert fresh.infer(request).status == 400
    assert sum(map(sum, bins(fresh, "millrace_feature_bin_total").values())) == 0


def test_the_model_served_is_named(fresh, mixed):
    assert value(fresh, "millrace_model_info", digest=mixed.digest, version="7") == 1
