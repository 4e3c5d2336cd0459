"""Deployment: serves the newest approved Model behind a canary, watches it, and asks for the next one."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .base import ATOMIC, BY_NAME, SET, Resource, Rule, Shape
from .deployment_status import (
    MOST_RUNS_PER_DAY,
    Address,
    AnalysisResult,
    DeploymentStatus,
    DriftStatus,
    MonitoringStatus,
    Quarantined,
    Retiring,
    RetrainingStatus,
    Revision,
    RevisionStatus,
    Rollout,
    Served,
    Weight,
)
from .quantities import Count, DnsName, Duration, ModelName
from .refs import NameRef
from .training_run import ResourceRequirements

__all__ = [
    "Actions",
    "Address",
    "Analysis",
    "AnalysisMetric",
    "AnalysisResult",
    "Canary",
    "Compare",
    "Count",
    "Deployment",
    "DeploymentSpec",
    "DeploymentStatus",
    "Drift",
    "DriftAction",
    "DriftStatus",
    "DriftTrigger",
    "Limits",
    "MaxThreshold",
    "ModelSelector",
    "Monitoring",
    "MonitoringStatus",
    "Pause",
    "Quarantined",
    "ResourceRequirements",
    "Retiring",
    "Retraining",
    "RetrainingStatus",
    "Revision",
    "RevisionAction",
    "RevisionStatus",
    "Rollout",
    "Served",
    "Server",
    "Step",
    "Strategy",
    "Trigger",
    "Weight",
]


DEFAULT_PROGRESS_DEADLINE = "10m"


class ModelSelector(Shape):
    """Follow a registered model."""

    model_name: ModelName
    """The registered model."""
    policy: Literal["LatestApproved"] = "LatestApproved"
    """LatestApproved is the highest version that is approved and not quarantined."""


class Server(Shape):
    """The serving container."""

    upgrade_policy: Literal["OnNextRollout", "Rolling"] = "OnNextRollout"
    """When servers get the server image of a newer operator. OnNextRollout: with the next model, or other resources,
    and not before. Rolling: soon after the operator was upgraded, in place, pod by pod and a few Deployments at a time;
    each pod takes requests once it has given the known answers to the golden set's requests.
    """

    resources: ResourceRequirements | None = None
    """Requests and limits of every server pod. Unless something is said about them, 100m of CPU and 256Mi of memory are
    requested.
    """
    termination_grace_period_seconds: Annotated[int, Field(ge=15, le=3600)] = 60
    """How long a server that must go may go on serving until another one is ready. With one replica it should be more
    than a server takes to start: to find a node, to pull the image, to fetch and to load the model.
    """


class MaxThreshold(Shape):
    """The largest value that is still good."""

    max: Annotated[float, Field(gt=0)]
    """A fraction for ErrorRate, seconds for LatencyP95. Of latencies only the router's bounds are counted exactly: 0.1,
    0.25, 0.5, 1 and so on."""


class Compare(Shape):
    """How much worse than stable the canary may be, over the same time."""

    max_increase: Annotated[float, Field(gt=0, lt=1)] = 0.02
    """The largest share of all requests that may go wrong in the canary beyond stable's share: the practical margin."""


class AnalysisMetric(Shape):
    """One measured property of the canary, judged by a sequential test that may be looked at any time."""

    RULES: ClassVar = (
        Rule(
            rule="self.builtin != 'ErrorRate' || !has(self.thresholdRange) || self.thresholdRange.max < 1.0",
            message="an ErrorRate is a fraction: thresholdRange.max must be below 1",
            field=".thresholdRange.max",
        ),
        Rule(
            rule="has(self.thresholdRange) != has(self.compare)",
            message="exactly one of thresholdRange, compare is required",
        ),
        Rule(
            rule="!has(self.compare) || self.builtin == 'ErrorRate'",
            message="compare is for ErrorRate: give LatencyP95 a thresholdRange",
            field=".compare",
        ),
    )
    name: DnsName
    """How the metric is called in `status.analysis`."""
    builtin: Literal["ErrorRate", "LatencyP95"]
    """What is measured. ErrorRate counts requests that failed (5xx, saved by a retry or not) and requests that were
    refused (4xx), these only beyond stable's own share of them."""
    threshold_range: MaxThreshold | None = None
    """What is still good, whatever stable does."""
    compare: Compare | None = None
    """What is still good beside stable, whose failures excuse the canary's."""
    min_samples: Annotated[int, Field(ge=1, le=1000000)] = 100
    """No verdict before the canary has answered this many requests, a bad one neither."""
    confidence: Annotated[float, Field(ge=0.5, le=0.9999)] = 0.95
    """How sure a verdict is, over all looks together."""


