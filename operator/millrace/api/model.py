"""Model: one immutable version of a registered model, and the decisions people took about it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .base import ATOMIC, BY_NAME, BY_TYPE, Resource, Rule, Shape, Status, Time
from .conditions import Condition
from .quantities import LARGEST_EXACT, Digest, DnsName, Message, ModelName, Uri, UserName
from .refs import NameRef

Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES"
]
MOST_APPROVALS = 64
POSITIONS = "[" + ",".join(str(position) for position in range(MOST_APPROVALS)) + "]"
"""CEL has no loop over positions on every supported API server: a literal list of all of them is one."""


class Artifact(Shape):
    """The ONNX file, pinned by digest."""

    storage_uri: Uri
    """Where the file is."""
    digest: Digest
    """SHA-256 of the file: what approvals are about, and what a server checks before it loads anything."""
    size_bytes: Annotated[int, Field(ge=1, le=LARGEST_EXACT)] | None = None
    """Size of the file."""


class Tensor(Shape):
    """A tensor in Open Inference Protocol v2 terms."""

    name: Annotated[str, Field(min_length=1, max_length=128)]
    """The name callers use."""
    datatype: Datatype
    """The type of every element."""
    shape: Annotated[list[Annotated[int, Field(ge=-1, le=LARGEST_EXACT)]], Field(max_length=8), ATOMIC]
    """Size of every dimension; -1 is variable."""


class Signature(Shape):
    """What goes in and what comes out."""

    inputs: Annotated[list[Tensor], Field(min_length=1, max_length=64), BY_NAME]
    """Tensors of a request."""
    outputs: Annotated[list[Tensor], Field(min_length=1, max_length=64), BY_NAME]
    """Tensors of an answer."""


class DatasetVersionRef(Shape):
    """A frozen Dataset version."""

    name: DnsName
    """The Dataset."""
    version: Annotated[int, Field(ge=1, le=2**31 - 1)]
    """The version's number."""
    digest: Digest
    """The version's content."""


class Provenance(Shape):
    """Where the model comes from."""

    training_run_ref: NameRef | None = None
    """The TrainingRun that made it. Only the operator may claim one."""
    author: UserName | None = None
    """The user behind it: the run's author, or whoever imported it (must be the caller's own user name)."""
    applied_by: UserName | None = None
    """Who applied it, where that is not the author: a trusted applier, such as a GitOps controller."""
    dataset: DatasetVersionRef | None = None
    """What it was trained on."""


class ApprovalPolicy(Shape):
    """How many people must agree. It may become stricter, never weaker; an import is not weaker than the default."""

    required: Annotated[int, Field(ge=0, le=10)] = 1
    """How many approvals it takes. 0 approves by gates alone: for models that were trained here."""
    distinct_from_author: bool = True
    """Whether an approval by the author, or by whoever applied for the author, is refused. Idle where 0 is required."""


class Approval(Shape):
    """One person's decision about one digest. The API server checks who wrote it."""

    RULES: ClassVar = (
        # API servers take a list where the schema says a string with a format, and then no status can be applied to
        # the object any more. CEL cannot read a list as a time, and so refuses it; every time is at or after this one.
        Rule(
            rule="!has(self.time) || self.time >= timestamp('0001-01-01T00:00:00Z')",
            message="time must be a time such as 2026-11-20T09:00:00Z",
            field=".time",
        ),
    )
    user: UserName
    """Who decides: must be the caller's own user name."""
    decision: Literal["Approve", "Reject", "Revoke"]
    """Revoke takes the same user's earlier decision back."""
    digest: Digest
    """The artifact the decision is about."""
    comment: Annotated[str, Field(max_length=1024)] | None = None
    """Why."""
    time: Time | None = None
    """When, as the user says. The API server's audit log knows better."""


def _immutable(field: str) -> Rule:
    return Rule(
        rule=f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})",
        message=f"{field} is immutable: create a new version",
        field=f".{field}",
    )


