"""The part of a Dataset's spec that a snapshot acts on, read from the task's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from millrace.contract.environment import PreviousSnapshot, SnapshotTask
from millrace.contract.record import MalformedRecord, Record
from millrace_runtime.outcome import TaskError, task_text


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
    IGNORE = "Ignore"


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
    """Besides the empty field. None: the usual words (`texts.MISSING`), in columns that are not text."""
    decimal: str | None = None
    encoding: str | None = None
    compression: Compression | None = None


@dataclass(frozen=True)
class DatasetSpec(Record):
    """What is read, checked and divided."""

    source: Source
    format: Format
    csv: Csv = Csv()
    schema: Schema = Schema()
    validation: Validation = Validation()
    split: Split = Split()


@dataclass(frozen=True)
class Task:
    """One reading of one Dataset's source."""

    namespace: str
    name: str
    store_uri: str
    spec: DatasetSpec
    previous: PreviousSnapshot | None


def read(environ: Mapping[str, str]) -> Task:
    """Raises TaskError naming the field at fault."""
    text = task_text(environ)
    try:
        task = SnapshotTask.from_json(text)
        spec = DatasetSpec.from_dict(task.spec, "spec")
    except MalformedRecord as error:
        raise TaskError(str(error)) from error
    _check(spec)
    return Task(task.namespace, task.name, task.store_uri, spec, task.previous)


def _check(spec: DatasetSpec) -> None:
    shares = spec.split.fractions
    total = shares.train + shares.validation + shares.test
    if min(shares.train, shares.validation, shares.test) < 0 or abs(total - 1) > 1e-6:
        raise TaskError(f"split.fractions: expected shares that add up to 1, got {total:g}")
    if spec.split.method is Method.STRATIFIED and not spec.split.field:
        raise TaskError("split.field: required with Stratified")
    if spec.split.method is Method.TIME and spec.split.group_by:
        raise TaskError("split.groupBy: Time divides by when a row happened, not by whose it is")
    if spec.schema.mode is not Mode.INFER and not spec.schema.fields:
        raise TaskError(f"schema.fields: required with mode {spec.schema.mode}")
    names = [field.name for field in spec.schema.fields]
    if len(set(names)) != len(names):
        raise TaskError("schema.fields: a name appears twice")
    for rule in spec.validation.rules:
        if [rule.row_count, rule.null_fraction, rule.unique].count(None) != 2:
            raise TaskError(f"validation.rules: {rule.name} needs exactly one of rowCount, nullFraction, unique")
