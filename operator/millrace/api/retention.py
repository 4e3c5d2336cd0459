"""What is kept of what a Dataset led to: its versions, the runs on them, their Models, and the files of all three."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .base import ATOMIC, Rule, Shape, Time
from .quantities import Count, DnsName, Duration, Uri

Limit = Annotated[int, Field(ge=0, le=1000)]
AtLeastOne = Annotated[int, Field(ge=1, le=1000)]
MOST_PLANNED = 100
MOST_HELD = 20
MOST_FOLDERS = 100


class Retention(Shape):
    """How much is kept. What is over a limit is named in `status.retention.planned` before anything goes.

    Never over a limit: what a Deployment serves or names, what is approved, rejected or in quarantine, what a run under
    way needs, the newest of each, and whatever one that is kept was made of. Imported Models are not touched.
    """

    RULES: ClassVar = (
        Rule(
            rule="duration(self.gracePeriod) >= duration('1m')",
            message="gracePeriod must be at least 1m: what was under way when it was named must have arrived",
            field=".gracePeriod",
        ),
    )
    mode: Literal["DryRun", "Delete"] = "DryRun"
    """DryRun only says what would go. Delete deletes it, its files too."""
    grace_period: Duration = "1h"
    """For how long each object is named in `status.retention.planned`, at least, before it goes."""
    version_history_limit: AtLeastOne = 10
    """So many of the newest versions are kept. Rows that left the source before the oldest one kept are not recognised
    any more if rows are later told apart by other columns."""
    model_history_limit: AtLeastOne = 10
    """So many of the newest Models are kept of each registered model."""
    successful_runs_history_limit: Limit = 3
    """So many of the newest runs that made a Model are kept of each registered model, and those whose Model is kept."""
    failed_runs_history_limit: Limit = 1
    """So many of the newest runs that failed are kept of each registered model."""
    auto_approved: Literal["Keep", "Delete"] = "Keep"
    """What becomes of older Models that their gates alone approved, nobody serves and nobody decided about. Keep: they
    count as approved. The newest approved one is kept in any case."""


class Tally(Shape):
    """How many of each."""

    versions: Count = 0
    """Versions of the Dataset."""
    models: Count = 0
    """Models that were trained on it."""
    runs: Count = 0
    """TrainingRuns on it that have ended or are under way."""


class Surplus(Shape):
    """One thing that is over its limit, and that nothing holds."""

    kind: Literal["Model", "TrainingRun", "Version"]
    """What it is."""
    name: Annotated[str, Field(max_length=63)]
    """Its name; of a version, its number."""
    uid: Annotated[str, Field(max_length=64)] | None = None
    """The very object, for another one of the name is another one. A version has none."""
    since: Time
    """Since when it is named here."""


class Held(Shape):
    """One thing that is over its limit and stays."""

    kind: Literal["Model", "TrainingRun", "Version"]
    """What it is."""
    name: Annotated[str, Field(max_length=63)]
    """Its name; of a version, its number."""
    reason: Literal[
        "Served",
        "Approved",
        "Rejected",
        "Quarantined",
        "NotJudged",
        "Champion",
        "ModelKept",
        "Referenced",
        "Used",
        "Applied",
    ]
    """Served: a Deployment serves or names it. NotJudged: whether it is approved is not known yet. Champion: a run that
    is kept was compared with it. ModelKept: it made a Model that is kept. Referenced: a Deployment clones it or started
    it last, or a Model names its files.
    Used: a run or a Model that is kept was made of it. Applied: it says in `spec.appliedBy` that something applies it
    for somebody, and would make it again, which would train once more."""


class Deletion(Shape):
    """What is being deleted: objects first, then the versions' entries, then the files of all."""

    started_time: Time
    """When it was decided."""
    items: Annotated[tuple[Surplus, ...], Field(max_length=MOST_PLANNED), ATOMIC] = ()
    """What it is about. One that must stay after all is taken out."""
    folders: Annotated[tuple[Uri, ...], Field(max_length=MOST_FOLDERS), ATOMIC] = ()
    """What of the store goes once none of the objects is there."""
    job_name: DnsName | None = None
    """The Job that erases these folders; named before it is made."""
    attempts: Annotated[int, Field(ge=0, le=1000000)] = 0
    """Jobs that could not erase everything."""
    retry_time: Time | None = None
    """When the next one is made."""


class RetentionStatus(Shape):
    """What is kept, what goes, and what has gone."""

    planned: Annotated[tuple[Surplus, ...], Field(max_length=MOST_PLANNED), ATOMIC] = ()
    """What is over a limit and goes, or would go, next: the oldest first."""
    unplanned: Count = 0
    """How many more are over a limit than `planned` has room for."""
    kept: Tally = Tally()
    """What stays."""
    held: Annotated[tuple[Held, ...], Field(max_length=MOST_HELD), ATOMIC] = ()
    """What is over a limit and stays all the same: the newest of it."""
    deletion: Deletion | None = None
    """What is being deleted."""
    deleted: Tally = Tally()
    """What has gone, ever."""
    bytes_freed: Count = 0
    """Bytes of the files that went with it, as far as the Jobs that erased them could count."""
    last_time: Time | None = None
    """When something went last."""
