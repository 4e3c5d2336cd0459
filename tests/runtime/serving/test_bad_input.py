"""Requests that cannot be answered: 400 names the input, what was expected and what was there."""

from __future__ import annotations

import copy

import pytest
from serving_kit import models

TOO_LARGE = 16 * 1024 * 1024 + 1


def change(request, **fields):
    """The request with fields of its first input changed; `None` removes one."""
    changed = copy.deepcopy(request)
    for name, value in fields.items():
        if value is None:
            del changed["inputs"][0][name]
        else:
            changed["inputs"][0][name] = value
    return changed


@pytest.mark.parametrize(
    "fields,words",
    [
        ({"datatype": "FP64"}, "input numeric: expected datatype FP32, got 'FP64'"),
        ({"datatype": "INT64"}, "input numeric: expected datatype FP32, got 'INT64'"),
        ({"datatype": "float"}, "input numeric: expected datatype FP32, got 'float'"),
        ({"datatype": None}, "input numeric: expected datatype FP32, got null"),
        (
            {"shape": [1, 29], "data": [0.0] * 29},
            "input numeric: expected shape [-1,30] with at least one row, got [1,29]",
        ),
        ({"shape": [30]}, "expected shape [-1,30] with at least one row, got [30]"),
        ({"shape": [1, 1, 30]}, "got [1,1,30]"),
        ({"shape": [-1, 30]}, "got [-1,30]"),
        ({"shape": [0, 30], "data": []}, "with at least one row, got [0,30]"),
        ({"shape": [1.0, 30]}, "expected a shape as a list of integers"),
        ({"shape": [True, 30]}, "expected a shape as a list of integers"),
        ({"shape": "1x30"}, "expected a shape as a list of integers, got '1x30'"),
        ({"shape": None}, "expected a shape as a list of integers, got null"),
        ({"shape": [2**62, 30]}, f"expected {2**62 * 30} elements"),
        ({"shape": [2, 30]}, "expected 60 elements for shape [2,30], got 30"),
        ({"data": [0.0] * 31}, "expected 30 elements for shape [1,30], got 31"),
        ({"data": []}, "expected 30 elements for shape [1,30], got 0"),
        ({"data": None}, "expected data as a list, got no data"),
        ({"data": 1.5}, "expected data as a list, got a floating-point number"),
        ({"data": {"a": 1}}, "expected data as a list"),
        ({"data": ["1.5", *[0.0] * 29]}, "expected numbers or null, got a string at element 0"),
        ({"data": [*[0.0] * 29, True]}, "expected numbers or null, got a boolean at element 29"),
        ({"data": [*[0.0] * 29, [1.0]]}, "expected numbers or null, got a list at element 29"),
        ({"data": [[0.0] * 30, [0.0] * 30]}, "expected data nested as shape [1,30], got 2 parts at depth 0"),
        ({"data": [[0.0] * 29]}, "got parts of another size at depth 1"),
        ({"data": [[[0.0] * 30]]}, "got parts of another size at depth 1"),
        ({"name": "nummeric"}, "inputs: expected numeric, got nummeric"),
        ({"name": None}, "inputs: expected objects with a name"),
    ],
)
def test_an_input_that_does_not_fit_is_named(server, classifier, fields, words):
    answer = server.infer(change(classifier.rows(0, 1), **fields))
    assert answer.status == 400
    assert set(answer.json()) == {"error"}
    assert words in answer.json()["error"]


@pytest.mark.parametrize(
    "body,words",
    [
        (b"", "expected JSON"),
        (b"{", "expected JSON"),
        (b'{"inputs": [NaN', "expected JSON"),
        (b"[]", "expected an inference request as a JSON object, got list"),
        (b"{}", "inputs: expected a list of tensors"),
        (b'{"inputs": {}}', "inputs: expected a list of tensors"),
        (b'{"inputs": []}', "inputs: expected numeric, got none"),
        (b'{"inputs": [7]}', "inputs: expected objects with a name"),
        (b'{"inputs": [], "id": 7}', "id: expected a string, got int"),
        (
            b'{"inputs": [], "outputs": [{"name": "score"}]}',
            "outputs: expected some of label, probabilities, got 'score'",
        ),
        (b'{"inputs": [], "outputs": ["label"]}', "outputs: expected a list of objects with a name"),
        (b'{"inputs": [], "outputs": [{}]}', "outputs: expected some of label, probabilities, got None"),
        (b"\xff\xfe", "expected JSON"),
    ],
)
def test_a_body_that_is_no_request_is_refused(server, body, words):
    answer = server.infer(body)
    assert answer.status == 400
    assert words in answer.json()["error"]


def test_an_input_given_twice_is_refused(server, classifier):
    request = classifier.rows(0, 1)
    request["inputs"] *= 2
    assert server.infer(request).json() == {"error": "input numeric: given twice"}


def test_an_input_that_is_missing_is_named(mixed_server, mixed):
    request = mixed.rows(0, 1)
    del request["inputs"][1]
    assert mixed_server.infer(request).json() == {"error": "inputs: expected numeric, categorical, got numeric"}


def test_inputs_with_different_numbers_of_rows_are_refused(mixed_server, mixed):
    request = mixed.rows(0, 2)
    request["inputs"][1] = mixed.rows(0, 1)["inputs"][1]
    error = "inputs: expected the same number of rows in each, got numeric 2, categorical 1"
    assert mixed_server.infer(request).json() == {"error": error}


@pytest.mark.parametrize("value,shown", [(None, "null"), (3, "an integer"), (False, "a boolean")])
def test_a_string_tensor_takes_only_strings(mixed_server, mixed, value, shown):
    request = mixed.rows(0, 1)
    request["inputs"][1]["data"][1] = value
    error = f"input categorical: expected strings, got {shown} at element 1"
    assert mixed_server.infer(request).json() == {"error": error}


def test_a_body_over_the_limit_is_refused_before_it_is_read(server):
    answer = server.call("POST", "/v2/models/churn/infer", b"", {"content-length": str(TOO_LARGE)})
    assert answer.status == 413
    assert "at most 16777216 bytes" in answer.json()["error"]


def test_a_chunked_body_over_the_limit_is_refused(classifier, tmp_path):
    import http.client

    from serving_kit import process

    with process.start(classifier, tmp_path, max_body_bytes=1000) as server:
        server.wait_ready()
        connection = http.client.HTTPConnection("127.0.0.1", server.settings.port, timeout=10)
        connection.request("POST", "/v2/models/churn/infer", iter([b"x" * 600] * 2), encode_chunked=True)
        assert connection.getresponse().status == 413
        connection.close()


def test_a_failure_inside_the_runtime_is_a_500_that_shows_no_internals_and_harms_nobody_else(tmp_path):
    from serving_kit import process

    model = models.gather()
    with process.start(model, tmp_path) as server:
        server.wait_ready()
        bad = model.rows(0, 1)
        bad["inputs"][0]["data"][0] = 0.5
        answer = server.infer(bad)
        assert answer.status == 500
        assert answer.json() == {"error": "the model failed on this request; the server's log has the detail"}
        assert "Gather" in server.log()
        assert server.infer(model.rows(0, 1)).status == 200
