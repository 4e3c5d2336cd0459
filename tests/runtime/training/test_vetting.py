"""Hostile and broken model files are refused before any runtime loads them."""

from __future__ import annotations

import contextlib
import itertools
import os
import random

import pytest
from run_kit import graphs

from millrace_runtime.outcome import StageError
from millrace_runtime.training import scoring, vetting


def refused(model):
    with pytest.raises(StageError) as caught:
        vetting.vet(model if isinstance(model, bytes) else model.SerializeToString())
    return caught.value


def test_a_plain_graph_is_accepted():
    assert vetting.vet(graphs.classifier().SerializeToString()).graph.name == "plain"


@pytest.mark.parametrize("place,location", list(itertools.product(graphs.TENSOR_PLACES, graphs.LOCATIONS)))
def test_data_outside_the_file_is_refused_wherever_it_hides(place, location):
    model = graphs.classifier()
    graphs.TENSOR_PLACES[place](model, location)
    assert refused(model).reason in ("ExternalData", "OperatorNotAllowed")


@pytest.mark.parametrize("what", graphs.FORBIDDEN)
def test_what_cannot_be_served_is_refused(what):
    model = graphs.classifier()
    graphs.FORBIDDEN[what](model)
    assert refused(model).reason == "OperatorNotAllowed"


def test_a_dropout_that_answers_as_it_was_trained_is_served():
    model = graphs.classifier()
    graphs.dropout(model, training=False)
    vetting.vet(model.SerializeToString())


@pytest.mark.parametrize("what", graphs.MALFORMED)
def test_a_broken_message_is_not_a_model(what):
    model = graphs.classifier()
    graphs.MALFORMED[what](model)
    assert refused(model).reason == "NotOnnx"


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x80\x04\x95pickle", bytes(range(256)), b"\x08\x09"])
def test_other_bytes_are_not_a_model(data):
    assert refused(data).reason == "NotOnnx"


def test_names_from_the_file_are_shown_harmlessly():
    model = graphs.classifier()
    model.graph.node[0].op_type = "A\x1b[31m\n" + "B" * 500
    message = refused(model).message
    assert "\x1b" not in message
    assert "\n" not in message
    assert len(message) < 300


def test_too_many_nodes_are_too_large(monkeypatch):
    monkeypatch.setattr(vetting, "MAX_NODES", 2)
    assert refused(graphs.classifier()).reason == "ModelTooLarge"


def test_too_many_bytes_are_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(vetting, "MAX_BYTES", 100)
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\0" * 101)
    with pytest.raises(StageError) as caught:
        vetting.read(path)
    assert caught.value.reason == "ModelTooLarge"


def test_a_link_to_another_file_is_not_followed(tmp_path):
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "model.onnx").symlink_to(tmp_path / "secret")
    with pytest.raises(StageError) as caught:
        vetting.read(tmp_path / "model.onnx")
    assert caught.value.reason == "NotOnnx"


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_not_a_plain_file_is_not_read(tmp_path, kind):
    path = tmp_path / "model.onnx"
    os.mkfifo(path) if kind == "pipe" else path.mkdir()
    with pytest.raises(StageError) as caught:
        vetting.read(path)
    assert caught.value.reason == "NotOnnx"


def test_no_file_is_no_model(tmp_path):
    with pytest.raises(StageError) as caught:
        vetting.read(tmp_path / "model.onnx")
    assert caught.value.reason == "NoModelWritten"


def test_mutated_files_are_accepted_or_refused_and_nothing_else():
    whole = graphs.classifier().SerializeToString()
    chance = random.Random(11)
    for _ in range(3000):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        cut = bytes(data[: chance.choice([len(data), chance.randrange(len(data))])])
        with contextlib.suppress(StageError):
            vetting.vet(cut)


def test_a_model_that_kills_the_runtime_kills_only_its_own_process(tmp_path, monkeypatch):
    import numpy as np

    monkeypatch.setattr(scoring, "TIMEOUT_SECONDS", 60)
    stub = tmp_path / "onnxruntime.py"
    stub.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    with pytest.raises(scoring.ScoringError, match="crashed the ONNX runtime \\(signal 11\\)"):
        scoring.score(graphs.classifier().SerializeToString(), {"test": {"numeric": np.zeros((1, 2), np.float32)}})


def test_the_process_that_runs_the_model_sees_no_credentials(monkeypatch, tmp_path):
    import numpy as np

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    stub = tmp_path / "onnxruntime.py"
    stub.write_text("import os\nraise RuntimeError(','.join(sorted(os.environ)))\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    with pytest.raises(scoring.ScoringError) as caught:
        scoring.score(graphs.classifier().SerializeToString(), {"test": {"numeric": np.zeros((1, 2), np.float32)}})
    assert "AWS" not in str(caught.value)
    assert "ORT_DISABLE_TELEMETRY" in str(caught.value)
