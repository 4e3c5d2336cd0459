"""Dataset: a source that is read, checked and frozen into immutable, content-addressed versions."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .base import BY_NAME, SET, Resource, Rule, Shape
from .dataset_status import DatasetStatus
from .erasure import Erasure
from .quantities import Count, DnsName, Duration, FieldName, Seed, Uri
from .refs import SecretRef
from .retention import Retention
from .training_run import ResourceRequirements, bounded

FieldType = Literal["Int64", "Float32", "Float64", "String", "Bool", "Timestamp", "Category"]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Source(Shape):
    """Where the rows are: one file, or a prefix whose files are read in name order."""

    storage_uri: Uri
    """A file, or a prefix ending in a slash, in an S3 bucket: `s3://bucket/key`."""
    secret_ref: SecretRef | None = None
    """Credentials of the source (`AWS_ACCESS_KEY_ID`, ...). Absent: those of the store."""


class CsvFormat(Shape):
    """How CSV files are written. What is absent is found out for each file and said in `status.reading`."""

    RULES: ClassVar = (
        Rule(
            rule="!has(self.delimiter) || ((!has(self.quote) || self.delimiter != self.quote) && "
            "(!has(self.decimal) || self.delimiter != self.decimal))",
            message="delimiter must be neither the quote nor the decimal mark",
            field=".delimiter",
        ),
    )
    delimiter: Annotated[str, Field(pattern=r"^[\t !#$%&*+,./:;<=>?@^_|~-]$", max_length=1)] | None = None
    """What separates fields: one character, such as `,` `;` or a tab."""
    quote: Literal['"', "'", "None"] | None = None
    """What fields begin and end with that hold a delimiter or a line end. None: quotes are ordinary characters."""
    null_values: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=64), SET] | None = None
    """What means a missing value, beside the empty field. Absent: NA, NaN, null and the like, but not in text."""
    decimal: Literal[".", ","] | None = None
    """What comes before the fraction of a number."""
    encoding: (
        Literal[
            "UTF-8",
            "UTF-16",
            "UTF-16LE",
            "UTF-16BE",
            "ISO-8859-1",
            "ISO-8859-2",
            "ISO-8859-15",
            "Windows-1250",
            "Windows-1251",
            "Windows-1252",
            "Shift_JIS",
            "EUC-JP",
            "EUC-KR",
            "GB18030",
            "Big5",
        ]
        | None
    ) = None
    """What the bytes mean. Absent: UTF-8, or what a byte order mark says."""
    compression: Literal["None", "Gzip", "Bzip2", "Xz", "Zstd"] | None = None
    """How files are packed. Absent: what their first bytes say."""


class SchemaField(Shape):
    """One column of the contract."""

    RULES: ClassVar = (
        Rule(
            rule="!has(self.minimum) || !has(self.maximum) || self.minimum <= self.maximum",
            message="minimum must not exceed maximum",
            field=".minimum",
        ),
        Rule(
            rule="(!has(self.minimum) && !has(self.maximum)) || self.type in ['Int64', 'Float32', 'Float64']",
            message="minimum and maximum are for Int64, Float32 and Float64: nothing else is compared with them",
            field=".type",
        ),
        Rule(
            rule="self.role != 'EventTime' || self.type in ['Timestamp', 'Int64', 'Float32', 'Float64']",
            message="role EventTime needs type Timestamp or a number: rows are put in its order",
            field=".type",
        ),
    )
    name: FieldName
    """The column's name in the source."""
    type: FieldType
    """What every value must be readable as."""
    role: Literal["Feature", "Label", "Id", "EventTime", "Sensitive", "Ignore"] = "Feature"
    """What training does with the column: only Features are trained on.

    Id columns together tell a row from all others, so that it keeps its part whatever else changes; EventTime is when
    it happened. Sensitive columns are frozen, may be split by, and are given to no trainer; Ignore ones are not even
    frozen. No value of an Id, a Sensitive or an Ignore column is ever said: in a message, a log, a report, a profile.
    """
    nullable: bool = True
    """Whether values may be missing."""
    minimum: float | None = None
    """The smallest value allowed."""
    maximum: float | None = None
    """The largest value allowed."""
    allowed_values: (
        Annotated[list[Annotated[str, Field(max_length=256)]], Field(min_length=1, max_length=256), SET] | None
    ) = None
    """The only values allowed, as text."""


