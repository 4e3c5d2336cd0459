"""What a snapshot is told of a Dataset's spec: one typed record, filled by the operator and read in the pod.

A field that is to reach the pod is one of `millrace.api.dataset` and one here, of the same name; the operator fills it
by name. `tests/contract/test_fields.py` fails for one that is only on one side, and for one here that nothing reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from millrace.contract.record import Record


class Format(StrEnum):
    """How the source's files are written."""

    CSV = "CSV"
    PARQUET = "Parquet"


class FieldType(StrEnum):
    """What the values of a column are."""

    INT64 = "Int64"
    FLOAT32 = "Float32"
    FLOAT64 = "Float64"
    STRING = "String"
    BOOL = "Bool"
    TIMESTAMP = "Timestamp"
    CATEGORY = "Category"


class Role(StrEnum):
    """What a column is for. `Ignore` columns are checked but not frozen; only `Feature` ones are trained on."""

    FEATURE = "Feature"
    LABEL = "Label"
    ID = "Id"
    EVENT_TIME = "EventTime"
    SENSITIVE = "Sensitive"
    IGNORE = "Ignore"


SPOKEN = frozenset({Role.FEATURE, Role.LABEL, Role.EVENT_TIME})
"""Roles of columns whose values may be said; what else is said of a value is `millrace_runtime.discretion`'s."""


class Compression(StrEnum):
    """How a file is packed."""

    NONE = "None"
    GZIP = "Gzip"
    BZIP2 = "Bzip2"
    XZ = "Xz"
    ZSTD = "Zstd"


class Quote(StrEnum):
    """What a field begins and ends with that holds a delimiter, a line end or a quote (doubled)."""

    DOUBLE = '"'
    SINGLE = "'"
    NONE = "None"


class Mode(StrEnum):
    """What happens to a column that the schema does not name: refused, left out, or taken as a Feature."""

    STRICT = "Strict"
    ALLOW_NEW_FIELDS = "AllowNewFields"
    INFER = "Infer"


class Method(StrEnum):
    """How new rows are divided."""

    RANDOM = "Random"
    STRATIFIED = "Stratified"
    TIME = "Time"


@dataclass(frozen=True)
class Field(Record):
    """One column."""

    name: str
    type: FieldType
    role: Role = Role.FEATURE
    nullable: bool = True
    minimum: float | None = None
    maximum: float | None = None
    allowed_values: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Schema(Record):
    """The columns and how strictly they are meant."""

    mode: Mode = Mode.INFER
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True)
class RowCount(Record):
    """A closed range of row counts."""

    min: int | None = None
    max: int | None = None


@dataclass(frozen=True)
class NullFraction(Record):
    """At most this share of a column may be missing."""

    field: str
    max: float


@dataclass(frozen=True)
class Unique(Record):
    """No two rows agree in all of these columns."""

    fields: tuple[str, ...]


@dataclass(frozen=True)
class Rule(Record):
    """Exactly one of the three."""

    name: str
    row_count: RowCount | None = None
    null_fraction: NullFraction | None = None
    unique: Unique | None = None


@dataclass(frozen=True)
class Validation(Record):
    """Rules over the rows."""

    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Fractions(Record):
    """Shares of new rows; they add up to 1."""

    train: float = 0.8
    validation: float = 0.1
    test: float = 0.1


@dataclass(frozen=True)
class Split(Record):
    """How new rows are divided."""

    method: Method = Method.RANDOM
    field: str | None = None
    seed: int = 0
    fractions: Fractions = Fractions()
    group_by: tuple[str, ...] | None = None
    """Rows that agree in these columns stay together."""


@dataclass(frozen=True)
class SecretRef(Record):
    """The Secret that opens the source."""

    name: str


@dataclass(frozen=True)
class Source(Record):
    """One file, or a prefix of files."""

    storage_uri: str
    secret_ref: SecretRef | None = None


@dataclass(frozen=True)
class Csv(Record):
    """How CSV files are written; what is None is found out per file."""

    delimiter: str | None = None
    quote: Quote | None = None
    null_values: tuple[str, ...] | None = None
    """Besides the empty field. None: the usual words, in columns that are not text."""
    decimal: str | None = None
    encoding: str | None = None
    compression: Compression | None = None


@dataclass(frozen=True)
class Erasure(Record):
    """Ids whose rows are left out of every version. `field` is the column, `ids` maps `contract.erasure.digest` of each
    to why.
    """

    field: str
    ids: Mapping[str, str]


@dataclass(frozen=True)
class DatasetSpec(Record):
    """What is read, checked and divided."""

    source: Source
    format: Format
    csv: Csv = Csv()
    schema: Schema = Schema()
    validation: Validation = Validation()
    split: Split = Split()
    erasure: Erasure | None = None
