"""Where a Dataset stands: its versions, what is striking about their rows, and what was found in the source."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import ATOMIC, BY_TYPE, Shape, Status, Time
from .conditions import Condition
from .erasure import ErasureStatus
from .quantities import Count, Decimal, Digest, DnsName, FieldName, Message, Uri
from .retention import RetentionStatus

MOST_OLDER = 200


class LeakageSuspect(Shape):
    """A feature that alone predicts the label: is it known when a prediction is asked for?"""

    field: FieldName
    """The feature."""
    measure: Literal["AUC", "R2"]
    """What `value` is: the area under the ROC curve, or the share of the label's variance that is explained."""
    value: Decimal
    """From 0.99 to 1."""


class DataQuality(Shape):
    """What is striking about the rows of one version; `quality.json` beside its files says more.

    For information: nothing is refused or left out for it. The condition Valid says in words what is not 0. Held-out
    rows are those of validation and test: a model that was trained on nearly the same rows looks better than it is.
    """

    duplicate_rows: Count = 0
    """Rows that repeat another row of this version in all features and in the label."""
    conflicting_rows: Count = 0
    """Rows that agree in all features with another row of this version, and have another label."""
    shared_rows: Count = 0
    """Rows whose Id (a field of role Id) another row of this version has too."""
    copied_rows: Count = 0
    """Held-out rows that agree in all features with a train row of another Id or group."""
    near_copied_rows: Count = 0
    """Held-out rows that differ from a train row in one feature of four or more, or by rounding alone.

    Usual where features take few values. Of many rows a sample was compared, and the count is scaled up.
    """
    moved_rows: Count = 0
    """Rows that changed part (train, validation or test) since the version before."""
    leakage_suspects: Annotated[tuple[LeakageSuspect, ...], Field(max_length=5), ATOMIC] = ()
    """Features that alone predict the label, the worst first."""


class Parts(Shape):
    """How many rows each part of a version has. Rows of one Id or group, or with the same features, stay together."""

    train: Count = 0
    """What models are trained on."""
    validation: Count = 0
    """What a trainer may look at to choose between models."""
    test: Count = 0
    """What models are measured on."""


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
    parts: Parts | None = None
    """Rows in each part."""
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
    quality: DataQuality | None = None
    """What is striking about its rows."""


class OlderVersion(Shape):
    """One frozen version for which there is no room in `versions`."""

    version: Annotated[int, Field(ge=1, le=2**31 - 1)]
    """Its number."""
    digest: Digest
    """Of the frozen content."""
    uri: Uri
    """Where the frozen files are."""


class FailedRule(Shape):
    """A rule that the newest candidate version did not pass."""

    name: Annotated[str, Field(max_length=128)]
    """The rule's name."""
    observed: Annotated[str, Field(max_length=128)] = ""
    """What was seen instead."""
    message: Message = ""
    """What is wrong, and where."""


class InferredColumn(Shape):
    """A column that nobody declared."""

    name: Annotated[str, Field(max_length=128)]
    """The column's name."""
    type: Annotated[str, Field(max_length=32)]
    """What it was taken for."""
    missing: Count = 0
    """Rows without a value."""
    why: Annotated[str, Field(max_length=256)] = ""
    """Why it was taken for that."""


class SourceReading(Shape):
    """What was found in the source of the newest version; `report.json` beside the version has all of it."""

    dialect: Annotated[str, Field(max_length=256)] | None = None
    """How the CSV files are written."""
    inferred_columns: Count = 0
    """How many columns `spec.schema.fields` does not name, so that their types were inferred; 0: it names them all."""
    columns: Annotated[tuple[InferredColumn, ...], Field(max_length=20), ATOMIC] = ()
    """The first of the inferred ones; absent where there are none."""
    left_out: Annotated[str, Field(max_length=256)] | None = None
    """Columns that were not frozen although the schema does not leave them out, and files that were not read."""


class DatasetStatus(Status):
    """The state of a Dataset. `current` is the newest good version; a refused one never replaces it."""

    observed_generation: Annotated[int, Field(ge=-1, le=2**53 - 1)] = -1
    """The generation of the spec that this status is about."""
    phase: Annotated[str, Field(max_length=32)] | None = None
    """One word for people. Automate on conditions."""
    message: Message | None = None
    """Where it is and what comes next, in one line."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16), BY_TYPE] = ()
    """Ready, Reconciling, Stalled, Ingested, Valid; Erased where Ids are to be forgotten, Pruned where there is
    `spec.retention`."""
    current: DatasetVersion | None = None
    """The newest good version: what a new TrainingRun trains on."""
    versions: Annotated[tuple[DatasetVersion, ...], Field(max_length=20), ATOMIC] = ()
    """The newest good versions, newest first."""
    older_versions: Annotated[tuple[OlderVersion, ...], Field(max_length=MOST_OLDER), ATOMIC] | None = None
    """Good versions before these, newest first, until `spec.retention` lets them go. Those before the last one here are
    forgotten, and their files stay."""
    accepted_generation: Annotated[int, Field(ge=0, le=2**53 - 1)] | None = None
    """The newest generation of the spec under which a look found a good version."""
    failed_rules: Annotated[tuple[FailedRule, ...], Field(max_length=64), ATOMIC] = ()
    """Why the newest candidate was refused."""
    reading: SourceReading | None = None
    """What was found in the source when it was last read to the end."""
    erasure: ErasureStatus | None = None
    """Who still holds Ids that are to be forgotten."""
    job_name: DnsName | None = None
    """The Job that looks at the source, or looked last."""
    last_check_time: Time | None = None
    """When the source was last looked at."""
    next_check_time: Time | None = None
    """When it will be looked at next; absent while it is being read."""
    retention: RetentionStatus | None = None
    """What is kept, what goes, and what has gone."""
