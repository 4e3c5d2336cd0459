"""A model takes as much memory as its evaluation allowed; a run that asks for more fails alone."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from serving_kit import models, process

from millrace_runtime import memory
from millrace_runtime.serving import process as life


def test_a_run_that_asks_for_more_memory_than_there_is_fails_alone(tmp_path):
    model = models.square()
    rows = np.ones((100_000, 2), np.float32)
    with process.start(model, tmp_path) as server:
        server.wait_ready()
        answer = server.infer(models.request({"numeric": rows}))
        assert (answer.status, answer.json()) == (
            500,
            {"error": "the model failed on this request; the server's log has the detail"},
        )
        assert server.infer(model.rows(0, 5)).status == 200
        assert server.memory_mib() < 700
        assert "bad_alloc" in server.log()


def test_a_model_that_needs_more_than_a_run_may_is_refused_on_its_golden_set(tmp_path):
    with process.start(models.greedy(megabytes=1024), tmp_path) as server:
        assert server.wait_exit() == 1
        failure = server.failure()
    assert failure["reason"] == "GoldenSetMismatch"
    assert "bad_alloc" in failure["message"]


def test_a_model_that_needs_less_is_served(tmp_path):
    with process.start(models.greedy(megabytes=100), tmp_path) as server:
        server.wait_ready()


@pytest.mark.parametrize("limit,resident,allowed", [(2**30, 2**28, 2**30 * 95 // 100 - 2**28), (2**27, 2**27, 2**26)])
def test_in_a_container_requests_get_what_is_left_of_it(monkeypatch, regressor, tmp_path, limit, resident, allowed):
    monkeypatch.setattr(memory, "of_container", lambda: limit)
    monkeypatch.setattr(memory, "resident", lambda: resident)
    assert life._for_requests(process.settings_of(regressor, tmp_path)) == allowed


def test_without_a_limit_of_the_container_there_is_one_all_the_same(monkeypatch, regressor, tmp_path):
    monkeypatch.setattr(memory, "of_container", lambda: None)
    assert life._for_requests(process.settings_of(regressor, tmp_path)) == 512 * 2**20 + 16 * 64 * 2**20


def test_numbers_of_64_bits_are_served_as_such(tmp_path):
    """The server feeds what the graph declares: 20240101 and 20240102 are one number in 32 bits."""
    model = models.dated()
    with process.start(model, tmp_path) as server:
        server.wait_ready()
        (described,) = server.get("/v2/models/churn").json()["inputs"]
        assert (described["datatype"], described["parameters"]) == ("FP64", {"features": ["day"]})
        answer = server.infer(model.rows(0, 28)).json()
        assert answer["outputs"][0]["data"] == [1.0, 0.0] * 14
        narrow = models.request({"numeric": model.feeds["numeric"].astype(np.float32)})
        assert server.infer(narrow).json() == {"error": "input numeric: expected datatype FP64, got 'FP32'"}


@pytest.mark.parametrize("columns", [100, 2000])
def test_metadata_name_every_feature_and_every_one_is_watched(tmp_path, columns):
    model = models.wide(columns)
    with process.start(model, tmp_path) as server:
        server.wait_ready()
        (described,) = server.get("/v2/models/churn").json()["inputs"]
        assert described["parameters"]["features"] == [f"x{at}" for at in range(columns)]
        assert server.infer(model.rows(0, 1)).status == 200
        page = server.get("/metrics").body.decode()
    from millrace.observe.exposition import server_page

    read = server_page(page)
    assert len(read.live) == len(read.reference) == columns
    assert {sum(counts) for counts in read.live.values()} == {1}


@pytest.mark.parametrize("spread,starts", [(1e-6, False), (10.0, True)])
def test_golden_answers_are_held_to_the_scale_of_the_models_own(classifier, tmp_path, spread, starts):
    """A difference of 5e-5 is nothing to answers that spread over 10, and everything to those that spread over 1e-6."""
    golden = json.loads(classifier.golden.to_json())
    golden["spreads"] = {"probabilities": spread}
    golden["response"]["outputs"][1]["data"][5] += 5e-5
    changed = replace(classifier, golden=type(classifier.golden).from_dict(golden))
    with process.start(changed, tmp_path) as server:
        if starts:
            server.wait_ready()
        else:
            assert server.wait_exit() == 1
            assert server.failure()["reason"] == "GoldenSetMismatch"


@pytest.mark.parametrize(
    "level,lines", [("info", ["ready"]), ("WARNING", []), ("debug", ["ready"]), ("nonsense", ["ready"])]
)
def test_the_log_says_as_much_as_it_was_asked_to(regressor, tmp_path, level, lines):
    with process.start(regressor, tmp_path, log_level=level) as server:
        server.wait_ready()
        assert [line["message"] for line in server.lines()] == lines