class Schema(Shape):
    """What the columns must be."""

    RULES: ClassVar = (
        Rule(
            rule="self.mode == 'Infer' || has(self.fields)",
            message="Strict and AllowNewFields need fields: list the columns, or set mode: Infer",
        ),
        Rule(
            rule="!has(self.fields) || self.fields.filter(f, f.role == 'Label').size() <= 1",
            message="at most one field may have role Label",
            field=".fields",
        ),
        Rule(
            rule="!has(self.fields) || self.fields.filter(f, f.role == 'EventTime').size() <= 1",
            message="at most one field may have role EventTime",
            field=".fields",
        ),
    )
    mode: Literal["Strict", "AllowNewFields", "Infer"] = "Infer"
    """Infer takes the columns that are there and holds later versions to them; Strict refuses columns not listed."""
    fields: Annotated[list[SchemaField], Field(min_length=1, max_length=256), BY_NAME] | None = None
    """The columns."""


class Refresh(Shape):
    """When to look at the source again."""

    RULES: ClassVar = (
        Rule(
            rule="duration(self.interval) >= duration('5s')",
            message="interval must be at least 5s: each look at the source is a Job",
            field=".interval",
        ),
    )
    interval: Duration
    """Time from one look to the next. A new version is frozen only when the bytes changed."""


class CountRange(Shape):
    """A closed range of row counts."""

    RULES: ClassVar = (
        Rule(rule="has(self.min) || has(self.max)", message="set min, max or both"),
        Rule(
            rule="!has(self.min) || !has(self.max) || self.min <= self.max",
            message="min must not exceed max",
            field=".min",
        ),
    )
    min: Count | None = None
    """The fewest rows."""
    max: Count | None = None
    """The most rows."""


class NullFraction(Shape):
    """At most this share of a column may be missing."""

    field: FieldName
    """The column."""
    max: Fraction
    """The largest share, from 0 to 1."""


class Unique(Shape):
    """No two rows agree in all of these columns."""

    fields: Annotated[list[FieldName], Field(min_length=1, max_length=16), SET]
    """The columns that together identify a row."""


class ValidationRule(Shape):
    """One rule a version must pass; a version that fails any is refused and the old one stays."""

    RULES: ClassVar = (
        Rule(
            rule="[has(self.rowCount), has(self.nullFraction), has(self.unique)].filter(x, x).size() == 1",
            message="exactly one of rowCount, nullFraction, unique is required",
        ),
    )
    name: DnsName
    """How the rule is called in `status.failedRules`."""
    row_count: CountRange | None = None
    """How many rows there must be."""
    null_fraction: NullFraction | None = None
    """How much of a column may be missing."""
    unique: Unique | None = None
    """Which columns identify a row."""


class Validation(Shape):
    """Rules over the rows."""

    rules: Annotated[list[ValidationRule], Field(max_length=64), BY_NAME] = Field(default_factory=list)
    """Every rule must pass."""


class Fractions(Shape):
    """Shares of the rows; they add up to 1."""

    train: Fraction
    """Rows the trainer learns from."""
    validation: Fraction = 0.0
    """Rows the trainer may look at to stop early."""
    test: Fraction
    """Rows only the evaluator sees."""


class Split(Shape):
    """How rows are divided. A row goes by its Id, else by `groupBy`, else by its features, never by its label.

    Rows that share an Id or a group stay together, as do rows with the same features where there is neither. A row that
    was divided once keeps its part in every later version, but for rows that other fractions or Time move towards
    training. A row that was once in train is never tested on.
    """

    RULES: ClassVar = (
        Rule(
            rule="self.fractions.train + self.fractions.validation + self.fractions.test <= 1.000001 && "
            "self.fractions.train + self.fractions.validation + self.fractions.test >= 0.999999",
            message="fractions must add up to 1",
            field=".fractions",
        ),
        Rule(
            rule="self.fractions.train > 0.0 && self.fractions.test > 0.0",
            message="train and test fractions must be above 0: a model is judged on rows it never saw",
            field=".fractions",
        ),
        Rule(rule="self.method != 'Stratified' || has(self.field)", message="Stratified needs field", field=".field"),
        Rule(
            rule="self.method != 'Random' || !has(self.field)",
            message="Random takes no field: remove it, or set method: Stratified or Time",
            field=".field",
        ),
        Rule(
            rule="self.method != 'Time' || !has(self.groupBy)",
            message="Time takes no groupBy, as a group has old rows and new ones: remove it, or set method: Random",
            field=".groupBy",
        ),
    )
    method: Literal["Random", "Stratified", "Time"] = "Random"
    """Stratified keeps the shares of the values of `field` equal in every part; Time tests on the newest rows."""
    field: FieldName | None = None
    """The column that Stratified looks at, or the event time of Time (default: the field with role EventTime)."""
    group_by: Annotated[list[FieldName], Field(min_length=1, max_length=16), SET] | None = None
    """Rows that agree in all of these columns are never divided: those of one customer, one patient, one machine.

    One of role Id is not trained on, and identifies the group instead of the row.
    """
    seed: Seed = 0
    """Where the random order of new rows starts."""
    fractions: Fractions = Fractions(train=0.8, validation=0.1, test=0.1)
    """The share of each part. Other fractions move as few rows as it takes, and none out of train."""


