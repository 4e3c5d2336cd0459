"""Requests that the server answers, as what the wrong ones are made from."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from typing import Any

from serving_kit.models import Model

from millrace_runtime.serving import binary, tensors

NAME = "churn"
INFER = f"/v2/models/{NAME}/infer"
READ = (
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models",
    "/v2/models/stats",
    f"/v2/models/{NAME}",
    f"/v2/models/{NAME}/ready",
    f"/v2/models/{NAME}/stats",
    f"/v2/models/{NAME}/versions/7",
    f"/v2/models/{NAME}/versions/7/ready",
    "/metrics",
)


@dataclass
class Request:
    """One request before it is bytes; a mutation changes a copy of it."""

    method: str = "POST"
    target: str = INFER
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    framing: str = "length"
    """`length`, `chunked`, or `none`: the headers are all there is."""
    chunks: tuple[int, ...] = ()
    """Sizes of the chunks, repeated to the end of the body."""
    version: str = "HTTP/1.1"

    def header(self, name: str, value: str) -> None:
        """Set it in place of what it was."""
        self.headers = [pair for pair in self.headers if pair[0].lower() != name.lower()] + [(name, value)]

    def wire(self) -> bytes:
        """The bytes that are sent."""
        headers = [("Host", "localhost"), *self.headers]
        body = self.body
        if self.framing == "length":
            headers.append(("Content-Length", str(len(body))))
        elif self.framing == "chunked":
            headers.append(("Transfer-Encoding", "chunked"))
            body = _chunked(body, self.chunks or (len(body) or 1,))
        lines = [f"{self.method} {self.target} {self.version}", *(f"{name}: {value}" for name, value in headers)]
        return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body


@dataclass
class Corpus:
    """Requests about one model."""

    model: Model

    def objects(self, row: int, rows: int = 1) -> dict[str, Any]:
        """As JSON, free to be changed."""
        return copy.deepcopy(self.model.rows(row, row + rows))

    def as_json(self, row: int, rows: int = 1) -> Request:
        """Tensors as JSON."""
        body = json.dumps(self.objects(row, rows)).encode()
        return Request(headers=[("Content-Type", "application/json")], body=body)

    def parts(self, row: int, rows: int = 1) -> tuple[dict[str, Any], bytes]:
        """The JSON object and the bytes behind it."""
        inputs, tail = [], b""
        for name, array in self.model.feeds.items():
            some = array[row : row + rows]
            spec = tensors.TensorSpec(name, "BYTES" if some.dtype == object else "FP32", some.shape)
            data = binary.encode(spec, some)
            size = {"binary_data_size": len(data)}
            inputs.append({"name": name, "datatype": spec.datatype, "shape": list(some.shape), "parameters": size})
            tail += data
        return {"inputs": inputs, "parameters": {"binary_data_output": True}}, tail


def with_tail(head: object, tail: bytes, length: int | str | None = None) -> Request:
    """Tensors as bytes behind a JSON object; ``length`` in place of the true one."""
    text = json.dumps(head).encode()
    named = ("Inference-Header-Content-Length", str(len(text) if length is None else length))
    return Request(headers=[("Content-Type", "application/octet-stream"), named], body=text + tail)


def _chunked(body: bytes, sizes: tuple[int, ...]) -> bytes:
    parts, position, turn = [], 0, 0
    while position < len(body):
        size = max(1, sizes[turn % len(sizes)])
        part = body[position : position + size]
        parts.append(b"%x\r\n%b\r\n" % (len(part), part))
        position, turn = position + size, turn + 1
    return b"".join(parts) + b"0\r\n\r\n"
