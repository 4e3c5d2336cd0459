"""Scalars of the API: checked by pattern at admission, turned into numbers at the edge."""

from __future__ import annotations

import decimal
import re
from typing import Annotated

from pydantic import Field

LARGEST_EXACT = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly."""

# At most six digits a part: sums stay within what a date can be moved by.
DURATION_PATTERN = r"^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?([0-9]{1,6}ms)?$"
_AMOUNT = re.compile(r"([+-]?[0-9.]+)(n|u|m|k|Ki|[MGTPE]i?|[eE][+-]?[0-9]{1,3})?")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}

Duration = Annotated[str, Field(pattern=DURATION_PATTERN, min_length=2, max_length=32)]
DnsName = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)]
ModelName = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=53)]
"""A registered model: `<modelName>-<version>` must fit in 63 characters."""
ObjectName = Annotated[
    str,
    Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", min_length=1, max_length=253),
]
"""Any object's name: an RFC 1123 subdomain."""
FieldName = Annotated[
    str, Field(pattern="^[^\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\u2028\u2029]+$", min_length=1, max_length=128)
]
"""A column. Control characters end a line in one reader or another: such a column has to be renamed."""
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]
Uri = Annotated[str, Field(pattern=r"^s3://[a-z0-9](\.?[-a-z0-9]){1,61}[a-z0-9](/.*)?$", max_length=1024)]
"""A place in an S3 bucket, whose name has 3 to 63 characters and no two dots in a row.

Other schemes come with the images that can open them.
"""
Decimal = Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$", max_length=32)]
Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$", max_length=32)]
Message = Annotated[str, Field(max_length=1024)]
UserName = Annotated[str, Field(min_length=1, max_length=256)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
"""What NumPy takes as a seed."""
Count = Annotated[int, Field(ge=0, le=LARGEST_EXACT)]


def seconds(duration: str) -> float:
    """Seconds of a Go-style duration such as `1h30m`, `45s` or `250ms`.

    Raises ValueError when the text is not such a duration.
    """
    if not duration or not re.fullmatch(DURATION_PATTERN, duration):
        raise ValueError(f"{duration!r} is not a duration such as 30s, 5m or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9]+)(ms|h|m|s)", duration))


def amount(quantity: str) -> decimal.Decimal:
    """The number that a Kubernetes quantity such as `500m`, `0.5` or `1Gi` stands for.

    The API server writes a quantity in its own form, so two that look different may be equal. Raises ValueError when
    the text is none.
    """
    found = _AMOUNT.fullmatch(quantity)
    try:
        number = decimal.Decimal(found[1]) if found is not None else None
    except decimal.InvalidOperation:
        number = None
    if found is None or number is None:
        raise ValueError(f"{quantity!r} is not a quantity such as 500m, 2 or 1Gi")
    suffix = found[2] or ""
    if suffix in _BINARY:
        return number * decimal.Decimal(1024) ** (_BINARY.index(suffix) + 1)
    return number.scaleb(_DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:]))