_UNDECLARED = "!has(self.schema.fields) || self.schema.mode == 'Infer'"
_FIELD = "self.schema.fields.exists(f, f.name == self.split.field"


class SnapshotWorker(Shape):
    """The container that reads the source."""

    resources: ResourceRequirements = bounded("100m", "256Mi", "1Gi")
    """Requests and limits. Rows pass in blocks, by way of the container's disk, so memory does not grow with them."""


class DatasetSpec(Shape):
    """What a user asks of a Dataset."""

    RULES: ClassVar = (
        Rule(
            rule="!has(self.csv) || self.format == 'CSV'",
            message="csv is for format CSV: remove it, or set format: CSV",
            field=".csv",
        ),
        Rule(
            rule="self.split.method != 'Time' || has(self.split.field) || (has(self.schema.fields) && "
            "self.schema.fields.exists(f, f.role == 'EventTime'))",
            message="Time needs an event time: name a column, or give one role EventTime in schema.fields",
            field=".split.field",
        ),
        Rule(
            rule=f"!has(self.split.field) || {_UNDECLARED} || {_FIELD})",
            message="split.field must be in schema.fields",
            field=".split.field",
        ),
        Rule(
            rule=f"!has(self.split.field) || !has(self.schema.fields) || !{_FIELD} && f.role == 'Ignore')",
            message="split.field must not have role Ignore: such columns are not frozen",
            field=".split.field",
        ),
        Rule(
            rule="self.split.method != 'Time' || !has(self.split.field) || !has(self.schema.fields) || "
            f"!{_FIELD} && (f.role == 'Label' || !(f.type in ['Timestamp', 'Int64', 'Float32', 'Float64'])))",
            message="Time needs a Timestamp or a number, and not the label",
            field=".split.field",
        ),
        Rule(
            rule=f"!has(self.split.groupBy) || {_UNDECLARED} || "
            "self.split.groupBy.all(c, self.schema.fields.exists(f, f.name == c))",
            message="every column of split.groupBy must be in schema.fields",
            field=".split.groupBy",
        ),
        Rule(
            rule="!has(self.split.groupBy) || !has(self.schema.fields) || self.split.groupBy.all(c, "
            "!self.schema.fields.exists(f, f.name == c && f.role in ['Ignore', 'Label']))",
            message="a column of split.groupBy must not have role Ignore or Label",
            field=".split.groupBy",
        ),
        Rule(
            rule="!has(self.erasure) || (has(self.schema.fields) && self.schema.fields.exists(f, "
            "f.name == self.erasure.field && f.role == 'Id' && f.type in ['String', 'Category', 'Int64']))",
            message="erasure.field must be in schema.fields, with role Id and type String, Category or Int64",
            field=".erasure.field",
        ),
        Rule(
            rule="!has(oldSelf.erasure) || has(self.erasure)",
            message="Ids that are to be forgotten stay so: put back erasure",
            field=".erasure",
        ),
    )
    source: Source
    """Where the rows are."""
    format: Literal["CSV", "Parquet"]
    """How the rows are written. CSV needs a header line."""
    csv: CsvFormat | None = None
    """How CSV files are written, where it cannot be found out by looking."""
    schema_: Annotated[Schema, Field(alias="schema")] = Schema()
    """What the columns must be."""
    refresh: Refresh | None = None
    """When to look at the source again. Absent: only when the spec changes."""
    validation: Validation = Validation()
    """What the rows must satisfy."""
    split: Split = Split()
    """How the rows are divided into train, validation and test."""
    erasure: Erasure | None = None
    """Ids whose rows no later version may have, whatever the source has."""
    worker: SnapshotWorker = SnapshotWorker()
    """What reads the source."""
    retention: Retention | None = None
    """How much is kept of its versions, of the runs on them and of their Models. Absent: everything."""


class Dataset(Resource[DatasetSpec, DatasetStatus]):
    """Data that models are trained on: read from a source, checked, and frozen into immutable versions."""

    kind: str = "Dataset"
    status: DatasetStatus = DatasetStatus()
