"""The server under test: its model's signature as it says it, and requests that suit it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from millrace.conformance import payload
from millrace.conformance.case import Failed, NotApplicable, expect
from millrace.conformance.exchange import JSON, Answer, Exchange

T = TypeVar("T")
LENGTH = "inference-header-content-length"


@dataclass
class Subject:
    """One server and one of its models."""

    exchange: Exchange
    model: str
    given: Mapping[str, Any] | None = None
    """A request to use in place of made-up values."""
    _cache: dict[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Of the model."""
        return f"v2/models/{self.model}"

    def get(self, path: str) -> Answer:
        """GET."""
        return self.exchange.call("GET", path)

    def post(self, path: str, value: object) -> Answer:
        """POST JSON."""
        return self.exchange.call("POST", path, json.dumps(value).encode(), JSON)

    @property
    def metadata(self) -> dict[str, Any]:
        """The model's, asked for once. Raises Failed."""
        return self._once("metadata", lambda: _good(self.get(self.path)).object())

    @property
    def extensions(self) -> frozenset[str]:
        """What the server announces. Raises Failed."""
        return self._once(
            "extensions", lambda: frozenset(map(str, _good(self.get("v2")).object().get("extensions") or ()))
        )

    def needs(self, extension: str) -> None:
        """Raises NotApplicable unless the server announces the extension."""
        if extension not in self.extensions:
            raise NotApplicable(f"{extension} is not announced")

    @property
    def version(self) -> str:
        """One of the model's versions. Raises NotApplicable when it tells none."""
        versions = self.metadata.get("versions")
        if not versions or not isinstance(versions, list):
            raise NotApplicable("the model tells no versions")
        return str(versions[-1])

    @property
    def outputs(self) -> list[str]:
        """Names of the model's outputs. Raises Failed."""
        return [str(tensor["name"]) for tensor in _tensors(self.metadata, "outputs")]

    def inputs(self, rows: int = 1) -> list[payload.Input]:
        """A request's tensors. Raises Failed, and NotApplicable where there are not as many rows."""
        if self.given is not None:
            if rows != 1:
                raise NotApplicable("the given request has the rows it has")
            return [_given(tensor) for tensor in self.given["inputs"]]
        tensors = _tensors(self.metadata, "inputs")
        if rows != 1 and not all(tensor["shape"] and tensor["shape"][0] < 0 for tensor in tensors):
            raise NotApplicable("the number of rows is fixed")
        return [payload.sample(tensor["name"], tensor["datatype"], tensor["shape"], rows) for tensor in tensors]

    def request(self, rows: int = 1, **fields: object) -> dict[str, Any]:
        """A request as JSON, with further fields."""
        return {"inputs": [tensor.as_json for tensor in self.inputs(rows)], **fields}

    def infer(self, request: object, path: str = "") -> Answer:
        """POST to the model."""
        return self.post(f"{path or self.path}/infer", request)

    def infer_bytes(self, head: object, tail: bytes, length: int | str | None = None) -> Answer:
        """POST a JSON object with bytes behind it; ``length`` in place of the true one."""
        text = json.dumps(head).encode()
        named = {LENGTH: str(len(text) if length is None else length), "content-type": "application/octet-stream"}
        body = (text if head is not None else b"") + tail
        return self.exchange.call("POST", f"{self.path}/infer", body, named)

    def reference(self) -> dict[str, list[Any]]:
        """What the server answers to the plain JSON request. Raises Failed."""
        return self._once("reference", lambda: values_of(self.infer(self.request())))

    def _once(self, name: str, make: Callable[[], T]) -> T:
        if name not in self._cache:
            self._cache[name] = make()
        found: T = self._cache[name]
        return found


def outputs(answer: Answer) -> dict[str, tuple[dict[str, Any], list[Any]]]:
    """Output name -> (as it is described, flat values). Raises Failed unless it is whole."""
    expect(answer.status == 200, f"expected 200, got {answer.status} {answer.body[:120]!r}")
    head, tail = _parted(answer)
    found: dict[str, tuple[dict[str, Any], list[Any]]] = {}
    position = 0
    for output in _tensors(head, "outputs"):
        size = (output.get("parameters") or {}).get("binary_data_size")
        if size is None:
            expect("data" in output, f"expected data in output {output['name']}, got {sorted(output)}")
            values = payload.flat(output["data"])
        else:
            values = _unpacked(output, tail[position : position + size])
            position += size
        count = math.prod(output["shape"])
        told = f"expected {count} values in output {output['name']} of shape {output['shape']}, got {len(values)}"
        expect(len(values) == count, told)
        found[output["name"]] = (output, values)
    expect(position == len(tail), f"expected {position} bytes behind the JSON object, got {len(tail)}")
    return found


def values_of(answer: Answer) -> dict[str, list[Any]]:
    """Output name -> flat values, from JSON or from bytes. Raises Failed."""
    return {name: found[1] for name, found in outputs(answer).items()}


def refused(answer: Answer, *statuses: int) -> None:
    """Raises Failed unless it is an error of the caller's, with the protocol's error object."""
    wanted = " or ".join(map(str, statuses)) or "4xx"
    holds = answer.status in statuses if statuses else 400 <= answer.status < 500
    expect(holds, f"expected {wanted}, got {answer.status} {answer.body[:100]!r}")
    error_object(answer)


def error(answer: Answer) -> None:
    """Raises Failed unless it is an error, of whichever status, with the protocol's error object."""
    expect(answer.status >= 400, f"expected an error, got {answer.status}")
    error_object(answer)


def error_object(answer: Answer) -> None:
    """Raises Failed unless the body is `{"error": "..."}`."""
    found = answer.object().get("error")
    expect(isinstance(found, str) and found, f'expected {{"error": "..."}}, got {answer.body[:100]!r}')


def _parted(answer: Answer) -> tuple[dict[str, Any], bytes]:
    if LENGTH not in answer.headers:
        return answer.object(), b""
    length = int(answer.headers[LENGTH])
    return Answer(200, {}, answer.body[:length]).object(), answer.body[length:]


def _unpacked(output: Mapping[str, Any], data: bytes) -> list[Any]:
    try:
        return payload.unpack(output["datatype"], data)
    except (ValueError, KeyError) as error:
        raise Failed(f"expected the bytes of output {output['name']}, got {error}") from error


def _tensors(holder: Mapping[str, Any], name: str) -> Sequence[dict[str, Any]]:
    """The list of tensors with name, datatype and shape. Raises Failed."""
    found = holder.get(name)
    expect(isinstance(found, list) and found, f"expected a list of {name}, got {str(found)[:80]}")
    assert isinstance(found, list)
    for tensor in found:
        whole = (
            isinstance(tensor, dict) and isinstance(tensor.get("name"), str) and isinstance(tensor.get("shape"), list)
        )
        expect(whole, f"expected {name} with name, datatype and shape, got {str(tensor)[:80]}")
        known = tensor.get("datatype") in payload.DATATYPES
        expect(known, f"expected a datatype of the protocol in {tensor['name']}, got {tensor.get('datatype')!r}")
    return found


def _given(tensor: Mapping[str, Any]) -> payload.Input:
    data = tuple(payload.flat(tensor["data"]))
    return payload.Input(tensor["name"], tensor["datatype"], tuple(tensor["shape"]), data)


def _good(answer: Answer) -> Answer:
    expect(answer.status == 200, f"expected 200, got {answer.status} {answer.body[:100]!r}")
    return answer
