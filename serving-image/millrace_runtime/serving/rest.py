"""Inference over REST (Open Inference Protocol v2 at d49cc23): bytes to arrays and back.

A tensor is JSON, or with the binary tensor data extension the bytes behind the JSON object, in the order of the
tensors; `Inference-Header-Content-Length` says where the object ends. At 0 there is no object: the body is the one
input of the model (Triton, docs/protocol/extension_binary_data.md).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from millrace_runtime.serving import binary, tensors
from millrace_runtime.serving.failure import RequestFailed
from millrace_runtime.serving.inference import Request, check_names, index_of, rows_of
from millrace_runtime.serving.tensors import Array, Signature, TensorSpec

LENGTH_HEADER = "Inference-Header-Content-Length"


def decode(signature: Signature, body: bytes, length: int | None = None) -> Request:
    """Raises RequestFailed(400). ``length`` of the JSON object: all of the body when None."""
    if length is None:
        return _decoded(signature, parse(body), None)
    if length == 0 and body:
        return _one_tensor(signature, body)
    view = memoryview(body)
    return _decoded(signature, parse(body[:length]), view[length:])


def header_length(value: bytes, size: int) -> int:
    """The header's value for a body of ``size`` bytes. Raises RequestFailed(400)."""
    if not value.isdigit() or len(value) > 12 or int(value) > size:
        shown = value[:20].decode("ascii", "replace")
        raise RequestFailed(400, f"{LENGTH_HEADER}: expected 0 to {size}, the body's length, got {shown!r}")
    return int(value)


def encode(signature: Signature, head: Mapping[str, Any], request: Request, results: Sequence[Array]) -> Encoded:
    """``head`` with the outputs that were asked for; bytes follow in their order."""
    outputs, parts = [], []
    for index, as_bytes in request.outputs:
        spec, array = signature.outputs[index], results[index]
        if as_bytes:
            parts.append(binary.encode(spec, array))
            size = {"binary_data_size": len(parts[-1])}
            outputs.append({**tensors.described(spec, array.shape), "parameters": size})
        else:
            outputs.append(tensors.encode(spec, array))
    identified = {**head, "id": request.id} if request.id is not None else head
    text = orjson.dumps({**identified, "outputs": outputs}, option=orjson.OPT_SERIALIZE_NUMPY)
    return Encoded(b"".join((text, *parts)), len(text)) if parts else Encoded(text, None)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A body, and the length of its JSON object when bytes of tensors follow."""

    body: bytes
    length: int | None


def parse(body: bytes) -> dict[str, Any]:
    """The request as an object with a list of inputs. Raises RequestFailed(400)."""
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        request = _parse_with_nan(body, error)
    if not isinstance(request, dict):
        raise RequestFailed(400, f"expected an inference request as a JSON object, got {type(request).__name__}")
    if not isinstance(request.get("id", ""), str):
        raise RequestFailed(400, f"id: expected a string, got {type(request['id']).__name__}")
    if not isinstance(request.get("inputs"), list):
        raise RequestFailed(400, "inputs: expected a list of tensors")
    return request


def decode_inputs(
    signature: Signature, given: Sequence[Any], tail: memoryview | None = None
) -> tuple[dict[str, Array], int]:
    """The arrays by input name, and the number of rows they agree on. Raises RequestFailed(400)."""
    found: dict[str, Mapping[str, Any]] = {}
    parts: dict[str, memoryview] = {}
    position = 0
    for tensor in given:
        name = _name(tensor, found)
        found[name] = tensor
        size = _binary_size(name, tensor, tail)
        if size is not None and tail is not None:
            parts[name] = tail[position : position + size]
            position += size
    if tail is not None and position != len(tail):
        raise RequestFailed(
            400, f"inputs: expected {position} bytes of tensors behind the JSON object, got {len(tail)}"
        )
    check_names(signature, found)
    feeds = {spec.name: _input(spec, found[spec.name], parts.get(spec.name)) for spec in signature.inputs}
    return feeds, rows_of(signature, feeds)


def _decoded(signature: Signature, request: Mapping[str, Any], tail: memoryview | None) -> Request:
    parameters = _parameters(request, "parameters")
    timeout_us = _timeout_us(parameters)
    as_bytes = _flag(parameters, "binary_data_output", "parameters", False)
    outputs = _outputs(signature, request.get("outputs"), as_bytes)
    feeds, rows = decode_inputs(signature, request["inputs"], tail)
    return Request(feeds, rows, outputs, request.get("id"), timeout_us)


def _outputs(signature: Signature, wanted: Any, as_bytes: bool) -> tuple[tuple[int, bool], ...]:
    """Those that are asked for, or all; ``as_bytes`` where it is not said of one."""
    if wanted is None or wanted == []:
        return tuple((index, as_bytes) for index in range(len(signature.outputs)))
    if not isinstance(wanted, list) or not all(isinstance(item, dict) for item in wanted):
        raise RequestFailed(400, "outputs: expected a list of objects with a name")
    chosen: dict[int, bool] = {}
    for item in wanted:
        name = item.get("name")
        index = index_of(signature, name, chosen)
        where = f"output {name}: parameters"
        chosen[index] = _flag(_parameters(item, where), "binary_data", where, as_bytes)
    return tuple(chosen.items())


def _one_tensor(signature: Signature, body: bytes) -> Request:
    """The body is the model's one input; its free dimension, if it has one, follows from the length."""
    spec = signature.inputs[0]
    free = [axis for axis, size in enumerate(spec.shape) if size == -1]
    strings = spec.datatype == "BYTES"
    deducible = all(size in (-1, 1) for size in spec.shape) if strings else len(free) <= 1
    if len(signature.inputs) > 1 or not deducible:
        raise RequestFailed(
            400, f"{LENGTH_HEADER}: expected a JSON object, for its inputs do not follow from a number of bytes; got 0"
        )
    outputs = tuple((index, True) for index in range(len(signature.outputs)))
    if strings:
        feed = tensors.strings([binary.text(spec, body, 0)]).reshape([1] * len(spec.shape))
    else:
        width = math.prod(size for size in spec.shape if size != -1) * spec.dtype.itemsize
        if free and (not width or len(body) % width):
            raise RequestFailed(400, f"input {spec.name}: expected a multiple of {width} bytes, got {len(body)}")
        count = len(body) // width if free else 1
        feed = binary.decode(spec, tuple(count if size == -1 else size for size in spec.shape), body)
    feeds = {spec.name: feed}
    return Request(feeds, rows_of(signature, feeds), outputs)


