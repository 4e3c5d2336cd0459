"""TrainingRun: one attempt, immutable, to make a Model of a Dataset version."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .base import ATOMIC, BY_NAME, BY_TYPE, SET, Resource, Rule, Shape, Status, Time
from .conditions import Condition
from .model import Admission, ApprovalPolicy, Artifact, DatasetVersionRef, Signature
from .quantities import LARGEST_EXACT, Decimal, Digest, DnsName, Message, ModelName, Quantity, Seed, Uri, UserName
from .refs import NameRef

MetricName = Literal["roc_auc", "accuracy", "f1", "log_loss", "brier", "rmse", "mae", "r2"]


_NATIVE = "['cpu', 'memory', 'ephemeral-storage']"
# What Kubernetes lets a container ask for: a Job that asks for more would be refused, long after the spec was not.
_PART = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_EXTENDED = rf"^{_PART}(\\.{_PART})*/[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?$"


def _named(part: str) -> str:
    """CEL: every resource of `requests` or `limits` is one that a container can have."""
    return (
        f"(!has(self.{part}) || self.{part}.all(k, k in {_NATIVE} || "
        f"(k.size() <= 253 && !k.startsWith('requests.') && k.matches('{_EXTENDED}'))))"
    )


class ResourceRequirements(Shape):
    """Requests and limits of a container."""

    RULES: ClassVar = (
        Rule(
            rule="!has(self.requests) || !has(self.limits) || self.requests.all(k, !(k in self.limits) || "
            "quantity(self.requests[k]).compareTo(quantity(self.limits[k])) <= 0)",
            message="a request must not exceed its limit",
            field=".requests",
        ),
        Rule(
            rule=f"{_named('requests')} && {_named('limits')}",
            message="a resource is cpu, memory, ephemeral-storage or an extended one such as nvidia.com/gpu",
        ),
        Rule(
            rule=f"!has(self.limits) || self.limits.all(k, k in {_NATIVE} || quantity(self.limits[k]).isInteger())",
            message="an extended resource such as nvidia.com/gpu is counted in whole numbers",
            field=".limits",
        ),
        Rule(
            rule=f"!has(self.requests) || self.requests.all(k, k in {_NATIVE} || (has(self.limits) && "
            "k in self.limits && quantity(self.requests[k]).compareTo(quantity(self.limits[k])) == 0))",
            message="an extended resource such as nvidia.com/gpu has equal requests and limits: set limits alone",
            field=".requests",
        ),
    )
    requests: Annotated[dict[str, Quantity], Field(max_length=8)] | None = None
    """What is reserved, by resource."""
    limits: Annotated[dict[str, Quantity], Field(max_length=8)] | None = None
    """What is never exceeded, by resource."""


def bounded(cpu: str, memory: str, limit: str) -> ResourceRequirements:
    """Requests of CPU and memory, and a limit of memory: a stage that needs more ends by name, and its node goes on."""
    return ResourceRequirements(requests={"cpu": cpu, "memory": memory}, limits={"memory": limit})


class StageWorker(Shape):
    """The platform's own containers of a run: fetch and evaluate."""

    resources: ResourceRequirements = bounded("100m", "512Mi", "4Gi")
    """Requests and limits of each. The evaluator holds train and test rows, and runs the model on them."""


class BuiltinTrainer(Shape):
    """A scikit-learn estimator trained by the platform's own image."""

    estimator: Annotated[str, Field(pattern=r"^sklearn\.[a-z_]+\.[A-Za-z]+$", max_length=128)]
    """Dotted name, such as `sklearn.ensemble.GradientBoostingClassifier`."""
    task: Literal["Classification", "Regression"]
    """What the label is."""


class Trainer(Shape):
    """What trains."""

    builtin: BuiltinTrainer
    """A scikit-learn estimator."""
    resources_per_node: ResourceRequirements | None = None
    """Requests and limits of the training container."""


class NumberRange(Shape):
    """A closed range."""

    RULES: ClassVar = (
        Rule(rule="has(self.min) || has(self.max)", message="set min, max or both"),
        Rule(
            rule="!has(self.min) || !has(self.max) || self.min <= self.max",
            message="min must not exceed max",
            field=".min",
        ),
    )
    min: float | None = None
    """The smallest value that passes."""
    max: float | None = None
    """The largest value that passes."""


