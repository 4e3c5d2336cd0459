"""`millrace conformance URL`, as somebody types it."""

from __future__ import annotations

import json

import pytest

from millrace import cli
from millrace_cluster import ports


def url_of(server):
    return f"http://127.0.0.1:{server.settings.port}"


def test_it_finds_the_model_asks_everything_and_writes_what_it_found(server, tmp_path, capsys):
    assert cli.main(["conformance", url_of(server), "--json", str(tmp_path / "found.json")]) == 0
    printed = capsys.readouterr().out
    assert "The server speaks the Open Inference Protocol v2 over REST." in printed
    assert "FAILED" not in printed
    written = json.loads((tmp_path / "found.json").read_text())
    assert written["model"] == "churn"
    assert {one["outcome"] for one in written["results"]} == {"passed", "n/a"}


def test_a_given_request_is_what_is_asked(server, tmp_path, capsys):
    request = {"inputs": [{"name": "numeric", "datatype": "FP32", "shape": [1, 30], "data": [1.5] * 30}]}
    (tmp_path / "request.json").write_text(json.dumps(request))
    given = ["conformance", url_of(server), "--model", "churn", "--request", str(tmp_path / "request.json"), "-v"]
    assert cli.main(given) == 0
    assert "the given request has the rows it has" in capsys.readouterr().out


def test_a_model_that_is_not_there_does_not_conform(server, capsys):
    assert cli.main(["conformance", url_of(server), "--model", "other"]) == 1
    assert "does not speak" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments,words",
    [
        (["ftp://127.0.0.1"], "expected http://HOST[:PORT] or https://HOST[:PORT], got 'ftp://127.0.0.1'"),
        (["http://127.0.0.1:1", "--model", "m", "--request", "/dev/null"], "Expecting value"),
    ],
)
def test_a_question_that_cannot_be_asked_is_said(arguments, words, capsys):
    assert cli.main(["conformance", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_nobody_there_is_said(capsys):
    assert cli.main(["conformance", f"127.0.0.1:{ports.free_port()}"]) == 2
    assert "expected an answer, got ConnectionRefusedError" in capsys.readouterr().err
