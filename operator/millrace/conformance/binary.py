"""Inference with tensors as bytes."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from millrace.conformance import payload
from millrace.conformance.case import Cases, Level, NotApplicable, expect
from millrace.conformance.subject import LENGTH, Subject, outputs, refused, values_of

EXTENSION = "binary_tensor_data"
CASES = Cases(Level.EXTENSION, "extension_binary_data.md")
case = CASES.case


@case()
def binary_input(subject: Subject) -> None:
    """Inputs may come as bytes behind the JSON object"""
    head, tail = _asked(subject)
    _same(subject, values_of(subject.infer_bytes(head, tail)))


@case()
def binary_outputs(subject: Subject) -> None:
    """binary_data_output: all outputs come as bytes, with both lengths right"""
    subject.needs(EXTENSION)
    answer = subject.infer(subject.request(parameters={"binary_data_output": True}))
    expect(LENGTH in answer.headers, f"expected {LENGTH}, got {sorted(answer.headers)}")
    _same(subject, values_of(answer))


@case()
def binary_output(subject: Subject) -> None:
    """binary_data: one output comes as bytes"""
    subject.needs(EXTENSION)
    wanted = [{"name": name, "parameters": {"binary_data": name == subject.outputs[-1]}} for name in subject.outputs]
    found = outputs(subject.infer(subject.request(outputs=wanted)))
    as_bytes = [name for name, (output, _) in found.items() if "data" not in output]
    expect(as_bytes == subject.outputs[-1:], f"expected {subject.outputs[-1]} as bytes, got {as_bytes}")


@case()
def binary_output_wins(subject: Subject) -> None:
    """binary_data: false on an output wins over binary_data_output: true"""
    subject.needs(EXTENSION)
    wanted = [{"name": name, "parameters": {"binary_data": False}} for name in subject.outputs]
    answer = subject.infer(subject.request(outputs=wanted, parameters={"binary_data_output": True}))
    expect(LENGTH not in answer.headers, f"expected no {LENGTH}, got {answer.headers.get(LENGTH)}")
    _same(subject, values_of(answer))


@case()
def binary_and_json(subject: Subject) -> None:
    """Inputs as bytes and inputs as JSON may be mixed"""
    subject.needs(EXTENSION)
    tensors = subject.inputs()
    if len(tensors) < 2:
        raise NotApplicable("the model has one input")
    first, *others = tensors
    head = {"inputs": [first.described, *(tensor.as_json for tensor in others)]}
    _same(subject, values_of(subject.infer_bytes(head, first.as_bytes)))


@case()
def raw_body(subject: Subject) -> None:
    """At Inference-Header-Content-Length: 0 the body is the one input"""
    subject.needs(EXTENSION)
    tensors = subject.inputs()
    free = sum(size < 0 for size in subject.metadata["inputs"][0]["shape"])
    if len(tensors) > 1 or free > 1 or tensors[0].datatype == "BYTES":
        raise NotApplicable("its shape does not follow from the number of bytes")
    _same(subject, values_of(subject.infer_bytes(None, tensors[0].as_bytes, 0)))


@case()
def floats_are_exact(subject: Subject) -> None:
    """Numbers as bytes are the numbers as JSON, to the last bit"""
    subject.needs(EXTENSION)
    as_bytes = outputs(subject.infer(subject.request(parameters={"binary_data_output": True})))
    for name, (output, values) in as_bytes.items():
        if output["datatype"] in ("FP32", "FP64"):
            form = payload.FORMATS[output["datatype"]]
            told = [struct.unpack(form, struct.pack(form, value))[0] for value in subject.reference()[name]]
            expect(values == told, f"expected {told[:3]} in {name}, got {values[:3]}")


@case(Level.ROBUST)
def header_length_lies(subject: Subject) -> None:
    """A length of the JSON object that cannot be is a 4xx"""
    subject.needs(EXTENSION)
    head, tail = _asked(subject)
    for lie in ("-1", "x", "99999999999", "1"):
        refused(subject.infer_bytes(head, tail, lie))


@case(Level.ROBUST)
def binary_size_lies(subject: Subject) -> None:
    """A tensor's size that does not fit its shape or the body is a 4xx"""
    subject.needs(EXTENSION)
    head, tail = _asked(subject)
    refused(subject.infer_bytes(head, tail[:-1]))
    refused(subject.infer_bytes(head, tail + b"\0"))
    for lie in (-1, 0, 2**40, "many"):
        head["inputs"][0]["parameters"]["binary_data_size"] = lie
        refused(subject.infer_bytes(head, tail))


def _asked(subject: Subject) -> tuple[dict[str, Any], bytes]:
    subject.needs(EXTENSION)
    tensors = subject.inputs()
    return {"inputs": [tensor.described for tensor in tensors]}, b"".join(tensor.as_bytes for tensor in tensors)


def _same(subject: Subject, found: Mapping[str, list[Any]]) -> None:
    """Equal as single-precision numbers: a server may write more digits in JSON than a float has."""
    told = subject.reference()
    expect(set(found) == set(told), f"expected {sorted(told)}, got {sorted(found)}")
    for name, values in found.items():
        same = list(map(_single, values)) == list(map(_single, told[name]))
        expect(same, f"expected {told[name][:3]} in {name}, got {values[:3]}")


def _single(value: Any) -> Any:
    return struct.pack("<f", value) if isinstance(value, float) else value