class Baseline(Shape):
    """The candidate against the champion, both measured on the test rows of the version trained on."""

    RULES: ClassVar = (
        Rule(
            rule="[has(self.maxRegression), has(self.minImprovement)].filter(x, x).size() == 1",
            message="exactly one of maxRegression, minImprovement is required",
        ),
    )
    alias: Literal["champion"] = "champion"
    """The alias of the Model compared with. Without such a Model the gate passes."""
    max_regression: Annotated[float, Field(ge=0)] | None = None
    """How much worse the candidate may be, in units of the metric."""
    min_improvement: Annotated[float, Field(ge=0)] | None = None
    """How much better the candidate must be, in units of the metric."""


class Gate(Shape):
    """One thing a candidate must show before it becomes a Model."""

    RULES: ClassVar = (
        Rule(
            rule="[has(self.threshold), has(self.baseline)].filter(x, x).size() == 1",
            message="exactly one of threshold, baseline is required",
        ),
    )
    name: DnsName
    """How the gate is called in `status.gates`."""
    metric: MetricName
    """What is compared; listed in `evaluation.metrics`."""
    threshold: NumberRange | None = None
    """Against fixed numbers."""
    baseline: Baseline | None = None
    """Against the champion."""


class Evaluation(Shape):
    """What is measured on the rows the trainer never saw, and what must hold."""

    RULES: ClassVar = (
        Rule(
            rule="self.gates.all(g, self.metrics.exists(m, m == g.metric))",
            message="every gate's metric must be listed in evaluation.metrics",
            field=".gates",
        ),
    )
    metrics: Annotated[list[MetricName], Field(min_length=1, max_length=8), SET]
    """Measured on the test rows, for candidate and champion."""
    gates: Annotated[list[Gate], Field(max_length=16), BY_NAME] = Field(default_factory=list)
    """Every gate must pass."""


class Output(Shape):
    """The registered model that gets a new version, and who must approve it."""

    model_name: ModelName
    """The registered model. The new version is the Model `<modelName>-<version>`."""
    approval_policy: ApprovalPolicy = ApprovalPolicy()
    """Copied to the Model."""


class TrainingRunSpec(Shape):
    """What a user asks of a TrainingRun. Immutable."""

    RULES: ClassVar = (
        Rule(rule="self == oldSelf", message="a TrainingRun is immutable: create a new one"),
        Rule(
            rule="self.trainer.builtin.task == 'Classification' ? "
            "self.evaluation.metrics.all(m, m in ['roc_auc', 'accuracy', 'f1', 'log_loss', 'brier']) : "
            "self.evaluation.metrics.all(m, m in ['rmse', 'mae', 'r2'])",
            message="evaluation.metrics must suit trainer.builtin.task: roc_auc, accuracy, f1, log_loss, brier for "
            "Classification; rmse, mae, r2 for Regression",
            field=".evaluation.metrics",
        ),
    )
    author: UserName
    """Who asks: must be the caller's own user name (`kubectl auth whoami`), unless a trusted applier applies.

    A run that a Deployment's trigger started has the author of the run it repeats.
    """
    applied_by: UserName | None = None
    """Who applied, where that is not the author: must be the caller's own user name. Copied to the Model."""
    dataset_ref: NameRef
    """The Dataset. Its newest good version is pinned in `status.resolved` when the run starts."""
    trainer: Trainer
    """What trains."""
    parameters: Annotated[dict[str, Annotated[str, Field(max_length=256)]], Field(max_length=64)] = Field(
        default_factory=dict
    )
    """Hyperparameters of the estimator, as text: `n_estimators: "300"`."""
    seed: Seed = 0
    """The estimator's `random_state`."""
    evaluation: Evaluation
    """What is measured, and what must hold."""
    output: Output
    """What becomes of a candidate that passed."""
    worker: StageWorker = StageWorker()
    """What fetches the rows, and what measures the model."""
    backoff_limit: Annotated[int, Field(ge=0, le=10)] = 2
    """How often a crashed attempt is repeated."""
    active_deadline_seconds: Annotated[int, Field(ge=1, le=604800)] = 3600
    """After this many seconds the run has failed."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31536000)] = 86400
    """So many seconds after the run has ended its Job goes, with its pods and their logs: never before its answer is in
    `status`. The run itself stays; `spec.retention` of its Dataset says for how long."""


class Metric(Shape):
    """A number measured by the platform on the test rows."""

    name: MetricName
    """What was measured."""
    value: Decimal
    """The number, as text."""
    split: Literal["test"] = "test"
    """On which rows."""


class GateResult(Shape):
    """What a gate saw."""

    name: DnsName
    """The gate."""
    passed: bool
    """Whether it passed."""
    observed: Decimal | None = None
    """The candidate's number."""
    threshold: Annotated[str, Field(max_length=64)] | None = None
    """What it was held against."""
    message: Message | None = None
    """Why, in words."""


