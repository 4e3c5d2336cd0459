"""Reasons of Dataset, TrainingRun and Model: each with its sentence and the user's next command."""

from __future__ import annotations

from millrace.api.reasons import Reason

_WATCH_DATASET = "kubectl -n {namespace} get mds {name} --watch"
_WATCH_RUN = "kubectl -n {namespace} get mtr {name} --watch"
_LOOK_EVERY = """kubectl -n {namespace} patch mds {name} --type merge -p '{"spec":{"refresh":{"interval":"5m"}}}'"""
_EDIT_DATASET = "kubectl -n {namespace} edit mds {name}"
_NEW_RUN = "kubectl -n {namespace} get mtr {name} -o yaml > run.yaml, then change metadata.name and"
_RUN_LOGS = "kubectl -n {namespace} logs job/{job} -c {container}"


class DatasetReason(Reason):
    """Why a Dataset's condition is as it is, or what an Event reports."""

    VersionAvailable = "A version is frozen and can be trained on.", ""
    LookingAtSource = "A Job reads the source, checks it and freezes it.", _WATCH_DATASET
    NotLookedYet = "Nobody has looked at the source yet.", _WATCH_DATASET + " --output-watch-events"
    Snapshotted = "The source was read.", ""
    RulesPassed = "Every rule holds.", ""
    VersionFrozen = "A new version was frozen.", ""
    PodNotStarted = "The Job's pod cannot start.", "kubectl -n {namespace} describe pods -l millrace.dev/dataset={name}"

    SourceNotFound = (
        "There is no object at spec.source.storageUri.",
        ("upload the file, then, unless spec.refresh is set, " + _LOOK_EVERY),
    )
    SourceEmpty = "The source holds no rows.", "upload rows, then, unless spec.refresh is set, " + _LOOK_EVERY
    SourceMalformed = (
        "The source cannot be parsed in spec.format.",
        ("correct the file or spec.format: " + _EDIT_DATASET),
    )
    SchemaMismatch = (
        "The source's columns are not those of spec.schema.",
        ("correct the file or spec.schema: " + _EDIT_DATASET),
    )
    RuleViolated = (
        "A rule of spec.validation does not hold; the version was refused.",
        ("kubectl -n {namespace} get mds {name} -o jsonpath='{.status.failedRules}'"),
    )
    StoreDenied = (
        "The object store refused the credentials.",
        ("correct the Secret named in spec.source.secretRef or the store's, then " + _LOOK_EVERY),
    )
    StoreUnavailable = (
        "The object store did not answer; the source is looked at again by itself.",
        ("kubectl -n {namespace} get pods -l app.kubernetes.io/component=store"),
    )
    DigestMismatch = (
        "The version before is damaged in the store, so old rows cannot keep their split; nothing was frozen.",
        ("restore status.current.uri from a backup, then, unless spec.refresh is set, " + _LOOK_EVERY),
    )
    DeadlineExceeded = (
        "The snapshot did not end within an hour; the source is looked at again by itself.",
        ("kubectl -n {namespace} get events --field-selector involvedObject.kind=Pod"),
    )
    SnapshotLost = (
        "The snapshot's pod went before its answer was read; the source is looked at again by itself.",
        ("kubectl -n {namespace} get events --field-selector involvedObject.name={name}"),
    )
    SnapshotOutOfMemory = (
        "The source does not fit into the snapshot container's memory.",
        ("make the source smaller: " + _EDIT_DATASET),
    )
    SnapshotCrashed = (
        "The snapshot ended with an error that is not the source's.",
        ("kubectl -n {namespace} logs job/{job}"),
    )
    MalformedReport = (
        "The snapshot's answer cannot be understood: operator and trainer image differ in version.",
        ("helm get values millrace"),
    )


