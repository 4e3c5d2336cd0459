"""Compressed bodies, the repository's index, statistics, and models that answer with maps."""

from __future__ import annotations

import gzip
import json
import zlib

import numpy as np
import pytest
from serving_kit import models, process, wire

INFER = "/v2/models/churn/infer"
ZIPPED = gzip.compress(b"{}", mtime=0)
ENCODERS = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}


@pytest.mark.parametrize("encoding", sorted(ENCODERS))
def test_a_compressed_body_is_read(server, classifier, encoding):
    body = ENCODERS[encoding](json.dumps(classifier.rows(0, 3)).encode())
    answer = server.call("POST", INFER, body, {"content-encoding": encoding})
    assert (answer.status, answer.json()) == (200, server.infer(classifier.rows(0, 3)).json())


def test_a_compressed_body_may_hold_bytes_of_tensors(server, classifier):
    rows = classifier.feeds["numeric"][:2]
    sizes = {"binary_data_size": rows.nbytes}
    head = {"inputs": [{"name": "numeric", "datatype": "FP32", "shape": [2, 30], "parameters": sizes}]}
    body, length = wire.joined(head, rows.tobytes())
    headers = {"content-encoding": "gzip", "inference-header-content-length": str(length)}
    answer = server.call("POST", INFER, gzip.compress(body), headers)
    assert answer.json() == server.infer(classifier.rows(0, 2)).json()


@pytest.mark.parametrize(
    "encoding,body,status,words",
    [
        ("gzip", b"{}", 400, "expected a body encoded as gzip, got bytes that are not"),
        ("deflate", b"\0" * 9, 400, "expected a body encoded as deflate"),
        ("gzip", ZIPPED[:-3], 400, "expected one whole gzip stream, got a part of one"),
        ("gzip", ZIPPED + b"{}", 400, "got bytes behind its end"),
        ("gzip", gzip.compress(bytes(17 * 1024 * 1024), mtime=0), 413, "got one that inflates to more"),
        ("br", b"{}", 415, "expected a body encoded as gzip, deflate or identity, got 'br'"),
        ("gzip, gzip", b"{}", 415, "got 'gzip, gzip'"),
    ],
    ids=["not gzip", "not deflate", "cut off", "more behind it", "too large", "br", "twice"],
)
def test_a_body_that_cannot_be_inflated_is_refused(server, encoding, body, status, words):
    answer = server.call("POST", INFER, body, {"content-encoding": encoding})
    assert (answer.status, words in answer.json()["error"]) == (status, True)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"ready": true}', b'{"ready": false}'])
def test_the_index_lists_the_model(server, body):
    (entry,) = server.call("POST", "/v2/repository/index", body).json()
    assert entry == {"name": "churn", "version": "7", "state": "READY", "reason": ""}


@pytest.mark.parametrize("body,words", [(b"{", "expected JSON"), (b"[]", "ready:"), (b'{"ready": 1}', "ready:")])
def test_an_index_request_that_means_nothing_is_refused(server, body, words):
    answer = server.call("POST", "/v2/repository/index", body)
    assert (answer.status, words in answer.json()["error"]) == (400, True)


def test_the_index_is_posted_to(server):
    answer = server.get("/v2/repository/index")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("path", ["/v2/models/stats", "/v2/models/churn/stats", "/v2/models/churn/versions/7/stats"])
def test_statistics_count_requests_rows_and_time(classifier, tmp_path, path):
    with process.start(classifier, tmp_path) as server:
        server.wait_ready()
        for rows in (1, 1, 4):
            server.infer(classifier.rows(0, rows))
        server.infer(b"{}")
        (found,) = server.get(path).json()["model_stats"]
    assert (found["name"], found["version"]) == ("churn", "7")
    assert (found["inference_count"], found["execution_count"]) == (6, 3)
    stages = found["inference_stats"]
    assert [stages[name]["count"] for name in ("success", "fail", "compute_input", "compute_infer")] == [3, 1, 3, 3]
    inner = sum(stages[name]["ns"] for name in ("compute_input", "compute_infer", "compute_output"))
    assert 0 < inner < stages["success"]["ns"]
    assert [(batch["batch_size"], batch["compute_infer"]["count"]) for batch in found["batch_stats"]] == [
        (1, 2),
        (4, 1),
    ]
    assert found["last_inference"] > 1_700_000_000_000


@pytest.mark.parametrize("named", [False, True])
def test_a_model_that_answers_with_maps_is_served_as_a_tensor(tmp_path, named):
    model = models.zipmapped(named)
    with process.start(model, tmp_path) as server:
        server.wait_ready()
        metadata = server.get("/v2/models/churn").json()["outputs"]
        got = server.infer(model.rows(0, 7)).json()["outputs"]
    assert metadata[1] == {"name": "classes", "datatype": "FP32", "shape": [-1, -1]}
    label, maps = model.expected(0, 7)
    assert got[0]["data"] == label.tolist()
    assert got[1]["shape"] == [7, 3]
    np.testing.assert_array_equal(
        np.array(got[1]["data"], np.float32).reshape(7, 3), np.array([list(row.values()) for row in maps], np.float32)
    )
