"""Values of every datatype as JSON and as bytes, without numpy."""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

FORMATS = {
    "BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b", "INT16": "h", "INT32": "i",
    "INT64": "q", "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip
"""`struct` formats; BYTES and BF16 have none."""
DATATYPES = frozenset({*FORMATS, "BYTES", "BF16"})


@dataclass(frozen=True)
class Input:
    """One tensor of a request, its data flat and in row-major order."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: tuple[Any, ...]

    @property
    def as_json(self) -> dict[str, Any]:
        """With flat data."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape), "data": list(self.data)}

    @property
    def nested(self) -> dict[str, Any]:
        """With data nested as the shape says."""
        return {**self.as_json, "data": _nested(list(self.data), self.shape)}

    @property
    def as_bytes(self) -> bytes:
        """Row-major, little-endian; strings with their length in front."""
        return pack(self.datatype, self.data)

    @property
    def described(self) -> dict[str, Any]:
        """For bytes behind the JSON object."""
        without = {name: value for name, value in self.as_json.items() if name != "data"}
        return {**without, "parameters": {"binary_data_size": len(self.as_bytes)}}


def sample(name: str, datatype: str, shape: Sequence[int], rows: int) -> Input:
    """``rows`` for a free first dimension, 1 for other free ones; small different values, valid in any datatype."""
    sizes = [rows if axis == 0 and size < 0 else abs(size) for axis, size in enumerate(shape)]
    count = math.prod(sizes)
    values: list[Any]
    if datatype == "BOOL":
        values = [bool(index % 2) for index in range(count)]
    elif datatype == "BYTES":
        values = [("a", "b", "c")[index % 3] for index in range(count)]
    elif datatype.startswith("FP"):
        values = [float(index % 4) / 2 for index in range(count)]
    else:
        values = [index % 4 for index in range(count)]
    return Input(name, datatype, tuple(sizes), tuple(values))


def pack(datatype: str, values: Sequence[Any]) -> bytes:
    """The bytes of a tensor."""
    if datatype == "BYTES":
        encoded = [str(value).encode() for value in values]
        return b"".join(struct.pack("<I", len(one)) + one for one in encoded)
    return struct.pack(f"<{len(values)}{FORMATS[datatype]}", *values)


def unpack(datatype: str, data: bytes) -> list[Any]:
    """The values of a tensor's bytes. Raises ValueError."""
    if datatype == "BYTES":
        return _strings(data)
    size = struct.calcsize(f"<{FORMATS[datatype]}")
    if len(data) % size:
        raise ValueError(f"{len(data)} bytes are not a multiple of {size}")
    return list(struct.unpack(f"<{len(data) // size}{FORMATS[datatype]}", data))


def flat(data: Any) -> list[Any]:
    """Flat or nested data as one list."""
    while isinstance(data, list) and data and isinstance(data[0], list):
        data = list(itertools.chain.from_iterable(data))
    return data if isinstance(data, list) else [data]


def _strings(data: bytes) -> list[str]:
    found, position = [], 0
    while position < len(data):
        if position + 4 > len(data):
            raise ValueError("a string's length is cut off")
        (size,) = struct.unpack_from("<I", data, position)
        position += 4 + size
        if position > len(data):
            raise ValueError("a string is cut off")
        found.append(data[position - size : position].decode())
    return found


def _nested(data: list[Any], shape: Sequence[int]) -> list[Any]:
    for size in reversed(shape[1:]):
        data = [data[start : start + size] for start in range(0, len(data), size)]
    return data
