"""The four kinds as the API server must know them: names, columns, subresources, selectors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from millrace.api import keys, resources
from millrace.api.base import Resource, Rule
from millrace.api.dataset import Dataset
from millrace.api.deployment import Deployment
from millrace.api.model import Model
from millrace.api.training_run import TrainingRun


@dataclass(frozen=True)
class Column:
    """One column of `kubectl get`; priority 1 shows only with `-o wide`."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0
    description: str = ""

    def wire(self) -> dict[str, Any]:
        """The form the API server wants."""
        shown: dict[str, Any] = {"name": self.name, "type": self.type, "jsonPath": self.path}
        if self.description:
            shown["description"] = self.description
        if self.priority:
            shown["priority"] = self.priority
        return shown


@dataclass(frozen=True)
class Kind:
    """One kind: `slug` names its page of the reference, `longest_name` keeps the names of its children within 63."""

    slug: str
    resource: resources.ResourceType
    shape: type[Resource[Any, Any]]
    short: str
    longest_name: int
    columns: tuple[Column, ...]
    selectable: tuple[str, ...] = ()
    scale: dict[str, str] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()

    def root_rules(self) -> tuple[Rule, ...]:
        """Rules over the whole object."""
        return (
            Rule(
                rule=f"self.metadata.name.size() <= {self.longest_name}",
                message=f"metadata.name must be at most {self.longest_name} characters, "
                "so that the names of what it makes fit in 63",
            ),
            Rule(
                rule="self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
                message="metadata.name must be an RFC 1035 label: lower case letters, digits and dashes, "
                "starting with a letter",
            ),
            *self.rules,
        )


def _condition(kind: str, field: str = "status") -> str:
    return f".status.conditions[?(@.type=='{kind}')].{field}"


READY = Column("Ready", _condition("Ready"))
PHASE = Column("Phase", ".status.phase")
AGE = Column("Age", ".metadata.creationTimestamp", type="date")
# Last, because it is the only one that may be long.
MESSAGE = Column("Message", ".status.message", description="Where it is and what comes next")

DATASET = Kind(
    slug="dataset",
    resource=resources.DATASETS,
    shape=Dataset,
    short="mds",
    longest_name=52,
    columns=(
        Column("Version", ".status.current.version", type="integer", description="The newest good version"),
        Column("Rows", ".status.current.rows", type="integer"),
        READY,
        PHASE,
        AGE,
        MESSAGE,
        Column("Digest", ".status.current.digest", priority=1),
        Column("Source", ".spec.source.storageUri", priority=1),
        Column(
            "Next-Check",
            ".status.nextCheckTime",
            priority=1,
            description="When the source is read next; empty while it is being read, and where it is not read again",
        ),
    ),
    selectable=(".status.phase",),
)

TRAINING_RUN = Kind(
    slug="training-run",
    resource=resources.TRAINING_RUNS,
    shape=TrainingRun,
    short="mtr",
    longest_name=52,
    columns=(
        Column("Dataset", ".spec.datasetRef.name"),
        Column("Model", ".status.modelRef.name", description="The Model that came out"),
        READY,
        PHASE,
        AGE,
        MESSAGE,
        Column("Data-Version", ".status.resolved.dataset.version", type="integer", priority=1),
        Column("Attempts", ".status.attempts", type="integer", priority=1),
        Column("Author", ".spec.author", priority=1, description="Who answers for it, also where a trigger started it"),
        Column(
            "Trigger",
            f".metadata.labels.{keys.TRIGGER.replace('.', chr(92) + '.')}",
            priority=1,
            description="The Deployment's trigger that started it; empty where a person did",
        ),
    ),
    selectable=(".spec.datasetRef.name", ".spec.output.modelName", ".status.phase"),
)

MODEL = Kind(
    slug="model",
    resource=resources.MODELS,
    shape=Model,
    short="mmd",
    longest_name=63,
    columns=(
        Column("Approved", _condition("Approved")),
        Column("In-Use", _condition("InUse")),
        Column("Alias", ".status.aliases[0]"),
        READY,
        PHASE,
        AGE,
        MESSAGE,
        Column("Digest", ".spec.artifact.digest", priority=1),
        Column("Run", ".spec.provenance.trainingRunRef.name", priority=1),
        Column("Author", ".spec.provenance.author", priority=1),
    ),
    selectable=(".spec.modelName", ".spec.artifact.digest", ".status.phase"),
    rules=(
        Rule(
            rule="self.metadata.name == self.spec.modelName + '-' + self.spec.version",
            message="metadata.name must be <modelName>-<version>: it keeps versions unique",
        ),
    ),
)

DEPLOYMENT = Kind(
    slug="deployment",
    resource=resources.DEPLOYMENTS,
    shape=Deployment,
    short="mdep",
    longest_name=45,
    columns=(
        Column("Model", ".status.stable.model", description="What serves"),
        Column(
            "Canary",
            ".status.canary.model",
            description="What is being tried beside what serves; the first model too, until it serves",
        ),
        Column(
            "Canary-Weight",
            ".status.canary.weight",
            type="integer",
            description="The canary's percent of the traffic; the first model gets 100 at once",
        ),
        Column("Drift", _condition("DriftDetected", "reason"), description="What is known of drift; NoDrift is good"),
        READY,
        PHASE,
        AGE,
        MESSAGE,
        Column("Step", ".status.rollout.step", priority=1, description="Where the canary is in its steps"),
        Column(
            "Ready-Pods",
            ".status.stable.readyReplicas",
            type="integer",
            priority=1,
            description="Ready servers of what serves",
        ),
        Column(
            "Canary-Ready-Pods",
            ".status.canary.readyReplicas",
            type="integer",
            priority=1,
            description="Ready servers of what is being tried",
        ),
        Column("Retraining", ".status.retraining.state", priority=1),
        Column("URL", ".status.url", priority=1),
    ),
    selectable=(".spec.modelSelector.modelName", ".status.phase"),
    scale={
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    },
)

ALL = (DATASET, TRAINING_RUN, MODEL, DEPLOYMENT)
