"""Dataset: a source that is read, checked and frozen into immutable, content-addressed versions."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .base import ATOMIC, BY_NAME, BY_TYPE, SET, Resource, Rule, Shape, Time
from .conditions import Condition
from .quantities import Count, Digest, DnsName, Duration, FieldName, Message, Seed, Uri
from .refs import SecretRef

FieldType = Literal["Int64", "Float32", "Float64", "String", "Bool", "Timestamp", "Category"]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Source(Shape):
    """Where the rows are: one file, or a prefix whose files are read in name order."""

    storage_uri: Uri
    """A file, or a prefix ending in a slash, in an S3 bucket: `s3://bucket/key`."""
    secret_ref: SecretRef | None = None
    """Credentials of the source (`AWS_ACCESS_KEY_ID`, ...). Absent: those of the store."""


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
    )
    name: FieldName
    """The column's name in the source."""
    type: FieldType
    """What every value must be readable as."""
    role: Literal["Feature", "Label", "Id", "Ignore"] = "Feature"
    """What training does with the column. Id columns identify a row and are never trained on."""
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
    """How new rows are divided. A row that was divided once keeps its part in every later version."""

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
        Rule(rule="self.method == 'Random' || has(self.field)", message="Stratified needs field", field=".field"),
        Rule(
            rule="self.method != 'Random' || !has(self.field)",
            message="Random takes no field: remove it, or set method: Stratified",
            field=".field",
        ),
    )
    method: Literal["Random", "Stratified"] = "Random"
    """Stratified keeps the shares of the values of `field` equal in every part."""
    field: FieldName | None = None
    """The column that Stratified looks at."""
    seed: Seed = 0
    """Where the random order starts."""
    fractions: Fractions = Fractions(train=0.8, validation=0.1, test=0.1)
    """The share of each part."""


class DatasetSpec(Shape):
    """What a user asks of a Dataset."""

    source: Source
    """Where the rows are."""
    format: Literal["CSV", "Parquet"]
    """How the rows are written. CSV needs a header line."""
    schema_: Annotated[Schema, Field(alias="schema")] = Schema()
    """What the columns must be."""
    refresh: Refresh | None = None
    """When to look at the source again. Absent: only when the spec changes."""
    validation: Validation = Validation()
    """What the rows must satisfy."""
    split: Split = Split()
    """How the rows are divided into train, validation and test."""


class DatasetVersion(Shape):
    """One frozen version."""

    version: Annotated[int, Field(ge=1, le=2**31 - 1)]
    """Counts from 1."""
    digest: Digest
    """Of the frozen content: equal rows have equal digests."""
    uri: Uri
    """Where the frozen files are."""
    rows: Count
    """Rows in all parts together."""
    bytes: Count
    """Size of the frozen files."""
    created_time: Time
    """When it was frozen."""
    source_digest: Digest | None = None
    """Of the source's bytes."""
    schema_digest: Digest | None = None
    """Of the columns' names and types."""
    profile_uri: Uri | None = None
    """Where the profile of the columns is."""
    rules_passed: Count = 0
    """How many rules it passed."""


class FailedRule(Shape):
    """A rule that the newest candidate version did not pass."""

    name: Annotated[str, Field(max_length=128)]
    """The rule's name."""
    observed: Annotated[str, Field(max_length=128)] = ""
    """What was seen instead."""
    message: Message = ""
    """What is wrong, and where."""


class DatasetStatus(Shape):
    """The state of a Dataset. `current` is the newest good version; a refused one never replaces it."""

    observed_generation: Annotated[int, Field(ge=-1, le=2**53 - 1)] = -1
    """The generation of the spec that this status is about."""
    phase: Annotated[str, Field(max_length=32)] | None = None
    """One word for people. Automate on conditions."""
    message: Message | None = None
    """Where it is and what comes next, in one line."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16), BY_TYPE] = ()
    """Ready, Reconciling, Stalled, Ingested, Valid."""
    current: DatasetVersion | None = None
    """The newest good version: what a new TrainingRun trains on."""
    versions: Annotated[tuple[DatasetVersion, ...], Field(max_length=20), ATOMIC] = ()
    """The newest good versions, newest first."""
    failed_rules: Annotated[tuple[FailedRule, ...], Field(max_length=64), ATOMIC] = ()
    """Why the newest candidate was refused."""
    job_name: DnsName | None = None
    """The Job that looks at the source, or looked last."""
    last_check_time: Time | None = None
    """When the source was last looked at."""
    next_check_time: Time | None = None
    """When it will be looked at next."""


class Dataset(Resource[DatasetSpec, DatasetStatus]):
    """Data that models are trained on: read from a source, checked, and frozen into immutable versions."""

    kind: str = "Dataset"
    status: DatasetStatus = DatasetStatus()
