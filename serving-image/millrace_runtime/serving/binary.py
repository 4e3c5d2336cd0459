"""Tensors as bytes: row-major and little-endian, a string as its length in four bytes and then UTF-8.

The form of the binary tensor data extension (Triton, docs/protocol/extension_binary_data.md) and of gRPC's
`raw_input_contents` and `raw_output_contents` (Open Inference Protocol v2).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from typing import Any

import numpy as np

from millrace_runtime.serving.tensors import Array, TensorSpec, refused, strings

Bytes = bytes | memoryview
_LENGTH = struct.Struct("<I")


def decode(spec: TensorSpec, shape: tuple[int, ...], data: Bytes) -> Array:
    """The array of that shape; numbers are not copied. Raises RequestFailed(400) naming input, expected and got."""
    count = math.prod(shape)
    if spec.datatype == "BYTES":
        return _strings(spec, count, data).reshape(shape)
    size = count * spec.dtype.itemsize
    if len(data) != size:
        shown = ",".join(map(str, shape))[:80]
        raise refused(spec, f"expected {size} bytes for {spec.datatype} of shape [{shown}], got {len(data)}")
    if spec.datatype == "BOOL" and np.frombuffer(data, np.uint8).max(initial=0) > 1:
        raise refused(spec, "expected bytes 0 and 1 for BOOL, got others")
    # Behind a JSON object of any length numbers begin at any address; the runtime reads whole words.
    flat = np.require(np.frombuffer(data, spec.dtype.newbyteorder("<")), requirements="A")
    return flat.reshape(shape)


def encode(spec: TensorSpec, array: Array) -> bytes:
    """The bytes of one output."""
    if spec.datatype == "BYTES":
        return b"".join(_prefixed(array.reshape(-1).tolist()))
    return np.ascontiguousarray(array, spec.dtype.newbyteorder("<")).tobytes()


def _prefixed(elements: Iterable[Any]) -> Iterable[bytes]:
    for element in elements:
        text = element if isinstance(element, bytes) else str(element).encode()
        yield _LENGTH.pack(len(text))
        yield text


def _strings(spec: TensorSpec, count: int, data: Bytes) -> Array:
    found: list[str] = []
    position, view = 0, memoryview(data)
    while position < len(view):
        if len(found) == count:
            raise refused(spec, f"expected {count} strings, got {len(view) - position} bytes more")
        start = position + _LENGTH.size
        stop = start + _LENGTH.unpack_from(view, position)[0] if start <= len(view) else start
        if stop > len(view):
            raise refused(spec, f"expected {stop - position} bytes for string {len(found)}, got {len(view) - position}")
        found.append(text(spec, view[start:stop], len(found)))
        position = stop
    if len(found) != count:
        raise refused(spec, f"expected {count} strings, got {len(found)}")
    return strings(found)


def text(spec: TensorSpec, data: Bytes, index: int) -> str:
    """One element of BYTES. Raises RequestFailed(400): the runtime's strings are UTF-8."""
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise refused(spec, f"expected UTF-8, got another encoding at element {index}") from error
