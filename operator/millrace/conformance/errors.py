"""Requests that can never succeed, and whether the server outlives them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from millrace.conformance.case import Cases, Level, expect
from millrace.conformance.subject import Subject, refused, values_of

CASES = Cases(Level.ROBUST, "inference_rest.md#inference-response-json-error-object")
case = CASES.case

_INTERNALS = (b"Traceback", b'File "', b"site-packages", b"/usr/", b".py")
_OTHER_TYPE = {"FP32": "INT64", "FP64": "INT32", "BYTES": "FP32"}


@case()
def not_json(subject: Subject) -> None:
    """A body that is not JSON is a 4xx"""
    for body in (b"", b"{", b"\xff\xfe", b'{"inputs": [}', b"null", b"[]", b'"text"', b"7"):
        refused(subject.exchange.call("POST", f"{subject.path}/infer", body, {"content-type": "application/json"}))


@case()
def nested_deep(subject: Subject) -> None:
    """A body nested ten thousand deep is a 4xx"""
    body = b'{"inputs": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    refused(subject.exchange.call("POST", f"{subject.path}/infer", body, {"content-type": "application/json"}))


@case()
def no_inputs(subject: Subject) -> None:
    """A request without inputs is a 4xx"""
    refused(subject.infer({}))
    values: tuple[object, ...] = ([], None, {}, [7], [{}])
    for inputs in values:
        refused(subject.infer({"inputs": inputs}))


@case()
def missing_input(subject: Subject) -> None:
    """A request without one of the inputs is a 4xx"""
    refused(subject.infer({"inputs": subject.request()["inputs"][1:]}))


@case()
def extra_input(subject: Subject) -> None:
    """A request with an input that the model has not got is a 4xx"""
    extra = {"name": "no-such-input", "datatype": "FP32", "shape": [1], "data": [0.0]}
    refused(subject.infer({"inputs": [*subject.request()["inputs"], extra]}))


@case()
def input_twice(subject: Subject) -> None:
    """An input given twice is a 4xx"""
    refused(subject.infer({"id": "c-2", "inputs": subject.request()["inputs"] * 2}))


@case()
def wrong_datatype(subject: Subject) -> None:
    """Another datatype than the model's, or none of the protocol's, is a 4xx"""
    for datatype in (_OTHER_TYPE.get(subject.inputs()[0].datatype, "BYTES"), "FLOAT", "", None, 7):
        refused(_changed(subject, datatype=datatype))


@case()
def wrong_rank(subject: Subject) -> None:
    """A shape with too many or too few dimensions is a 4xx"""
    tensor = subject.inputs()[0]
    refused(_changed(subject, shape=[1, *tensor.shape, 1]))
    refused(_changed(subject, shape=[]))


@case()
def wrong_count(subject: Subject) -> None:
    """Too few or too many elements for the shape are a 4xx"""
    data = list(subject.inputs()[0].data)
    refused(_changed(subject, data=data[:-1]))
    refused(_changed(subject, data=[*data, data[-1]]))


@case()
def impossible_shape(subject: Subject) -> None:
    """Negative, overflowing and fractional dimensions, and shapes that are none, are a 4xx"""
    rank = len(subject.inputs()[0].shape)
    for size in (-1, -(2**63), 2**62, 2**64, 2**200, 1.5, "1", None, True):
        refused(_changed(subject, shape=[size] * rank))
    shapes: tuple[object, ...] = (None, "1", 1, {})
    for shape in shapes:
        refused(_changed(subject, shape=shape))


@case()
def wrong_elements(subject: Subject) -> None:
    """Elements of another type are a 4xx"""
    tensor = subject.inputs()[0]
    element: Any = 7.5 if tensor.datatype == "BYTES" else "seven"
    refused(_changed(subject, data=[element, *tensor.data[1:]]))
    refused(_changed(subject, data=[{}, *tensor.data[1:]]))


@case()
def no_data(subject: Subject) -> None:
    """A tensor without data is a 4xx"""
    values: tuple[object, ...] = (None, {}, "text", 7)
    for data in values:
        refused(_changed(subject, data=data))


@case()
def not_finite(subject: Subject) -> None:
    """The token NaN is read or refused, and answered in JSON that is JSON"""
    tensor = subject.inputs()[0]
    body = _json(subject, [float("nan"), *tensor.data[1:]])
    answer = subject.exchange.call("POST", f"{subject.path}/infer", body, {"content-type": "application/json"})
    if answer.status == 200:
        answer.object()
    else:
        refused(answer)


@case()
def path_tricks(subject: Subject) -> None:
    """Names that climb out of a folder are 4xx, and no answer shows one"""
    for name in ("..%2f..%2fetc%2fpasswd", "%00", "a" * 4000, "%ff"):
        answer = subject.get(f"v2/models/{name}")
        expect(400 <= answer.status < 500, f"expected 4xx, got {answer.status}")
        expect(b"root:" not in answer.body, "the answer holds a file")


@case()
def no_internals(subject: Subject) -> None:
    """An error shows no traceback and no path of the server"""
    answers: list[Callable[[], Any]] = [
        lambda: subject.infer({"inputs": [7]}),
        lambda: _changed(subject, shape=[2**62, 2**62]),
        lambda: _changed(subject, data=["seven"]),
    ]
    for ask in answers:
        body = ask().body
        shown = [word for word in _INTERNALS if word in body]
        expect(not shown, f"expected a sentence for the caller, got {body[:100]!r}")


@case(Level.SPEC, "inference_rest.md#inference")
def still_there(subject: Subject) -> None:
    """After all of it the server still answers as before"""
    found = values_of(subject.infer(subject.request()))
    expect(found == subject.reference(), f"expected the first answer, got {str(found)[:120]}")


def _changed(subject: Subject, **fields: object) -> Any:
    first, *others = subject.request()["inputs"]
    return subject.infer({"inputs": [{**first, **fields}, *others]})


def _json(subject: Subject, data: list[Any]) -> bytes:
    first, *others = subject.request()["inputs"]
    return json.dumps({"inputs": [{**first, "data": data}, *others]}).encode()
