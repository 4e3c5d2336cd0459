"""How exactly a model must be given its numbers: FP32 where that changes none that matters, else FP64, else a refusal.

A column needs FP64 when FP32 would change what it says:

    a Timestamp                            FP32 counts today's days in steps of 169 s
    a number from 2**24 on                 20240101 would be read as 20240100
    a number FP32 has no room for          1e39 is infinite there, 1e-50 is 0
    numbers far from 0, close together     1000000.01 and 1000000.02 would be one number

An Int64 that FP64 cannot hold either (from 2**53 on) is an identifier or a hash; it is refused by column and value.
The train rows decide, for all rows that there will ever be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from millrace.contract.dataset import FieldType
from millrace.contract.reasons import Reason
from millrace_runtime.outcome import StageError
from millrace_runtime.snapshot.freeze import as_floats
from millrace_runtime.training.features import Layout, Table

WHOLE_IN_FP32 = 2.0**24
LARGEST_FP32 = float(np.finfo(np.float32).max)
SMALLEST_FP32 = float(np.finfo(np.float32).tiny)
COARSEST = 1e-5
"""The typical rounding, as a share of where most values lie, that is still the same number to a model."""
BLURRED = 0.01
"""The rounding of an answer, as a share of the labels' standard deviation, that may not be."""
_SAME = 1e-12
"""Labels that differ by less, as a share of their size, are one."""

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Misfit:
    """A column that FP32 would change, and a value of it; `certain` when the change is more than a matter of degree."""

    column: str
    value: str
    read_as: str
    certain: bool = True


def needed(table: Table, model: Layout) -> npt.DTypeLike:
    """Return float32 or float64. Raises StageError(NumberNotExact) for what neither holds."""
    for name in model.numeric:
        if model.types[name] is FieldType.INT64:
            _check_whole(name, table[name])
    return np.float32 if misfit(table, model) is None else np.float64


def misfit(table: Table, model: Layout) -> Misfit | None:
    """Return the first column that FP32 would change; None where it is enough."""
    for name in model.numeric:
        kind = model.types[name]
        if kind in (FieldType.BOOL, FieldType.FLOAT32):
            continue
        found = _misfit(name, as_floats(table[name], kind), is_instant=kind is FieldType.TIMESTAMP)
        if found is not None:
            return found
    return None


def refuse_narrow(table: Table, model: Layout) -> None:
    """For a model whose own input is FP32. Raises StageError(NumberNotExact) where that changes what a column says."""
    found = misfit(table, model)
    if found is not None and found.certain:
        text = (
            f'Column "{found.column[:80]}" holds {found.value}, which the model\'s FP32 input reads as {found.read_as}'
        )
        raise StageError(Reason.NUMBER_NOT_EXACT, f"{text}. Export the model with an FP64 input.")


def refuse_label(name: str, numbers: Numbers) -> None:
    """Numbers are answered in 32 bits. Raises StageError(NumberNotExact) where that blurs what tells labels apart."""
    size = float(np.abs(numbers).max())
    if size == 0:
        return
    with np.errstate(over="ignore"):
        answered = numbers.astype(np.float32).astype(np.float64)
        errors = np.abs(numbers - answered) / size
    at, spread = int(np.argmax(errors)), float((numbers / size).std())
    if spread > _SAME and errors[at] > BLURRED * spread:
        said = f'Label "{name[:80]}" holds {written(numbers[at])}, which 32 bits of an answer would make '
        text = f"{said}{written(answered[at])}, and labels differ by {spread * size:.3g}"
        raise StageError(Reason.NUMBER_NOT_EXACT, f"{text}. Rescale them, or subtract what they have in common.")


def _check_whole(name: str, column: Any) -> None:
    values = column.drop_null().to_numpy()
    with np.errstate(invalid="ignore"):
        lost = values != values.astype(np.float64).astype(np.int64)
    if lost.any():
        value = int(values[int(np.argmax(lost))])
        text = f'Column "{name[:80]}" holds {value}, which no 64-bit float holds exactly'
        raise StageError(Reason.NUMBER_NOT_EXACT, f"{text}. Give it role Id or Ignore, or type Category.")


def _misfit(name: str, numbers: Numbers, *, is_instant: bool) -> Misfit | None:
    values = numbers[np.isfinite(numbers)]
    if not len(values):
        return None
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32).astype(np.float64)
    size = np.abs(values)
    changed = (rounded != values) & (is_instant | (size >= WHOLE_IN_FP32))
    if changed.any():
        return _named(name, values, rounded, changed)
    if is_instant:
        # Whole days so far; a time of day may come with any request.
        return Misfit(name, f"{values[0]:g} days", f"{rounded[0]:g} days", certain=False)
    vanished = (size > 0) & (size < SMALLEST_FP32)
    if vanished.any():
        return _named(name, values, rounded, vanished, certain=False)
    low, high = np.quantile(values, [0.05, 0.95])
    errors = np.abs(values - rounded)
    if float(np.median(errors)) > COARSEST * ((high - low) or np.ptp(values) or np.inf):
        return _named(name, values, rounded, errors == errors.max(), certain=False)
    return None


def _named(name: str, values: Numbers, rounded: Numbers, at: npt.NDArray[np.bool_], *, certain: bool = True) -> Misfit:
    index = int(np.argmax(at))
    return Misfit(name, written(values[index]), written(rounded[index]), certain)


def written(number: float) -> str:
    """A number as people write it, to its last figure."""
    value = float(number)
    return str(int(value)) if value.is_integer() and abs(value) < 1e18 else repr(value)