def _name(tensor: Any, found: Mapping[str, object]) -> str:
    if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
        raise RequestFailed(400, "inputs: expected objects with a name")
    name: str = tensor["name"]
    if name in found:
        raise RequestFailed(400, f"input {name[:80]}: given twice")
    return name


def _input(spec: TensorSpec, tensor: Mapping[str, Any], part: memoryview | None) -> Array:
    return tensors.decode(spec, tensor) if part is None else binary.decode(spec, tensors.declared(spec, tensor), part)


def _binary_size(name: str, tensor: Mapping[str, Any], tail: memoryview | None) -> int | None:
    """Bytes of this input behind the JSON object; None when its data are in the object."""
    where = f"input {name[:80]}: parameters"
    size = _parameters(tensor, where).get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or size < 0:
        raise RequestFailed(400, f"{where}.binary_data_size: expected a number of bytes, got {size!r:.40}")
    if tail is None:
        raise RequestFailed(400, f"{where}.binary_data_size: expected the header {LENGTH_HEADER}, got none")
    if "data" in tensor:
        raise RequestFailed(400, f"input {name[:80]}: expected data or binary_data_size, got both")
    if size > len(tail):
        raise RequestFailed(
            400, f"{where}.binary_data_size: expected at most {len(tail)}, the bytes behind the JSON object, got {size}"
        )
    return size


_NONE: Mapping[str, Any] = {}


def _parameters(holder: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """The parameters of a request or of a tensor: strings, numbers and booleans by name."""
    found = holder.get("parameters")
    if found is None:
        return _NONE
    if not isinstance(found, dict):
        raise RequestFailed(400, f"{where}: expected an object, got {type(found).__name__}")
    for name, value in found.items():
        if not isinstance(value, str | int | float):
            raise RequestFailed(400, f"{where}.{name[:80]}: expected a string, a number or a boolean")
    return found


def _flag(parameters: Mapping[str, Any], name: str, where: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise RequestFailed(400, f"{where}.{name}: expected true or false, got {value!r:.40}")
    return value


def _timeout_us(parameters: Mapping[str, Any]) -> int:
    """The request's, 0 for none (Triton, docs/protocol/extension_schedule_policy.md)."""
    value = parameters.get("timeout", 0)
    if type(value) is not int or value < 0:
        raise RequestFailed(400, f"parameters.timeout: expected a number of microseconds, got {value!r:.40}")
    return value


def _parse_with_nan(body: bytes, refused: Exception) -> Any:
    """NaN and Infinity are not JSON, but Python's json and Triton write them."""
    if b"NaN" in body or b"Infinity" in body:
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            pass
    raise RequestFailed(400, f"expected JSON: {str(refused)[:200]}") from refused
