"""Inference with tensors as JSON."""

from __future__ import annotations

import json
import zlib

from millrace.conformance.case import Cases, Level, NotApplicable, expect
from millrace.conformance.subject import Subject, error, outputs, values_of

CASES = Cases(Level.SPEC, "inference_rest.md#inference")
case = CASES.case


@case()
def infer_flat(subject: Subject) -> None:
    """Flat data are answered with name, datatype, shape and data of every output"""
    found = outputs(subject.infer(subject.request()))
    expect(set(found) == set(subject.outputs), f"expected {subject.outputs}, got {list(found)}")


@case()
def infer_nested(subject: Subject) -> None:
    """Data nested as the shape says mean the same as flat data"""
    request = {"inputs": [tensor.nested for tensor in subject.inputs()]}
    _same(subject, values_of(subject.infer(request)))


@case()
def infer_version(subject: Subject) -> None:
    """The version's path answers the same"""
    answer = subject.infer(subject.request(), f"{subject.path}/versions/{subject.version}")
    _same(subject, values_of(answer))


@case()
def infer_two_rows(subject: Subject) -> None:
    """Two rows are answered with two rows"""
    found = outputs(subject.infer(subject.request(2)))
    for name, (output, _) in found.items():
        expect(output["shape"][:1] == [2], f"expected 2 rows in {name}, got shape {output['shape']}")


@case()
def model_name(subject: Subject) -> None:
    """An answer names its model"""
    found = subject.infer(subject.request()).object()
    expect(found.get("model_name") == subject.model, f"expected {subject.model}, got {found.get('model_name')!r}")


@case()
def model_version(subject: Subject) -> None:
    """An answer's version is a string, where there are versions"""
    assert subject.version
    found = subject.infer(subject.request()).object().get("model_version")
    expect(isinstance(found, str), f"expected model_version as a string, got {found!r}")


@case()
def id_comes_back(subject: Subject) -> None:
    """The request's id comes back"""
    found = subject.infer(subject.request(id="c-1")).object().get("id")
    expect(found == "c-1", f"expected id c-1, got {found!r}")


@case()
def one_output(subject: Subject) -> None:
    """Only outputs that were asked for come back"""
    wanted = subject.outputs[-1]
    found = outputs(subject.infer(subject.request(outputs=[{"name": wanted}])))
    expect(list(found) == [wanted], f"expected {wanted}, got {list(found)}")


@case(Level.ROBUST)
def outputs_in_order(subject: Subject) -> None:
    """Outputs come in the order asked for"""
    wanted = subject.outputs[::-1]
    if len(wanted) < 2:
        raise NotApplicable("the model has one output")
    found = outputs(subject.infer(subject.request(outputs=[{"name": name} for name in wanted])))
    expect(list(found) == wanted, f"expected {wanted}, got {list(found)}")


@case()
def output_types(subject: Subject) -> None:
    """Outputs have the datatypes of the model's metadata"""
    told = {tensor["name"]: tensor["datatype"] for tensor in subject.metadata["outputs"]}
    found = {name: output["datatype"] for name, (output, _) in outputs(subject.infer(subject.request())).items()}
    expect(found == told, f"expected {told}, got {found}")


@case()
def parameters(subject: Subject) -> None:
    """Parameters of request, inputs and outputs may be strings, numbers and booleans"""
    some = {"text": "a", "number": 1, "flag": True}
    inputs = [{**tensor.as_json, "parameters": some} for tensor in subject.inputs()]
    asked = [{"name": name, "parameters": some} for name in subject.outputs]
    _same(subject, values_of(subject.infer({"inputs": inputs, "outputs": asked, "parameters": some})))


@case()
def unknown_output(subject: Subject) -> None:
    """An output that the model has not got is an error with the error object"""
    error(subject.infer(subject.request(outputs=[{"name": "no-such-output"}])))


@case(Level.CLIENT, "tritonclient.http: request_compression_algorithm")
def gzip_body(subject: Subject) -> None:
    """A gzip body is read"""
    _compressed(subject, "gzip", 31)


@case(Level.CLIENT, "tritonclient.http: request_compression_algorithm")
def deflate_body(subject: Subject) -> None:
    """A deflate body is read"""
    _compressed(subject, "deflate", 15)


@case(Level.CLIENT, "RFC 9112, section 7.1")
def chunked_body(subject: Subject) -> None:
    """A chunked body of many small chunks is read"""
    text = json.dumps(subject.request()).encode()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(text[at : at + 7]), text[at : at + 7]) for at in range(0, len(text), 7))
    headers = {"transfer-encoding": "chunked", "content-type": "application/json"}
    # http.client sends a body as it is when the header is there.
    answer = subject.exchange.call("POST", f"{subject.path}/infer", chunks + b"0\r\n\r\n", headers)
    _same(subject, values_of(answer))


def _compressed(subject: Subject, encoding: str, window: int) -> None:
    stream = zlib.compressobj(wbits=window)
    body = stream.compress(json.dumps(subject.request()).encode()) + stream.flush()
    headers = {"content-encoding": encoding, "content-type": "application/json"}
    _same(subject, values_of(subject.exchange.call("POST", f"{subject.path}/infer", body, headers)))


def _same(subject: Subject, found: object) -> None:
    expect(found == subject.reference(), f"expected the answer to flat data, got {str(found)[:120]}")
