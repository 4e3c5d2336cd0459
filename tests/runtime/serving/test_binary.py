"""The binary tensor data extension, both ways, and the body that is nothing but a tensor."""

from __future__ import annotations

import contextlib
import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from serving_kit import values, wire

from millrace_runtime.serving import binary, tensors
from millrace_runtime.serving.failure import RequestFailed

INFER = "/v2/models/churn/infer"


def ask(server, body, length, **headers):
    names = {"inference-header-content-length": str(length), "content-type": "application/octet-stream"}
    return server.call("POST", INFER, body, names | headers)


def head_of(rows, **fields):
    """The JSON object for float32 rows that follow it as bytes."""
    sizes = {"binary_data_size": rows.nbytes}
    tensor = {"name": "numeric", "datatype": "FP32", "shape": list(rows.shape), "parameters": sizes}
    return {"inputs": [tensor], **fields}


def test_a_binary_input_means_the_same_as_json(server, classifier):
    rows = classifier.feeds["numeric"][:5]
    body, length = wire.joined(head_of(rows, id="b-1"), rows.tobytes())
    got, expected = ask(server, body, length), server.infer({"id": "b-1", **classifier.rows(0, 5)})
    assert (got.status, got.json()) == (200, expected.json())
    assert got.headers["content-type"] == "application/json"
    assert "inference-header-content-length" not in got.headers


@pytest.mark.parametrize("every", [True, False])
def test_outputs_come_as_bytes_behind_the_json_when_asked_for(server, classifier, every):
    rows = classifier.feeds["numeric"][:5]
    asked = {"parameters": {"binary_data_output": True}}
    if not every:
        names = ["probabilities", "label"]
        asked = {"outputs": [{"name": name, "parameters": {"binary_data": True}} for name in names]}
    body, length = wire.joined(head_of(rows, **asked), rows.tobytes())
    answer = ask(server, body, length)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert int(answer.headers["content-length"]) == len(answer.body)
    found = wire.outputs(answer)
    label, probabilities = classifier.expected(0, 5)
    assert list(found) == (["label", "probabilities"] if every else ["probabilities", "label"])
    assert (found["label"] == label).all()
    assert (found["probabilities"] == probabilities).all()
    assert found["probabilities"].dtype == np.float32


def test_one_output_can_be_json_and_another_bytes(server, classifier):
    outputs = [{"name": "label", "parameters": {"binary_data": False}}, {"name": "probabilities"}]
    request = {**classifier.rows(0, 2), "outputs": outputs, "parameters": {"binary_data_output": True}}
    answer = server.infer(request)
    length = int(answer.headers["inference-header-content-length"])
    label, probabilities = json.loads(answer.body[:length])["outputs"]
    assert label["data"] == classifier.expected(0, 2)[0].tolist()
    assert "data" not in probabilities
    assert probabilities["parameters"] == {"binary_data_size": 2 * 2 * 4}
    assert len(answer.body) == length + 16


def test_one_input_can_be_json_and_another_bytes(mixed_server, mixed):
    request = mixed.rows(0, 3)
    words = b"".join(struct.pack("<I", len(word)) + word for word in wire.encoded(mixed.feeds["categorical"][:3]))
    del request["inputs"][1]["data"]
    request["inputs"][1]["parameters"] = {"binary_data_size": len(words)}
    request["parameters"] = {"binary_data_output": True}
    body, length = wire.joined(request, words)
    label, probabilities = mixed.expected(0, 3)
    found = wire.outputs(ask(mixed_server, body, length))
    assert found["label"].tolist() == label.tolist()
    assert (found["probabilities"] == probabilities).all()


@pytest.mark.parametrize("rows", [1, 4])
def test_a_body_may_be_nothing_but_the_one_tensor(server, classifier, rows):
    answer = ask(server, classifier.feeds["numeric"][:rows].tobytes(), 0)
    assert answer.status == 200
    found = wire.outputs(answer)
    assert (found["probabilities"] == classifier.expected(0, rows)[1]).all()


def test_a_signalling_nan_is_a_missing_number_and_harms_nobody_after_it(server, classifier):
    """Found by fuzzing: JSON has no such NaN, bytes do."""
    rows = classifier.feeds["numeric"][:256].copy()
    rows.view(np.uint32)[:, 0] = 0x7FA00000
    assert ask(server, *wire.joined(head_of(rows), rows.tobytes())).status == 200
    assert server.infer(classifier.rows(0, 1)).status == 200
    assert server.get("/metrics").status == 200


@pytest.mark.parametrize(
    "length,words",
    [
        ("-1", "Inference-Header-Content-Length: expected 0 to 120, the body's length, got '-1'"),
        ("121", "got '121'"),
        ("1e2", "got '1e2'"),
        ("9" * 30, "got '99999999999999999999'"),
        ("119", "expected JSON"),
        ("0", "input numeric: expected"),
    ],
)
def test_a_header_length_that_lies_is_refused(server, length, words):
    body = json.dumps({"inputs": []}).encode().ljust(120)
    body = body if length != "0" else body[:-1]
    if length == "119":
        body = b"{" + body[1:].replace(b"}", b" ")
    answer = ask(server, body, length)
    assert answer.status == 400
    assert words in answer.json()["error"]