class Analysis(Shape):
    """What must be shown before the rollout goes on. No data never passes."""

    RULES: ClassVar = (
        Rule(
            rule="duration(self.maxDuration) >= duration('1s')",
            message="maxDuration must be at least 1s",
            field=".maxDuration",
        ),
    )
    metrics: Annotated[list[AnalysisMetric], Field(min_length=1, max_length=8), BY_NAME]
    """Every metric must pass."""
    max_duration: Duration = "1h"
    """Without a verdict by then the rollout holds where it is and asks for a person."""


class Pause(Shape):
    """Wait that long."""

    duration: Duration
    """For how long."""


class Step(Shape):
    """One step of a canary."""

    RULES: ClassVar = (
        Rule(
            rule="[has(self.setWeight), has(self.pause), has(self.analysis)].filter(x, x).size() == 1",
            message="exactly one of setWeight, pause, analysis is required",
        ),
    )
    set_weight: Weight | None = None
    """Send this share of the traffic, in percent, to the canary."""
    pause: Pause | None = None
    """Wait."""
    analysis: Analysis | None = None
    """Wait for a verdict."""


class Canary(Shape):
    """Steps, then 100 %."""

    RULES: ClassVar = (
        Rule(
            rule="self.steps.map(s, has(s.analysis)).indexOf(true) < 0 || "
            "(self.steps.map(s, has(s.setWeight) && s.setWeight > 0).indexOf(true) >= 0 && "
            "self.steps.map(s, has(s.setWeight) && s.setWeight > 0).indexOf(true) < "
            "self.steps.map(s, has(s.analysis)).indexOf(true))",
            message="an analysis step needs a setWeight above 0 before it: a canary without traffic has no data",
            field=".steps",
        ),
        Rule(
            rule="(has(self.disableDefaults) && 'ErrorRate' in self.disableDefaults) || "
            "(self.steps.map(s, has(s.setWeight) && s.setWeight > 0 && s.setWeight < 100).indexOf(true) >= 0 && "
            "(self.steps.map(s, has(s.setWeight) && s.setWeight == 100).indexOf(true) < 0 || "
            "self.steps.map(s, has(s.setWeight) && s.setWeight > 0 && s.setWeight < 100).indexOf(true) < "
            "self.steps.map(s, has(s.setWeight) && s.setWeight == 100).indexOf(true)))",
            message="a canary is compared with stable: give it a setWeight from 1 to 99 before one of 100, "
            "or set disableDefaults: [ErrorRate]",
            field=".steps",
        ),
    )
    steps: Annotated[list[Step], Field(min_length=1, max_length=30), ATOMIC]
    """In this order; promotion follows the last one."""
    analysis: Analysis | None = None
    """Watched throughout: rolls back at any step, and must pass before promotion."""
    disable_defaults: Annotated[list[Literal["ErrorRate"]], Field(max_length=8), SET] = Field(default_factory=list)
    """What every canary is judged by, unless it is named here: ErrorRate compares it with stable (`compare: {}`),
    throughout. What the spec does not judge either is then promoted unjudged."""


class Strategy(Shape):
    """How a newer model takes over."""

    RULES: ClassVar = (
        Rule(
            rule="duration(self.progressDeadline) >= duration('1s')",
            message="progressDeadline must be at least 1s",
            field=".progressDeadline",
        ),
    )
    canary: Canary | None = None
    """In steps. Absent: at once, when it is ready; nothing is judged, and no failure is hidden by stable."""
    allow_signature_change: DnsName | None = None
    """The Model whose inputs or outputs may differ from stable's; any other such Model is held."""
    progress_deadline: Duration = DEFAULT_PROGRESS_DEADLINE
    """What waits for pods for longer than this, a rollout or what serves, is reported as stalled. It still goes on by
    itself once they are there: only its own bytes and answers condemn a model."""


class Drift(Shape):
    """When the served rows count as different from the training rows."""

    RULES: ClassVar = (
        Rule(
            rule="duration(self.interval) >= duration('1s')",
            message="interval must be at least 1s",
            field=".interval",
        ),
    )
    interval: Duration = "1m"
    """How often the servers' histograms are read."""
    min_samples: Annotated[int, Field(ge=50, le=10000000)] = 500
    """No verdict before this many rows in all. A verdict may then be about the newest of them alone."""
    false_alarm_rate: Annotated[float, Field(gt=0, le=0.5)] = 0.01
    """Probability of at least one alarm in all the time that a model serves, over all features together, although
    nothing has changed: not per look, per row or per feature."""
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """The largest difference between two distribution functions (Kolmogorov-Smirnov distance, from 0 to 1) that does
    not matter."""


