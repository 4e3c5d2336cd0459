"""The status of a Deployment."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import ATOMIC, BY_TYPE, Shape, Time
from .conditions import Condition
from .quantities import LARGEST_EXACT, Count, Decimal, Digest, DnsName, Message

Weight = Annotated[int, Field(ge=0, le=100)]
Revision = Annotated[str, Field(pattern=r"^[0-9a-f]{8}$", max_length=8)]
Replicas = Annotated[int, Field(ge=0, le=2**31 - 1)]


class RevisionStatus(Shape):
    """A served revision: one model under one server template."""

    revision: Revision
    """Names these bytes under these settings of a server: a hash of `digest` and of `spec.server.resources` and
    `terminationGracePeriodSeconds`. The same model under other resources is another revision."""
    model: DnsName
    """The Model."""
    version: Annotated[int, Field(ge=1, le=999999999)]
    """Its version."""
    digest: Digest
    """Its file's digest."""
    weight: Weight
    """Its share of the traffic, in percent."""
    replicas: Replicas = 0
    """Pods wanted."""
    ready_replicas: Replicas = 0
    """Pods that answer: each has first given the known answers to the golden set's requests."""
    since: Time
    """When it became what it is."""
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$", max_length=16)] | None = None
    """Hash of the names, types and shapes that its Model lists in `spec.signature`: what a newer model is compared
    with, also when that Model is gone."""
    image: Annotated[str, Field(max_length=512)] | None = None
    """What its servers run. A newer operator does not change it by itself; see `spec.server.upgradePolicy`."""
    image_time: Time | None = None
    """Since when its image is changed in place; absent once all its servers run it."""
    updated_replicas: Replicas | None = None
    """While its image is changed in place: pods that run it already."""


class Retiring(Shape):
    """A revision without traffic whose pods stay until every caller has left it."""

    revision: Revision
    """The revision."""
    model: DnsName
    """Its Model."""
    digest: Digest
    """Its file's digest."""
    since: Time
    """When its traffic ended."""
    drained_time: Time | None = None
    """When every router was seen without it: its pods go 30 seconds later, so that requests under way end."""


class Rollout(Shape):
    """The operator's memory of a canary in progress, and the verdict on the last one."""

    current_step_index: Replicas | None = None
    """The step it is at, from 0."""
    steps: Replicas | None = None
    """How many steps there are."""
    step: Annotated[str, Field(max_length=32)] | None = None
    """The step it is at, from 1, of how many; `4 of 4 done` past the last one, until it is promoted."""
    started_time: Time | None = None
    """When the canary began."""
    step_started_time: Time | None = None
    """When the step began."""
    unready_since: Time | None = None
    """Since when it waits for servers, for routers to apply its weights, or for a Model."""
    waiting_for: Annotated[str, Field(max_length=256)] | None = None
    """What it waits for."""
    last_verdict: Literal["Promoted", "RolledBack", "Aborted", "Superseded"] | None = None
    """How the last canary ended."""
    last_verdict_reason: Annotated[str, Field(max_length=256)] | None = None
    """Why it ended so: what became of it, or what it failed of."""
    last_verdict_revision: Revision | None = None
    """Which revision it was."""
    handled: Annotated[tuple[Annotated[str, Field(max_length=16)], ...], Field(max_length=3), ATOMIC] = ()
    """Requests of `spec.actions` that were carried out and still stand there, each as a hash of what it says: none is
    carried out twice. Empty while `spec.actions` asks for nothing."""


class AnalysisResult(Shape):
    """What the sequential test says now."""

    name: DnsName
    """The metric."""
    phase: Literal["Pending", "Running", "Successful", "Failed", "Inconclusive"]
    """The verdict so far."""
    value: Decimal | None = None
    """The share of the requests, from 0 to 1, to which happened what `threshold` names."""
    baseline: Decimal | None = None
    """The same share at stable over the same time, where the two are compared."""
    threshold: Annotated[str, Field(max_length=32)] | None = None
    """What the share may be: `share over 0.5 s <= 0.05` allows 5 % of the requests to take longer than 0.5 s,
    `errors <= stable + 0.02` two percent more errors than stable has."""
    samples: Count = 0
    """On how many requests."""
    message: Message | None = None
    """Why, in words."""


class Quarantined(Shape):
    """A digest that failed here or in another Deployment: never rolled out again unless a person says so."""

    revision: Revision
    """The revision that failed."""
    model: DnsName
    """Its Model."""
    digest: Digest
    """Its file's digest."""
    reason: Annotated[str, Field(max_length=256)]
    """What failed."""
    time: Time
    """When."""
    cause: Literal["Failed", "Aborted"] = "Failed"
    """Failed: by what the model did; only `unquarantine` ends it. Aborted: a person stopped it; `retry` ends it too."""
    deployment: DnsName | None = None
    """The Deployment in which it failed."""
    record: Annotated[str, Field(max_length=63)] | None = None
    """The ControllerRevision in which this is written, and stays when this Deployment goes."""


class Served(Shape):
    """What was stable when."""

    revision: Revision
    """The revision."""
    model: DnsName
    """Its Model."""
    digest: Digest
    """Its file's digest."""
    from_: Annotated[Time, Field(alias="from")]
    """When it became stable."""
    to: Time | None = None
    """When another one did."""
    outcome: Literal["Serving", "Replaced", "Gone"]
    """Whether it still serves; Gone is when its Model and its servers were deleted."""


