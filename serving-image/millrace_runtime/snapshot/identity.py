"""What makes a row the same row in the next version: a 16-byte key of its content, and its number among equal rows.

A value is hashed as what it says, not as how it is stored: the integer 1, the float 1.0 and True are one value, a text
is its UTF-8. Columns are taken in name order, so neither the order of rows nor that of columns matters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Table = Any
Keys = npt.NDArray[np.bytes_]
KEY_BYTES = 16
_BLOCK_ROWS = 65_536
_ABSENT, _WHOLE, _FRACTION, _TEXT, _INSTANT = range(5)


def contents(table: Table, columns: Sequence[str]) -> Keys:
    """Return one `S16` hash per row over the named columns."""
    names = sorted(columns)
    person = hashlib.blake2b("\x00".join(names).encode(), digest_size=16).digest()
    keys = np.empty(table.num_rows, dtype=f"S{KEY_BYTES}")
    for start in range(0, table.num_rows, _BLOCK_ROWS):
        block = table.slice(start, _BLOCK_ROWS)
        bytes_ = np.concatenate([_encoded(block[name]) for name in names], axis=1)
        hashes = (hashlib.blake2b(row.tobytes(), digest_size=KEY_BYTES, person=person).digest() for row in bytes_)
        keys[start : start + block.num_rows] = np.fromiter(hashes, dtype=keys.dtype, count=block.num_rows)
    return keys


def distinct(same: Keys, full: Keys) -> Keys:
    """Return distinct keys: the n-th of the rows equal in `same`, in the order of `full`, gets a key of its own."""
    order = np.lexsort((full, same))
    ordered = same[order]
    first = np.concatenate([[True], ordered[1:] != ordered[:-1]]) if len(ordered) else np.empty(0, bool)
    starts = np.flatnonzero(first)
    occurrence = np.arange(len(ordered)) - np.repeat(starts, np.diff(np.append(starts, len(ordered))))
    keys = ordered.copy()
    for at in np.flatnonzero(occurrence):
        padded = ordered[at].ljust(KEY_BYTES, b"\0")
        keys[at] = hashlib.blake2b(padded + int(occurrence[at]).to_bytes(8, "big"), digest_size=KEY_BYTES).digest()
    result = np.empty_like(keys)
    result[order] = keys
    return result


def _encoded(column: Any) -> npt.NDArray[np.uint8]:
    """Nine bytes a value for numbers and instants, seventeen for text: a tag, then the value."""
    kind = column.type
    present = ~np.asarray(column.is_null())
    if pa.types.is_string(kind):
        return _texts(column, present)
    if pa.types.is_timestamp(kind):
        return _tagged(np.where(present, _INSTANT, _ABSENT), _int64(column.cast(pa.int64())))
    if pa.types.is_floating(kind):
        numbers = np.asarray(pc.fill_null(column, 0.0), dtype=np.float64)
        whole = (numbers == np.floor(numbers)) & (np.abs(numbers) < 2.0**63)
        bits = np.where(whole, np.where(whole, numbers, 0).astype(np.int64), numbers.view(np.int64))
        return _tagged(np.where(present, np.where(whole, _WHOLE, _FRACTION), _ABSENT), bits)
    return _tagged(np.where(present, _WHOLE, _ABSENT), _int64(column.cast(pa.int64())))


def _int64(column: Any) -> npt.NDArray[np.int64]:
    return np.asarray(pc.fill_null(column, 0), dtype=np.int64)


def _tagged(tags: npt.NDArray[Any], bits: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    value = bits.astype(">i8").view(np.uint8).reshape(-1, 8)
    return np.concatenate([tags.astype(np.uint8).reshape(-1, 1), value], axis=1)


def _texts(column: Any, present: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    encoded = pc.fill_null(column, "").combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0) if encoded.num_chunks else encoded.combine_chunks()
    hashes = b"".join(
        hashlib.blake2b(text.encode(), digest_size=KEY_BYTES).digest() for text in encoded.dictionary.to_pylist()
    )
    table = np.frombuffer(hashes, np.uint8).reshape(-1, KEY_BYTES)
    values = table[np.asarray(encoded.indices)] * present.reshape(-1, 1).astype(np.uint8)
    return np.concatenate([np.where(present, _TEXT, _ABSENT).astype(np.uint8).reshape(-1, 1), values], axis=1)