class ChampionRef(Shape):
    """The model that the candidate is compared with, pinned when the Job is made."""

    name: DnsName
    """The Model."""
    digest: Digest
    """Its file's digest."""
    storage_uri: Uri
    """Where its file is."""


class Resolved(Shape):
    """What the run depends on, pinned once."""

    dataset: DatasetVersionRef
    """The version trained on."""
    dataset_uri: Uri
    """Where its files are."""
    champion: ChampionRef | None = None
    """The model compared with."""


class Candidate(Shape):
    """What the evaluator left in the store: enough to create the Model again after a crash."""

    artifact: Artifact
    """The ONNX file."""
    signature: Signature
    """What goes in and what comes out."""
    golden_set_uri: Uri
    """The golden set: requests with the answers that the model gave when it was evaluated."""
    reference_profile_uri: Uri
    """The reference profile: histograms of the training rows."""
    card_uri: Uri | None = None
    """The model card."""


class TrainingRunStatus(Status):
    """The state of a run. Terminal once `Complete` or `Failed` is True."""

    observed_generation: Annotated[int, Field(ge=-1, le=LARGEST_EXACT)] = -1
    """The generation of the spec that this status is about."""
    phase: Annotated[str, Field(max_length=32)] | None = None
    """One word for people. Automate on conditions."""
    message: Message | None = None
    """Where it is and what comes next, in one line."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16), BY_TYPE] = ()
    """Ready, Reconciling, Stalled, Complete, Failed, GatesPassed."""
    admission: Admission | None = None
    """Whether the API server checked author and approval policy when this was created.

    Checked: it did. Unchecked: the operator's admission policies were not in force, so that its Model needs a person's
    approval. Unknown: nobody knows yet.
    """
    start_time: Time | None = None
    """When the Job was made."""
    completion_time: Time | None = None
    """When the run ended."""
    attempts: Annotated[int, Field(ge=0, le=1000)] | None = None
    """How many pods were started."""
    job_name: DnsName | None = None
    """The Job, as long as it is there."""
    stage: Literal["Fetching", "Training", "Evaluating"] | None = None
    """What the pod does now."""
    stage_start_time: Time | None = None
    """Since when it does that."""
    resolved: Resolved | None = None
    """What the run depends on, pinned once."""
    candidate: Candidate | None = None
    """What the evaluator left in the store."""
    metrics: Annotated[tuple[Metric, ...], Field(max_length=20), ATOMIC] = ()
    """The candidate, on the test rows."""
    champion_metrics: Annotated[tuple[Metric, ...], Field(max_length=20), ATOMIC] = ()
    """The champion, on the same rows."""
    gates: Annotated[tuple[GateResult, ...], Field(max_length=16), ATOMIC] = ()
    """What every gate saw."""
    model_ref: NameRef | None = None
    """The Model that came out."""


class TrainingRun(Resource[TrainingRunSpec, TrainingRunStatus]):
    """One attempt, immutable, to make a Model of a Dataset version: fetch, train, evaluate."""

    kind: str = "TrainingRun"
    status: TrainingRunStatus = TrainingRunStatus()