class TrainingRunReason(Reason):
    """Why a TrainingRun's condition is as it is, or what an Event reports."""

    DatasetNotFound = (
        "The Dataset of spec.datasetRef does not exist yet; the run starts when it is there.",
        ("kubectl -n {namespace} get mds {dataset}"),
    )
    DatasetNotReady = (
        "The Dataset has no frozen version yet; the run starts when it has.",
        ("kubectl -n {namespace} describe mds {dataset}"),
    )
    Fetching = "The training rows are fetched.", _WATCH_RUN
    Training = "The trainer runs.", "kubectl -n {namespace} logs -f job/{job} -c train"
    Evaluating = (
        "The model is measured on rows the trainer never saw.",
        ("kubectl -n {namespace} logs -f job/{job} -c evaluate"),
    )
    PodNotStarted = (
        "The Job's pod cannot start.",
        ("kubectl -n {namespace} describe pods -l millrace.dev/training-run={name}"),
    )
    ModelRegistered = "The gates passed and the Model exists.", "kubectl -n {namespace} get mmd {model}"
    AllPassed = "Every gate holds.", ""
    NotEvaluated = "The gates are judged once the model is measured.", ""
    NotComplete = "The run has not ended yet.", ""
    NotFailed = "Nothing has failed.", ""

    GatesFailed = (
        "A gate does not hold; no Model was made.",
        ("kubectl -n {namespace} get mtr {name} -o jsonpath='{.status.gates}'"),
    )
    DeadlineExceeded = (
        "The run did not end within spec.activeDeadlineSeconds.",
        (_NEW_RUN + " spec.activeDeadlineSeconds"),
    )
    TrainerOutOfMemory = (
        "The trainer used more memory than its limit.",
        (_NEW_RUN + " spec.trainer.resourcesPerNode.limits.memory"),
    )
    StageOutOfMemory = (
        "A stage of the platform's own used more memory than the node has.",
        ("kubectl -n {namespace} describe job {job}"),
    )
    TrainerCrashed = "The trainer ended with an error.", _RUN_LOGS
    FetchFailed = "The training rows could not be fetched.", _RUN_LOGS + " --tail=20"
    EvaluationFailed = "The model could not be measured on the held-out rows.", _RUN_LOGS + " --tail=40"
    NoModelWritten = "The trainer ended without writing a model.", _RUN_LOGS + " --tail=60"
    NotOnnx = "The file the trainer wrote is not an ONNX model.", _NEW_RUN + " spec.trainer"
    ExternalData = "The model refers to data outside its file.", _NEW_RUN + " spec.trainer to write one file"
    OperatorNotAllowed = (
        "The model uses an operator that is not on the allow-list.",
        (_NEW_RUN + " spec.trainer to use other operators"),
    )
    ModelTooLarge = "The model is larger than the limit.", _NEW_RUN + " spec.parameters to make a smaller model"
    ParityFailed = (
        "The ONNX model does not answer as the trained estimator does.",
        (_NEW_RUN + " spec.trainer.builtin.estimator"),
    )
    UnknownParameter = "The estimator has no such parameter.", _NEW_RUN + " spec.parameters"
    UnknownEstimator = "There is no such built-in estimator.", _NEW_RUN + " spec.trainer.builtin.estimator and task"
    LabelMissing = (
        "The snapshot has no label column.",
        ("give one field role Label in spec.schema.fields: kubectl -n {namespace} edit mds {dataset}"),
    )
    LabelNotSuitable = (
        "The label's type is none that the task can predict.",
        (_NEW_RUN + " spec.trainer.builtin.task"),
    )
    OneClass = (
        "The train rows all have the same label, so there is nothing to tell apart.",
        ("add rows of another class to the source: kubectl -n {namespace} describe mds {dataset}"),
    )
    FeatureMissing = (
        "The snapshot has no column of role Feature.",
        ("give a field role Feature in spec.schema.fields: kubectl -n {namespace} edit mds {dataset}"),
    )
    TooManyFeatures = (
        "The snapshot has more features than a model is served and watched with.",
        ("give the rest role Ignore in spec.schema.fields: kubectl -n {namespace} edit mds {dataset}"),
    )
    NotAFeature = (
        "The model reads a column that is no feature of the Dataset, or reads it as another type.",
        (_NEW_RUN + " spec.trainer to read features alone"),
    )
    NumberNotExact = (
        "A feature holds a number that the model would be given rounded.",
        ("give that field role Id or Ignore, or type Category: kubectl -n {namespace} edit mds {dataset}"),
    )
    StoreUnavailable = (
        "The object store did not answer.",
        ("kubectl -n {namespace} get pods -l app.kubernetes.io/component=store"),
    )
    StoreDenied = "The object store refused the credentials.", "kubectl -n {namespace} get secrets"
    SourceNotFound = "The frozen rows are no longer in the store.", "kubectl -n {namespace} describe mds {dataset}"
    DigestMismatch = (
        "The bytes in the store are not those that were frozen.",
        ("kubectl -n {namespace} get mds {dataset} -o yaml"),
    )
    PodLost = (
        "The run's pod went before its answer was read.",
        ("kubectl -n {namespace} get events --field-selector involvedObject.name={job}"),
    )
    MalformedReport = (
        "The evaluator's answer cannot be understood: operator and trainer image differ in version.",
        ("helm get values millrace"),
    )
    SourceEmpty = "The frozen version has no rows to train on.", "kubectl -n {namespace} describe mds {dataset}"
    ModelNotLoadable = "The runtime cannot load the model.", _NEW_RUN + " spec.trainer.builtin.estimator"
    NameNotUsable = (
        "The run's name is longer than 52 characters or not made of a-z, 0-9 and - alone.",
        (_NEW_RUN + " nothing else"),
    )


_APPROVE = """kubectl -n {namespace} patch mmd {name} --type json -p '{patch}'"""


class ModelReason(Reason):
    """Why a Model's condition is as it is, or what an Event reports."""

    AutoApproved = "The gates alone approve this version: approvalPolicy.required is 0.", ""
    QuorumReached = "Enough people have approved this very digest.", ""
    PendingApproval = "More people must approve this digest.", _APPROVE
    Rejected = (
        "Somebody rejected this digest.",
        ("that person may take it back with a Revoke or Approve entry: kubectl -n {namespace} edit mmd {name}"),
    )
    PolicyNotInForce = (
        "The admission policies that check who approves are not in force, so no approval counts.",
        ("kubectl get validatingadmissionpolicies,validatingadmissionpolicybindings"),
    )
    PolicyUnknown = (
        "Whether the admission policies are in force is not known yet.",
        ("kubectl -n {namespace} get mmd {name} --watch"),
    )
    Stable = "A Deployment serves this version.", ""
    Canary = "A Deployment tries this version.", ""
    NotDeployed = "No Deployment serves this version.", ""