class DriftStatus(Shape):
    """The newest verdict on drift."""

    state: Literal["None", "Drifted", "InsufficientData"]
    """The verdict; `None` is no drift."""
    revision: Revision | None = None
    """The stable revision that it is about."""
    score: Decimal | None = None
    """Kolmogorov-Smirnov distance of `worstFeature` in the rows served from the rows the model was trained on: the
    largest difference between the two distribution functions, from 0 to 1. It is what the verdict is about."""
    psi: Decimal | None = None
    """Population stability index (PSI) of `worstFeature`, another measure of the same difference, without an upper
    end. For people: no verdict uses it."""
    worst_feature: Annotated[str, Field(max_length=128)] | None = None
    """The feature that differs most."""
    samples: Count = 0
    """How many rows were counted: since its pods began, as a canary too, or since `acknowledgedTime`."""
    window: Count | None = None
    """How many of them, the newest ones, `score` and `psi` are about: those that differ most. It may be less than
    `minSamples`, which is about `samples`."""
    evaluated_time: Time | None = None
    """As of when all of this is. An alarm is not evaluated again: it stays as it was raised until another model serves
    or it is acknowledged."""
    acknowledged_time: Time | None = None
    """When a person ended the last alarm of this revision: rows served before do not count."""
    rule: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$", max_length=16)] | None = None
    """Hash of `falseAlarmRate`, `margin` and `minSamples` of `spec.monitoring.drift`: an alarm ends when one of them is
    changed."""


class MonitoringStatus(Shape):
    """What monitoring says."""

    drift: DriftStatus | None = None
    """The newest verdict on drift."""


MOST_RUNS_PER_DAY = 100
"""What `limits.maxRunsPerDay` may be, and so how many starts must be remembered."""


class RunStart(Shape):
    """A TrainingRun that the loop started."""

    name: DnsName
    """The TrainingRun."""
    trigger: DnsName
    """The trigger that fired."""
    cause: Revision
    """Hash of what it was started for: the kind of the trigger, the rows to train on and the bytes that served. The
    same cause is answered once. In words it stands in the run's annotation `millrace.dev/cause`."""
    time: Time
    """When it was decided."""
    is_made: bool
    """Whether the run was made; a start counts from when it was decided."""


class RetrainingStatus(Shape):
    """What the loop did and may do next."""

    state: Literal["Idle", "Running", "Blocked", "Cooldown"] = "Idle"
    """What it does now. Blocked: a trigger asks for a run that may not start. Cooldown: none may before
    `nextAllowedTime`, whether or not a trigger asks. RetrainingBlocked says more."""
    last_trigger: DnsName | None = None
    """The trigger that fired last."""
    last_trigger_time: Time | None = None
    """When it fired."""
    last_run: DnsName | None = None
    """The TrainingRun it started."""
    next_allowed_time: Time | None = None
    """No run starts before this."""
    runs_last24h: Annotated[Count, Field(alias="runsLast24h")] = 0
    """Starts within the last 24 hours."""
    starts: Annotated[tuple[RunStart, ...], Field(max_length=MOST_RUNS_PER_DAY), ATOMIC] = ()
    """The newest starts, oldest first. Nothing takes one back: the limits are counted here."""


class Address(Shape):
    """Where callers go."""

    rest_url: Annotated[str, Field(max_length=512)]
    """Root of the Open Inference Protocol over REST."""


class DeploymentStatus(Shape):
    """The state of a Deployment."""

    observed_generation: Annotated[int, Field(ge=-1, le=LARGEST_EXACT)] = -1
    """The generation of the spec that this status is about."""
    phase: Annotated[str, Field(max_length=32)] | None = None
    """One word for people. Automate on conditions."""
    message: Message | None = None
    """Where it is and what comes next, in one line."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16), BY_TYPE] = ()
    """Ready, Reconciling, Stalled, Available, Progressing, DriftDetected, RetrainingBlocked."""
    replicas: Replicas = 0
    """Server pods of the stable revision, of the first one while none is stable: what `spec.replicas` is about."""
    ready_replicas: Replicas = 0
    """Those of them that are ready."""
    selector: Annotated[str, Field(max_length=256)] | None = None
    """Label selector of these pods, for the scale subresource."""
    url: Annotated[str, Field(max_length=512)] | None = None
    """Where to send an inference request."""
    address: Address | None = None
    """Where callers go."""
    stable: RevisionStatus | None = None
    """What serves."""
    canary: RevisionStatus | None = None
    """What is being tried, and the first model until it serves: with nothing beside it, it gets all traffic at once."""
    retiring: Annotated[tuple[Retiring, ...], Field(max_length=8), ATOMIC] = ()
    """What goes once every caller has left it."""
    rollout: Rollout | None = None
    """How the canary goes, and how the last one ended."""
    analysis: Annotated[tuple[AnalysisResult, ...], Field(max_length=24), ATOMIC] = ()
    """What the sequential tests say of the canary now; without one, what they said when the last one ended."""
    quarantined: Annotated[tuple[Quarantined, ...], Field(max_length=50), ATOMIC] = ()
    """What failed, here or elsewhere, and is not rolled out again by itself."""
    released: Annotated[tuple[Annotated[str, Field(max_length=63)], ...], Field(max_length=50), ATOMIC] = ()
    """Names of ControllerRevisions (`quarantined[].record`) whose quarantine a person lifted with
    `spec.actions.unquarantine`: none of them counts again."""
    history: Annotated[tuple[Served, ...], Field(max_length=20), ATOMIC] = ()
    """What was stable when, newest first."""
    monitoring: MonitoringStatus | None = None
    """What monitoring says."""
    retraining: RetrainingStatus | None = None
    """What the loop did and may do next."""
