"""Whatever a column or a class is called, and however many there are, it is drawn, counted, exported and read back."""

from __future__ import annotations

import unicodedata
import warnings

import numpy as np
import pandas as pd
import pytest
from run_kit import runs

from millrace.contract import environment, exposition, profile, series
from millrace.contract.dataset import Field, FieldType, Role
from millrace_runtime.outcome import StageError
from millrace_runtime.serving.drift import DriftCounters
from millrace_runtime.serving.telemetry import Telemetry
from millrace_runtime.serving.tensors import TensorSpec
from millrace_runtime.training import card, features, reference

pytestmark = pytest.mark.usefixtures("one_process")

ODD = [
    "$", "price $", "$a$", "$\\frac{", "$$", "a_b^c", "\\alpha", "_hidden", "a\rb", "a\u2028b", "a\u2029b", "a\u0085b",
    "a\x0bb", "a\x0cb", "a\x1cb", "tab\there", 'quote"d', "back\\slash", "brace}", "brace{", "a} 1", "# HELP", "comma,",
    "日本語", "\u202eright to left", "e\u0301", "🙂", " spaces ", "<script>", "&amp;", "%s", "{0}", "\x01",
    "line\nfeed",
]  # fmt: skip

REFUSED = {"Cc", "Zl", "Zp"}
"""Categories of characters that no name of a new version has; those of older operators may."""


def page_of(names):
    """The metrics page of a server that counts these features."""
    shape = {"kind": "numeric", "edges": (0.0, 1.0), "counts": (1, 2, 3, 4)}
    counted = [profile.FeatureHistogram(name=name, input="numeric", index=at, **shape) for at, name in enumerate(names)]
    told = environment.ServerEnvironment("m", "1", "m-1", "r", "d", "sha256:" + "0" * 64, "u", "u", "u")
    telemetry = Telemetry(told)
    specs = [TensorSpec("numeric", "FP32", (-1, len(names)))]
    telemetry.drift = DriftCounters(profile.Profile(10, tuple(counted)), specs, [])
    telemetry.drift.add({"numeric": np.full((5, len(names)), 0.5, np.float32)}, {}, 5)
    return telemetry.page().decode()


def test_a_series_of_every_name_survives_the_page_and_its_reader():
    found = {}
    for sample in exposition.parse(page_of(ODD)):
        if sample.name == series.FEATURE_BINS.name:
            found.setdefault(sample.labels["feature"], []).append(sample.value)
    assert found == {name: [0.0, 5.0, 0.0, 0.0] for name in ODD}


def test_prometheus_own_reader_understands_the_page_as_well():
    from prometheus_client.parser import text_string_to_metric_families

    names = {
        sample.labels["feature"]
        for family in text_string_to_metric_families(page_of(ODD))
        for sample in family.samples
        if sample.name == series.REFERENCE_BINS.name
    }
    assert names == set(ODD)


def test_the_operator_counts_features_of_every_name():
    from millrace.observe.exposition import server_page

    page = server_page(page_of(ODD))
    assert set(page.live) == set(page.reference) == set(ODD)


@pytest.mark.parametrize("label", ["Int64", "Category"])
def test_a_run_on_columns_of_every_name_ends_with_a_model_and_a_card(tmp_path, label):
    names = [name for name in ODD if not {unicodedata.category(one) for one in name if one not in "\n\t"} & REFUSED]
    assert "$" in names
    assert "line\nfeed" in names
    chance = np.random.default_rng(0)
    rows = pd.DataFrame(chance.normal(size=(300, len(names))), columns=names)
    first = rows.iloc[:, 0] > 0
    rows["label"] = first.astype(int) if label == "Int64" else np.where(first, "$x_1^2$ \\frac{", "_$")
    bench = runs.Bench(tmp_path)
    bench.freeze(rows, label)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        assert bench.run("odd").outcome == "Succeeded"
    page = bench.artifact("odd", "card.html").read_text()
    assert page.count("<img") == 3
    assert "<script" not in page


@pytest.mark.parametrize("name", ODD)
def test_a_name_is_drawn_as_one_line_of_text(name):
    shown = card._shown(name, 28)
    assert shown.isprintable()
    assert len(shown) == min(len(name), 28)


# --------------------------------------------------------------------------------------------------------- how many


def layout_of(count):
    fields = [Field(f"x{at}", FieldType.FLOAT64) for at in range(count)]
    return features.layout([*fields, Field("label", FieldType.INT64, Role.LABEL)], classification=True)


def test_two_thousand_features_are_a_model_and_one_more_is_named():
    assert len(layout_of(2000).columns) == 2000
    with pytest.raises(
        StageError, match="has 2001 features, a model is served and watched with at most 2000"
    ) as caught:
        layout_of(2001)
    assert caught.value.reason == "TooManyFeatures"


@pytest.mark.parametrize("count,bins", [(1, 16), (64, 16), (750, 16), (1000, 12), (2000, 6)])
def test_every_feature_is_watched_with_fewer_bins_the_more_there_are(count, bins):
    layout = layout_of(count)
    rows = {"numeric": np.random.default_rng(0).normal(size=(500, count)).astype(np.float32)}
    from millrace.contract.report import Signature

    made = reference.profile(rows, {}, layout, Signature(), [])
    assert [feature.name for feature in made.features] == list(layout.numeric)
    assert {feature.bins for feature in made.features} == {bins}
    assert sum(feature.bins for feature in made.features) <= profile.ALL_BINS
    assert profile.Profile.from_json(made.to_json()) == made


def test_a_wide_run_names_and_counts_all_its_features(tmp_path):
    chance = np.random.default_rng(0)
    rows = pd.DataFrame(chance.normal(size=(200, 100)), columns=[f"n{at}" for at in range(100)])
    rows = rows.assign(text=chance.choice(["a", "b"], 200), label=chance.integers(0, 2, 200))
    bench = runs.Bench(tmp_path)
    bench.freeze(rows, "Int64")
    bench.run("wide")
    held = profile.Profile.from_json(bench.artifact("wide", "profile.json").read_bytes())
    named = {
        name: [feature.name for feature in held.features if feature.input == name]
        for name in ("numeric", "categorical")
    }
    assert named == {"numeric": [f"n{at}" for at in range(100)], "categorical": ["text"]}
