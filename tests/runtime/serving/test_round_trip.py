"""Whatever the rows, the server answers what onnxruntime answers in this process."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from serving_kit import models, values

from millrace_runtime.serving import rest, tensors
from millrace_runtime.serving.failure import RequestFailed

FINITE = st.floats(-1e6, 1e6, width=32)
CATEGORIES = st.sampled_from(["high", "low", "dark", "fair", "", "ö", "never seen"])


@pytest.fixture(scope="module")
def reference(mixed):
    return onnxruntime.InferenceSession(mixed.onnx, providers=["CPUExecutionProvider"])


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_answer_over_http_is_the_answer_in_process(mixed_server, reference, data):
    rows = data.draw(st.integers(1, 5))
    numbers = data.draw(arrays.arrays(np.float32, (rows, 6), elements=FINITE | st.just(float("nan"))))
    words = data.draw(st.lists(st.lists(CATEGORIES, min_size=2, max_size=2), min_size=rows, max_size=rows))
    feeds = {"numeric": numbers, "categorical": np.array(words, dtype=object)}
    label, probabilities = reference.run(None, feeds)
    answer = mixed_server.infer(models.request(feeds))
    assert answer.status == 200
    got = answer.json()["outputs"]
    assert got[0]["data"] == label.tolist()
    np.testing.assert_allclose(got[1]["data"], probabilities.reshape(-1), atol=1e-6)


@pytest.mark.parametrize("datatype", sorted(tensors.DTYPES))
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_every_datatype_survives_json_flat_and_nested(datatype, data):
    shape = data.draw(arrays.array_shapes(min_dims=1, max_dims=3, max_side=4))
    array = data.draw(values.of(datatype, shape))
    spec = tensors.TensorSpec("x", datatype, tuple(-1 for _ in shape))
    import orjson

    wire = orjson.loads(orjson.dumps(tensors.encode(spec, array), option=orjson.OPT_SERIALIZE_NUMPY))
    nested = {**wire, "data": array.tolist()}
    for form in (wire, nested):
        back = tensors.decode(spec, form)
        assert (back.dtype, back.shape) == (array.dtype, array.shape)
        assert (back == array).all()


@pytest.mark.parametrize(
    "datatype,data,words",
    [
        ("INT8", [128], "got an integer at element 0, which is out of its range"),
        ("UINT8", [1, -1], "got an integer at element 1"),
        ("INT64", [2**63], "at element 0"),
        ("UINT64", [2**64], "at element 0"),
        ("INT32", [1.5], "expected integers, got a floating-point number at element 0"),
        ("INT32", [1.0], "expected integers, got a floating-point number"),
        ("INT64", [True], "expected integers, got a boolean"),
        ("INT64", [None], "expected integers, got null"),
        ("BOOL", [1], "expected true or false, got an integer"),
        ("BOOL", ["true"], "expected true or false, got a string"),
        ("BYTES", [1], "expected strings, got an integer"),
        ("FP64", ["NaN"], "expected numbers or null, got a string"),
    ],
)
def test_a_value_that_is_not_of_the_datatype_is_named(datatype, data, words):
    spec = tensors.TensorSpec("x", datatype, (-1,))
    with pytest.raises(RequestFailed, match=r"^input x: ") as refused:
        tensors.decode(spec, {"datatype": datatype, "shape": [len(data)], "data": data})
    assert refused.value.status == 400
    assert words in refused.value.message


def test_values_that_are_not_finite_are_null_in_an_answer():
    spec = tensors.TensorSpec("x", "FP32", (-1,))
    import orjson

    body = orjson.dumps(
        tensors.encode(spec, np.array([1, np.nan, np.inf], np.float32)), option=orjson.OPT_SERIALIZE_NUMPY
    )
    assert json.loads(body)["data"] == [1.0, None, None]


@given(body=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@settings(max_examples=200, deadline=None)
def test_no_body_meets_a_defect_of_the_parser(body):
    refusals = []
    with contextlib.suppress(RequestFailed):
        try:
            rest.parse(body)
        except RequestFailed as failure:
            refusals.append(failure.status)
            raise
    assert refusals in ([], [400])
