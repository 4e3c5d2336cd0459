"""Tensors of the Open Inference Protocol as JSON, to and from numpy. Row-major; nested or flat data.

Strict where a guess could change a prediction: strings are no numbers, fractions no integers, 1 no boolean. `null`
is NaN in floating-point tensors and an error elsewhere.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from millrace_runtime import discretion
from millrace_runtime.serving.failure import RequestFailed

type_of = type
Array = npt.NDArray[Any]

DTYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(object),
}
"""Protocol datatype -> numpy dtype; BYTES are Python strings."""

_NUMBERS = frozenset({int, float})
_ACCEPTED: Mapping[str, tuple[frozenset[type], str]] = {
    "b": (frozenset({bool}), "true or false"),
    "i": (frozenset({int}), "integers"),
    "u": (frozenset({int}), "integers"),
    "f": (_NUMBERS | {type(None)}, "numbers or null"),
    "O": (frozenset({str}), "strings"),
}


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of the model; -1 in the shape is a free dimension."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy dtype onnxruntime takes and gives."""
        return DTYPES[self.datatype]


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives, in its own order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @functools.cached_property
    def output_index(self) -> Mapping[str, int]:
        """Name of an output -> its place in `outputs`."""
        return {spec.name: index for index, spec in enumerate(self.outputs)}

    @property
    def has_free_rows(self) -> bool:
        """Whether the first dimension of every tensor is free: then it may be that of rows."""
        return all(spec.shape[:1] == (-1,) for spec in (*self.inputs, *self.outputs))


def declared(spec: TensorSpec, tensor: Mapping[str, Any]) -> tuple[int, ...]:
    """The shape of an input whose datatype and shape suit the model. Raises RequestFailed(400)."""
    datatype = tensor.get("datatype")
    if datatype != spec.datatype:
        raise refused(spec, f"expected datatype {spec.datatype}, got {_short(datatype)}")
    return _shape(spec, tensor.get("shape"))


def decode(spec: TensorSpec, tensor: Mapping[str, Any]) -> Array:
    """One input of a request as the array the model takes. Raises RequestFailed(400) naming input, expected and got."""
    shape = declared(spec, tensor)
    data = tensor.get("data")
    if type_of(data) is not list:
        got = "no data" if data is None else discretion.kind(data)
        raise refused(spec, f"expected data as a list, got {got}")
    flat = _flatten(spec, data, shape)
    accepted, words = _ACCEPTED[spec.dtype.kind]
    if not accepted.issuperset(map(type_of, flat)):
        index = next(index for index, value in enumerate(flat) if type_of(value) not in accepted)
        raise refused(spec, f"expected {words}, got {discretion.kind(flat[index])} at element {index}")
    return _array(spec, flat).reshape(shape)


def encode(spec: TensorSpec, array: Array) -> dict[str, Any]:
    """One output as the protocol has it, flat; numeric data stay numpy for a serialiser that knows them.

    NaN and infinities become `null` there: JSON has no other word for them.
    """
    flat = np.ascontiguousarray(array).reshape(-1)
    data = flat.tolist() if spec.datatype in ("BYTES", "FP16") else flat
    return {**described(spec, array.shape), "data": data}


def described(spec: TensorSpec, shape: Sequence[int]) -> dict[str, Any]:
    """The head of a tensor, in metadata and in answers."""
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(shape)}


def strings(elements: list[str]) -> Array:
    """One dimension of strings as the runtime takes them."""
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array


def _array(spec: TensorSpec, flat: list[Any]) -> Array:
    try:
        if spec.datatype == "BYTES":
            return strings(flat)
        with np.errstate(over="ignore"):
            return np.array(flat, dtype=spec.dtype)
    except (OverflowError, ValueError) as error:
        index = next((index for index, value in enumerate(flat) if not _fits(spec, value)), 0)
        got = f"got {discretion.kind(flat[index])} at element {index}, which is out of its range"
        raise refused(spec, f"expected {spec.datatype}, {got}") from error


def _fits(spec: TensorSpec, value: Any) -> bool:
    try:
        np.array([value], dtype=spec.dtype)
    except (OverflowError, ValueError):
        return False
    return True


def _shape(spec: TensorSpec, shape: Any) -> tuple[int, ...]:
    if type_of(shape) is not list or any(type_of(size) is not int for size in shape):
        raise refused(spec, f"expected a shape as a list of integers, got {_short(shape)}")
    agrees = len(shape) == len(spec.shape) and all(
        want in (-1, got) for want, got in zip(spec.shape, shape, strict=True)
    )
    if not agrees or any(size < 1 for size in shape):
        raise refused(spec, f"expected shape {_shown(spec.shape)} with at least one row, got {_shown(shape)}")
    return tuple(shape)


def _flatten(spec: TensorSpec, data: list[Any], shape: tuple[int, ...]) -> list[Any]:
    """Flat data as it is; nested data level by level, each checked against the shape."""
    if len(shape) > 1 and data and type_of(data[0]) is list:
        for axis, size in enumerate(shape[:-1]):
            width = shape[axis + 1]
            if len(data) != size * (1 if axis == 0 else math.prod(shape[:axis])):
                raise refused(
                    spec, f"expected data nested as shape {_shown(shape)}, got {len(data)} parts at depth {axis}"
                )
            if any(type_of(part) is not list or len(part) != width for part in data):
                raise refused(
                    spec,
                    f"expected data nested as shape {_shown(shape)}, got parts of another size at depth {axis + 1}",
                )
            data = list(itertools.chain.from_iterable(data))
    count = math.prod(shape)
    if len(data) != count:
        raise refused(spec, f"expected {count} elements for shape {_shown(shape)}, got {len(data)}")
    return data


def refused(spec: TensorSpec, text: str) -> RequestFailed:
    """What is answered for an input that cannot be read."""
    return RequestFailed(400, f"input {spec.name}: {text}")


def _shown(shape: Any) -> str:
    return "[" + ",".join(map(str, shape))[:80] + "]"


def _short(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