@pytest.mark.parametrize(
    "size,data,words",
    [
        (119, b"\0" * 119, "input numeric: expected 120 bytes for FP32 of shape [1,30], got 119"),
        (120, b"\0" * 119, "binary_data_size: expected at most 119, the bytes behind the JSON object, got 120"),
        (120, b"\0" * 121, "inputs: expected 120 bytes of tensors behind the JSON object, got 121"),
        (-1, b"", "input numeric: parameters.binary_data_size: expected a number of bytes, got -1"),
        (True, b"", "expected a number of bytes, got True"),
        (2**62, b"", "expected at most 0"),
    ],
)
def test_a_size_that_does_not_fit_is_refused(server, size, data, words):
    head = head_of(np.zeros((1, 30), np.float32))
    head["inputs"][0]["parameters"]["binary_data_size"] = size
    answer = ask(server, *wire.joined(head, data))
    assert answer.status == 400
    assert words in answer.json()["error"]


def test_bytes_without_the_header_and_data_given_twice_are_refused(server):
    head = head_of(np.zeros((1, 30), np.float32))
    expected = "binary_data_size: expected the header Inference-Header-Content-Length, got none"
    assert expected in server.infer(head).json()["error"]
    head["inputs"][0]["data"] = [0.0] * 30
    error = ask(server, *wire.joined(head, b"\0" * 120)).json()["error"]
    assert error == "input numeric: expected data or binary_data_size, got both"


@pytest.mark.parametrize(
    "fields,words",
    [
        ({"parameters": []}, "parameters: expected an object, got list"),
        ({"parameters": {"a": {}}}, "parameters.a: expected a string, a number or a boolean"),
        ({"parameters": {"binary_data_output": 1}}, "parameters.binary_data_output: expected true or false, got 1"),
        (
            {"outputs": [{"name": "label", "parameters": {"binary_data": "yes"}}]},
            "output label: parameters.binary_data: expected true or false, got 'yes'",
        ),
        ({"outputs": [{"name": "label"}, {"name": "label"}]}, "output label: asked for twice"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(server, classifier, fields, words):
    answer = server.infer({**classifier.rows(0, 1), **fields})
    assert (answer.status, words in answer.json()["error"]) == (400, True)


def test_unknown_parameters_are_left_alone(server, classifier):
    asked = {**classifier.rows(0, 1), "parameters": {"sequence_id": 7, "priority": 1, "trace": "on"}}
    assert server.infer(asked).status == 200


@pytest.mark.parametrize("datatype", sorted(tensors.DTYPES))
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_every_datatype_survives_bytes_at_any_address(datatype, data):
    shape = data.draw(arrays.array_shapes(min_dims=1, max_dims=3, max_side=4))
    array = data.draw(values.of(datatype, shape))
    spec = tensors.TensorSpec("x", datatype, tuple(-1 for _ in shape))
    head = data.draw(st.binary(max_size=9))
    view = memoryview(head + binary.encode(spec, array))[len(head) :]
    back = binary.decode(spec, shape, view)
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert back.flags.aligned
    assert (back == array).all()


@pytest.mark.parametrize(
    "datatype,data,words",
    [
        ("BOOL", b"\1\2", "expected bytes 0 and 1 for BOOL, got others"),
        ("INT16", b"\0\0\0", "expected 4 bytes for INT16 of shape [2], got 3"),
        ("BYTES", b"\1\0\0\0a", "expected 2 strings, got 1"),
        ("BYTES", b"\1\0\0\0a\0\0\0\0\0", "expected 2 strings, got 1 bytes more"),
        ("BYTES", b"\1\0\0\0a\2\0\0\0b", "expected 6 bytes for string 1, got 5"),
        ("BYTES", b"\1\0\0\0a\2\0", "expected 4 bytes for string 1, got 2"),
        ("BYTES", b"\1\0\0\0\xff\0\0\0\0", "expected UTF-8, got another encoding at element 0"),
    ],
)
def test_bytes_that_are_not_the_tensor_are_named(datatype, data, words):
    spec = tensors.TensorSpec("x", datatype, (-1,))
    with pytest.raises(RequestFailed, match=r"^input x: ") as refused:
        binary.decode(spec, (2,), data)
    assert words in refused.value.message


@given(body=st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_no_bytes_meet_a_defect_of_the_decoder(body):
    for datatype in tensors.DTYPES:
        with contextlib.suppress(RequestFailed):
            assert binary.decode(tensors.TensorSpec("x", datatype, (-1,)), (2,), body).shape == (2,)
