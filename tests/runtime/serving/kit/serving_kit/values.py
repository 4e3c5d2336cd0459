"""Arrays of every datatype, for properties."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from millrace_runtime.serving import tensors


def of(datatype: str, shape: tuple[int, ...]) -> st.SearchStrategy[Any]:
    """Values that JSON and bytes both have: no NaN, no infinity, no lone surrogate."""
    if datatype == "BYTES":
        return arrays.arrays(object, shape, elements=st.text(st.characters(exclude_categories=["Cs"]), max_size=5))
    dtype = tensors.DTYPES[datatype]
    if dtype.kind == "f":
        return arrays.arrays(
            dtype, shape, elements=st.floats(width=dtype.itemsize * 8, allow_nan=False, allow_infinity=False)
        )
    return arrays.arrays(dtype, shape)
