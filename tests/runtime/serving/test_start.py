"""A server takes traffic only with the bytes that were approved and the answers that were evaluated."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from serving_kit import models, process


def wrong_answer(model, tensor, element, value):
    golden = json.loads(model.golden.to_json())
    golden["response"]["outputs"][tensor]["data"][element] = value
    return replace(model, golden=type(model.golden).from_dict(golden))


def refused(server) -> dict[str, str]:
    """The failure of a server that must end by itself."""
    with server:
        assert server.wait_exit() == 1
        assert [line["message"] for line in server.lines()] == ["failed"]
        assert len((server.directory / "termination-log").read_bytes()) <= 4096
        return server.failure()


def test_another_digest_than_the_approved_one_is_refused(regressor, tmp_path):
    failure = refused(process.start(regressor, tmp_path, digest="sha256:" + "0" * 64))
    assert (failure["stage"], failure["reason"]) == ("serve", "DigestMismatch")
    assert regressor.digest in failure["message"]


def test_bytes_changed_after_the_fetch_are_refused(regressor, tmp_path):
    settings = process.settings_of(regressor, tmp_path)
    regressor.write(Path(settings.model_dir))
    with (Path(settings.model_dir) / "model.onnx").open("ab") as file:
        file.write(b"\0")
    assert refused(process.Server(settings, tmp_path))["reason"] == "DigestMismatch"


@pytest.mark.parametrize("digest", ["", "md5:abc", "sha256:", "sha256:xyz"])
def test_a_digest_that_proves_nothing_is_refused(regressor, tmp_path, digest):
    assert refused(process.start(regressor, tmp_path, digest=digest))["reason"] == "DigestMismatch"


def test_an_answer_that_is_not_the_golden_one_is_refused_by_tensor_and_element(classifier, tmp_path):
    failure = refused(process.start(wrong_answer(classifier, 1, 5, 0.5), tmp_path))
    assert failure["reason"] == "GoldenSetMismatch"
    assert failure["message"].startswith("output probabilities: expected 0.5, got ")
    assert "at element 5 (1 of 128 differ)" in failure["message"]


def test_a_label_that_is_not_the_golden_one_is_refused(mixed, tmp_path):
    failure = refused(process.start(wrong_answer(mixed, 0, 3, "class_9"), tmp_path))
    assert failure["message"] == "output label: expected class_9, got class_0 at element 3 (1 of 64 differ)"


def test_differences_within_the_tolerance_are_accepted(classifier, tmp_path):
    value = classifier.golden.response["outputs"][1]["data"][5] + 5e-5
    with process.start(wrong_answer(classifier, 1, 5, value), tmp_path) as server:
        server.wait_ready()


def test_a_golden_set_of_another_model_is_refused(regressor, classifier, tmp_path):
    failure = refused(process.start(replace(regressor, golden=classifier.golden), tmp_path))
    assert failure["reason"] == "GoldenSetMismatch"
    assert "input numeric: expected shape [-1,10]" in failure["message"]


def test_a_profile_of_another_model_is_refused(regressor, mixed, tmp_path):
    failure = refused(process.start(replace(regressor, profile=mixed.profile), tmp_path))
    assert failure["reason"] == "ModelNotLoadable"
    assert "tensor categorical, which the model has not got" in failure["message"]


def test_a_file_that_is_not_a_model_is_refused(regressor, tmp_path):
    failure = refused(process.start(replace(regressor, onnx=b"not a model at all"), tmp_path))
    assert failure["reason"] == "ModelNotLoadable"


def test_a_model_that_answers_with_a_sequence_is_refused(tmp_path):
    failure = refused(process.start(models.sequence(), tmp_path))
    assert failure["reason"] == "ModelNotLoadable"
    assert "output prediction is a seq(tensor(float))" in failure["message"]


@pytest.mark.parametrize("name", ["model.onnx", "golden.json", "profile.json"])
def test_a_file_that_is_absent_is_refused(regressor, tmp_path, name):
    settings = process.settings_of(regressor, tmp_path)
    (regressor.write(Path(settings.model_dir)) / name).unlink()
    failure = refused(process.Server(settings, tmp_path))
    assert failure["reason"] in ("ModelNotFound", "ModelNotLoadable", "GoldenSetMismatch")
    assert "cannot be read" in failure["message"] or "cannot read" in failure["message"]


def test_fetch_copies_the_three_files_and_serve_starts_from_them(regressor, tmp_path):
    settings = process.settings_of(regressor, tmp_path)
    regressor.write(tmp_path / "store")
    Path(settings.model_dir).mkdir()
    with process.Server(settings, tmp_path, stage="fetch") as fetch:
        assert fetch.wait_exit() == 0
    assert sorted(path.name for path in Path(settings.model_dir).iterdir()) == [
        "golden.json",
        "model.onnx",
        "profile.json",
    ]
    with process.Server(settings, tmp_path) as server:
        server.wait_ready()


def test_fetch_refuses_other_bytes_and_leaves_nothing_to_serve(regressor, tmp_path):
    settings = process.settings_of(regressor, tmp_path, digest="sha256:" + "0" * 64)
    regressor.write(tmp_path / "store")
    Path(settings.model_dir).mkdir()
    failure = refused(process.Server(settings, tmp_path, stage="fetch"))
    assert (failure["stage"], failure["reason"]) == ("fetch", "DigestMismatch")
    assert list(Path(settings.model_dir).iterdir()) == []


def test_fetch_names_an_object_that_is_not_in_the_store(regressor, tmp_path):
    failure = refused(process.Server(process.settings_of(regressor, tmp_path), tmp_path, stage="fetch"))
    assert failure["reason"] == "ModelNotFound", "it may be there again: nothing is known of the model"
    assert "model.onnx does not exist in the store" in failure["message"]


def test_a_variable_that_is_not_set_is_named(regressor, tmp_path, monkeypatch):
    from millrace_runtime.serving import __main__ as command

    for name, value in process.settings_of(regressor, tmp_path).to_env().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MILLRACE_DIGEST")
    monkeypatch.setenv("MILLRACE_TERMINATION_LOG", str(tmp_path / "termination-log"))
    assert command.main(["serve"]) == 1
    assert "MILLRACE_DIGEST: required, but not set" in (tmp_path / "termination-log").read_text()


def test_telemetry_of_the_runtime_is_off_whatever_the_environment_says(regressor, tmp_path):
    """The process is started without the variable; it must be set before onnxruntime can be imported."""
    probe = (
        "import os, sys; os.environ.pop('ORT_DISABLE_TELEMETRY', None); import millrace_runtime.serving.__main__;"
        "assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'; assert 'onnxruntime' not in sys.modules"
    )
    import subprocess
    import sys

    subprocess.run([sys.executable, "-c", probe], env={"PYTHONPATH": process.SOURCES}, check=True)


def test_probes_are_answered_while_the_model_is_being_loaded(regressor, tmp_path):
    """The model file is a named pipe nobody has written yet: a slow disk."""
    settings = process.settings_of(regressor, tmp_path)
    path = regressor.write(Path(settings.model_dir)) / "model.onnx"
    path.unlink()
    os.mkfifo(path)
    with process.Server(settings, tmp_path) as server:
        wait_listening(server)
        assert server.get("/v2/health/live").json() == {"live": True, "ready": False}
        answers = [server.get("/v2/health/ready"), server.get("/v2/models/churn/ready"), server.infer({})]
        assert [answer.status for answer in answers] == [503, 503, 503]
        assert {answer.headers["retry-after"] for answer in answers} == {"1"}
        assert answers[2].json() == {"error": "the model is still being loaded"}
        assert server.get("/v2/models/churn").status == 503
        assert "millrace_ready{" in server.get("/metrics").body.decode()
        path.write_bytes(regressor.onnx)
        server.wait_ready()
        assert server.infer(regressor.rows(0, 1)).status == 200


def wait_listening(server) -> None:
    import time

    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            server.get("/v2/health/live")
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(server.log())


def test_interrupt_ends_the_server_at_once(regressor, tmp_path):
    with process.start(regressor, tmp_path, drain_seconds=60) as server:
        server.wait_ready()
        server.process.send_signal(signal.SIGINT)
        assert server.wait_exit(5) == 0


def test_the_server_needs_less_than_100_mib(regressor, tmp_path):
    with process.start(regressor, tmp_path) as server:
        server.wait_ready()
        for start in range(0, 400, 50):
            assert server.infer(regressor.rows(start, start + 50)).status == 200
        assert server.memory_mib() < 100