class ModelSpec(Shape):
    """Identity, bytes, provenance and decisions. Only approvalPolicy and approvals may change."""

    RULES: ClassVar = (
        _immutable("modelName"),
        _immutable("version"),
        _immutable("artifact"),
        _immutable("signature"),
        _immutable("provenance"),
        _immutable("goldenSetUri"),
        _immutable("referenceProfileUri"),
        # By position: an old entry that is moved or repeated would change who decided last.
        Rule(
            rule="!has(oldSelf.approvals) || (has(self.approvals) && "
            "oldSelf.approvals.size() <= self.approvals.size() && "
            f"{POSITIONS}.all(i, i >= oldSelf.approvals.size() || self.approvals[i] == oldSelf.approvals[i]))",
            message="approvals are append-only: add a Revoke entry at the end, do not remove, change or move one",
            field=".approvals",
        ),
        Rule(
            rule="!has(self.approvals) || self.approvals.all(a, a.digest == self.artifact.digest)",
            message="an approval must name this artifact's digest (spec.artifact.digest)",
            field=".approvals",
        ),
    )
    model_name: ModelName
    """The registered model that this is a version of."""
    version: Annotated[str, Field(pattern=r"^[1-9][0-9]*$", max_length=9)]
    """Counts from 1 within the registered model. metadata.name is `<modelName>-<version>`."""
    artifact: Artifact
    """The ONNX file."""
    signature: Signature
    """What goes in and what comes out."""
    provenance: Provenance | None = None
    """Where it comes from."""
    golden_set_uri: Uri
    """The golden set: requests with the evaluation's answers. A server must give them too before it takes traffic."""
    reference_profile_uri: Uri
    """Histograms of the training rows: what drift is measured against."""
    approval_policy: ApprovalPolicy = ApprovalPolicy()
    """How many people must agree."""
    approvals: Annotated[list[Approval], Field(max_length=MOST_APPROVALS), ATOMIC] | None = None
    """What people decided, in order. Append-only."""


class ApprovalCount(Shape):
    """How far the quorum is."""

    required: Annotated[int, Field(ge=0, le=10)]
    """How many approvals it takes."""
    granted: Annotated[int, Field(ge=0, le=MOST_APPROVALS)]
    """How many people approve now."""
    rejected: Annotated[int, Field(ge=0, le=MOST_APPROVALS)]
    """How many people reject now."""
    judged: Annotated[int, Field(ge=0, le=MOST_APPROVALS)] | None = None
    """So many entries of `spec.approvals` were judged: whether the admission policies checked who wrote them."""
    uncounted: Annotated[
        tuple[Annotated[int, Field(ge=0, le=MOST_APPROVALS - 1)], ...], Field(max_length=MOST_APPROVALS), ATOMIC
    ] = ()
    """Positions in `spec.approvals`, from 0, that never count as approvals: perhaps no policy checked them."""
    epoch: Annotated[str, Field(max_length=32)] | None = None
    """A hash of the admission policies under which entries were last judged: any change of theirs changes it."""


class DeployedIn(Shape):
    """A Deployment that serves this model."""

    name: DnsName
    """The Deployment."""
    role: Literal["Stable", "Canary"]
    """What the model is there."""
    weight: Annotated[int, Field(ge=0, le=100)]
    """Its share of the traffic, in percent."""


Admission = Literal["Checked", "Unchecked", "Unknown"]
"""Whether the admission policies were in force when an object was created."""


class Quarantine(Shape):
    """Why these bytes are not rolled out, by any Deployment of the namespace."""

    deployment: DnsName
    """Where they failed last."""
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$", max_length=8)]
    """The revision that failed there."""
    reason: Annotated[str, Field(max_length=256)]
    """What failed."""
    time: Time
    """When."""
    record: Annotated[str, Field(max_length=63)]
    """The ControllerRevision in which this is written."""


class ModelStatus(Status):
    """The state of a version."""

    observed_generation: Annotated[int, Field(ge=-1, le=LARGEST_EXACT)] = -1
    """The generation of the spec that this status is about."""
    phase: Annotated[str, Field(max_length=32)] | None = None
    """One word for people. Automate on conditions."""
    message: Message | None = None
    """Where it is and what comes next, in one line."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16), BY_TYPE] = ()
    """Ready, Reconciling, Stalled, Approved, InUse, Quarantined."""
    aliases: Annotated[tuple[DnsName, ...], Field(max_length=4), ATOMIC] = ()
    """`champion`: a Deployment serves it, and candidates are compared with it. `challenger`: only a canary so far."""
    admission: Admission | None = None
    """Whether the API server checked author, provenance and approval policy when this was created.

    Checked: it did. Unchecked: the operator's admission policies were not in force. Unknown: nobody knows yet.
    """
    approvals: ApprovalCount | None = None
    """How far the quorum is."""
    deployed_in: Annotated[tuple[DeployedIn, ...], Field(max_length=64), ATOMIC] = ()
    """Where it is served now."""
    quarantine: Quarantine | None = None
    """Why it is not rolled out, until a person with the verb `approve` says otherwise."""


class Model(Resource[ModelSpec, ModelStatus]):
    """One immutable version of a registered model, and the decisions people took about it."""

    kind: str = "Model"
    status: ModelStatus = ModelStatus()