class Monitoring(Shape):
    """What is watched while serving."""

    drift: Drift
    """Whether the served rows still look like the training rows."""


class DriftTrigger(Shape):
    """Fires on drift."""

    for_: Annotated[Duration, Field(alias="for")] = "0s"
    """How long drift must have lasted."""


class Trigger(Shape):
    """One reason to train again."""

    name: DnsName
    """How the trigger is called in `status.retraining.lastTrigger`."""
    drift: DriftTrigger
    """Fires on drift."""


class Limits(Shape):
    """How often training may be started by itself."""

    cooldown: Duration = "6h"
    """Time from one start to the next, at least."""
    max_runs_per_day: Annotated[int, Field(ge=1, le=MOST_RUNS_PER_DAY)] = 2
    """Starts within 24 hours, at most. Deleting a run gives none back."""
    max_concurrent: Annotated[int, Field(ge=1, le=10)] = 1
    """Runs of this Deployment at a time, at most."""


class Retraining(Shape):
    """Which run is cloned, when, and how often at most."""

    training_run_ref: NameRef
    """The TrainingRun whose spec, author included, is cloned."""
    triggers: Annotated[list[Trigger], Field(min_length=1, max_length=8), BY_NAME]
    """Any of them starts a run."""
    limits: Limits
    """Mandatory; `{}` takes the defaults."""


class RevisionAction(Shape):
    """A request about one revision: ignored once another revision is meant, so it can live in Git."""

    revision: Revision
    """Eight hexadecimal digits, as shown in status."""
    reason: Annotated[str, Field(max_length=256)] | None = None
    """Why."""


class DriftAction(Shape):
    """A request about one drift alarm: ignored once there is another, so it can live in Git."""

    revision: Revision
    """The stable revision that the alarm is about."""
    evaluated_time: Annotated[
        str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$", max_length=20)
    ]
    """When it was raised: `status.monitoring.drift.evaluatedTime`."""
    reason: Annotated[str, Field(max_length=256)] | None = None
    """Why."""


class Actions(Shape):
    """Requests by people. Each is level-based and never replays on another revision."""

    abort: RevisionAction | None = None
    """Return all traffic to stable and stop this canary (verb `abort`)."""
    retry: RevisionAction | None = None
    """Start this aborted canary again, or give its held analysis more time (verb `retry`)."""
    unquarantine: RevisionAction | None = None
    """Let the bytes of this quarantined revision be rolled out again, in every Deployment (verb `approve`)."""
    acknowledge_drift: DriftAction | None = None
    """End this drift alarm: rows are counted anew, and only those served from now on (verb `acknowledge`)."""


class DeploymentSpec(Shape):
    """What a user asks of a Deployment."""

    RULES: ClassVar = (
        Rule(
            rule="[has(self.modelRef), has(self.modelSelector)].filter(x, x).size() == 1",
            message="exactly one of modelRef, modelSelector is required",
        ),
        Rule(
            rule="!has(self.retraining) || (has(self.monitoring) && has(self.monitoring.drift))",
            message="a drift trigger needs monitoring.drift",
            field=".retraining.triggers",
        ),
        Rule(
            rule="!has(self.retraining) || has(self.modelSelector)",
            message="retraining needs modelSelector: a pinned modelRef would never serve the new model",
            field=".retraining",
        ),
    )
    model_ref: NameRef | None = None
    """Serve this Model. It must be approved."""
    model_selector: ModelSelector | None = None
    """Follow a registered model."""
    replicas: Annotated[int, Field(ge=1, le=1000)] = 1
    """Server pods of the stable revision; `kubectl scale` writes it."""
    server: Server = Server()
    """The serving container."""
    strategy: Strategy | None = None
    """How a newer model takes over. Absent: at once, when it is ready."""
    monitoring: Monitoring | None = None
    """What is watched while serving."""
    retraining: Retraining | None = None
    """When a new TrainingRun is started by itself."""
    actions: Actions | None = None
    """Requests by people."""


class Deployment(Resource[DeploymentSpec, DeploymentStatus]):
    """Serves the newest approved Model behind a canary. Short name mdep: `kubectl get deployments` means apps/v1."""

    kind: str = "Deployment"
    status: DeploymentStatus = DeploymentStatus()
