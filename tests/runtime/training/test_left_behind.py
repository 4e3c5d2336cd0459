"""Files that a trainer left: plain ones alone are read, with limits, and what they say is cut to what can be shown."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import time

import pytest

from millrace_runtime import files
from millrace_runtime.outcome import StageError
from millrace_runtime.training import evaluate, vetting
from millrace_runtime.training.spec import Volume

MIB = 1024 * 1024


def fifo(path):
    os.mkfifo(path)


def listening(path):
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(str(path))


def link(path):
    path.with_name("elsewhere").write_text("{}")
    path.symlink_to(path.with_name("elsewhere"))


def link_to_a_device(path):
    path.symlink_to("/dev/zero")


def dangling(path):
    path.symlink_to(path.with_name("nowhere"))


def loop(path):
    path.symlink_to(path)


def folder(path):
    path.mkdir()


def sparse(path):
    with path.open("wb") as file:
        file.truncate(2**40)


ODD = [fifo, listening, link, link_to_a_device, dangling, loop, folder, sparse]


def odd(make, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    make(path)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("make", ODD)
def test_only_a_plain_file_of_bounded_size_is_read(tmp_path, make):
    odd(make, tmp_path / "file")
    began = time.monotonic()
    with pytest.raises((files.NotPlainError, files.TooLargeError)):
        files.read(tmp_path / "file", MIB)
    assert time.monotonic() - began < 5


@pytest.mark.timeout(30)
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/full", "/dev/tty", "/dev/null"])
def test_no_device_is_read(device):
    with pytest.raises(files.NotPlainError):
        files.read(pathlib.Path(device), MIB)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("make", ODD)
def test_a_trainers_account_of_itself_that_is_no_plain_file_is_no_account(tmp_path, make):
    volume = Volume(tmp_path)
    odd(make, volume.model / "train.json")
    assert evaluate._facts(volume) == {}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("make", ODD)
def test_a_model_that_is_no_plain_file_is_refused(tmp_path, make):
    odd(make, tmp_path / "model" / "model.onnx")
    with pytest.raises(StageError) as caught:
        vetting.read(tmp_path / "model" / "model.onnx")
    assert caught.value.reason == ("ModelTooLarge" if make is sparse else "NotOnnx")


@pytest.mark.timeout(30)
@pytest.mark.parametrize("make", [fifo, listening, link_to_a_device, dangling, loop, sparse])
def test_a_folder_that_is_none_holds_no_model_and_no_account(tmp_path, make):
    odd(make, tmp_path / "model")
    assert evaluate._facts(Volume(tmp_path)) == {}
    with pytest.raises(StageError) as caught:
        vetting.read(tmp_path / "model" / "model.onnx")
    assert caught.value.reason == "NotOnnx"


def test_a_folder_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "train.json").write_text('{"seconds": 1}')
    (tmp_path / "model").symlink_to(tmp_path / "real")
    assert evaluate._facts(Volume(tmp_path)) == {}


def test_a_plain_account_is_read(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "train.json").write_text('{"seconds": 1}')
    assert evaluate._facts(Volume(tmp_path)) == {"seconds": 1}


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"[]",
        b'"a"',
        b"\xff\xfe{\x00}\x00",
        b"\x00" * 100,
        b'{"a": 1',
        b'{"a":' * 30_000,
        b"[" * 60_000,
        b'{"estimator": "\\ud800"}',
        b'{"\\udfff": 1}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": 1}' + b" " * evaluate.MAX_FACTS_BYTES,
    ],
)
def test_an_account_that_cannot_be_read_or_written_on_is_no_account(tmp_path, said):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "train.json").write_bytes(said)
    assert evaluate._facts(Volume(tmp_path)) == {}


def test_an_account_is_cut_to_what_can_be_shown(tmp_path):
    (tmp_path / "model").mkdir()
    deep = '{"a":' * 400 + "1" + "}" * 400
    account = '{"seconds": NaN, "scikitLearn": "%s", "parameters": {"C": "1", "deep": %s}, "n": [1, 1e999, null, true]}'
    (tmp_path / "model" / "train.json").write_text(account % ("<b>" * 5000, deep))
    facts = evaluate._facts(Volume(tmp_path))
    assert facts["seconds"] == "nan"
    assert len(facts["scikitLearn"]) == 200
    assert facts["parameters"] == {"C": "1", "deep": {"a": "…"}} or facts["parameters"] == {"C": "1", "deep": "…"}
    assert facts["n"] == [1, "inf", None, True]
    json.dumps(facts, allow_nan=False, indent=1).encode()
