"""Reasons of Dataset, TrainingRun and Model: each with its sentence and the user's next command."""

from __future__ import annotations

from millrace.api.reasons import Reason

_WATCH_DATASET = "kubectl -n {namespace} get mds {name} --watch"
_WATCH_RUN = "kubectl -n {namespace} get mtr {name} --watch"
_LOOK_EVERY = """kubectl -n {namespace} patch mds {name} --type merge -p '{"spec":{"refresh":{"interval":"5m"}}}'"""
_QUOTA = "kubectl -n {namespace} describe resourcequotas,limitranges"
_NAMESPACE = "kubectl describe namespace {namespace}"
_EDIT_DATASET = "kubectl -n {namespace} edit mds {name}"
_STORE = "kubectl -n {namespace} get pods -l app.kubernetes.io/component=store"
_PLANNED = "kubectl -n {namespace} get mds {name} -o jsonpath='{.status.retention}'"
_OPERATOR = "kubectl -n {namespace} describe deployments.apps -l app.kubernetes.io/component=operator"
_SPEC = "kubectl -n {namespace} get mtr {name} -o jsonpath='{.spec}'"
_RUN_LOGS = "kubectl -n {namespace} logs job/{job} -c {container}"


class DatasetReason(Reason):
    """Why a Dataset's condition is as it is, or what an Event reports."""

    VersionAvailable = "A version is frozen and can be trained on.", ""
    LookQueued = (
        "As many Jobs read sources as the operator lets go on at a time; this one waits for its turn.",
        _WATCH_DATASET,
    )
    LookingAtSource = "A Job reads the source, checks it and freezes it.", _WATCH_DATASET
    NotLookedYet = "The source has not been read to its end yet.", _WATCH_DATASET + " --output-watch-events"
    Snapshotted = "The source was read.", ""
    RulesPassed = "Every rule holds.", ""
    VersionFrozen = "A new version was frozen.", ""
    PodNotStarted = "The Job's pod cannot start.", "kubectl -n {namespace} describe pods -l millrace.dev/dataset={name}"
    PodRefused = "The API server refuses the Job's pod; it is tried again by itself.", _QUOTA
    PodForbidden = "The API server refuses the Job's pod for what its namespace may not run.", _NAMESPACE

    SourceNotFound = "There is no object at spec.source.storageUri.", _LOOK_EVERY, "Upload the file."
    SourceEmpty = "The source holds no rows.", _LOOK_EVERY, "Upload rows."
    SourceMalformed = (
        "The source cannot be parsed in spec.format.",
        _EDIT_DATASET,
        "Correct the file, or spec.format.",
    )
    SchemaMismatch = (
        "The source's columns are not those of spec.schema.",
        _EDIT_DATASET,
        "Correct the file, or spec.schema.",
    )
    RuleViolated = (
        "A rule of spec.validation does not hold; the version was refused.",
        "kubectl -n {namespace} get mds {name} -o jsonpath='{.status.failedRules}'",
    )
    StoreDenied = (
        "The object store refused the credentials.",
        _LOOK_EVERY,
        "Correct the Secret named in spec.source.secretRef, or the store's.",
    )
    StoreUnavailable = "The object store did not answer; the source is looked at again by itself.", _STORE
    DigestMismatch = (
        "The version before is damaged in the store, so old rows cannot keep their split; nothing was frozen.",
        _LOOK_EVERY,
        "Restore the files at status.current.uri from a backup.",
    )
    DeadlineExceeded = (
        "The snapshot did not end within an hour; the source is looked at again by itself.",
        "kubectl -n {namespace} get events --field-selector involvedObject.kind=Pod",
    )
    SnapshotLost = (
        "The snapshot's pod went before its answer was read; the source is looked at again by itself.",
        "kubectl -n {namespace} get events --field-selector involvedObject.name={name}",
    )
    SnapshotOutOfMemory = (
        "The snapshot used more memory than its limit.",
        _EDIT_DATASET,
        "Raise spec.worker.resources.limits.memory.",
    )
    SnapshotOutOfDisk = (
        "The disk that the snapshot works on is full: it holds the source, its rows and the frozen files.",
        _EDIT_DATASET,
        "Make room on the nodes, or ask for it in spec.worker.resources.requests.ephemeral-storage.",
    )
    SnapshotCrashed = (
        "The snapshot ended with an error that is not the source's.",
        "kubectl -n {namespace} get events --field-selector involvedObject.name={job}",
    )
    MalformedReport = (
        "The snapshot's answer cannot be understood: operator and trainer image differ in version.",
        _OPERATOR,
    )
    ErasureKeyMissing = (
        "The Secret of spec.erasure.keyRef does not hold the key that the digests were made with; nothing was frozen.",
        _LOOK_EVERY,
        "Put that key back into the Secret, beside newer ones if need be.",
    )
    ErasurePending = "The current version was frozen before all of these Ids were to be forgotten.", _WATCH_DATASET
    StillHeld = (
        "No later version has these Ids, but earlier versions or Models do.",
        "kubectl -n {namespace} get mds {name} -o jsonpath='{.status.erasure}'",
        "Delete the Models, and the files of the versions.",
    )
    Erased = "No version and no Model holds an Id that is to be forgotten.", ""
    LookAfterErasing = (
        "Files of deleted versions and runs are being erased; the source is read after that.",
        _WATCH_DATASET,
    )

    WithinLimits = "Nothing that may go is over a limit of spec.retention.", ""
    WouldDelete = (
        "Something is over a limit of spec.retention, and would go with mode: Delete.",
        _PLANNED,
        "With spec.retention.mode: Delete what status.retention.planned names goes.",
    )
    DeletionPlanned = (
        "Something is over a limit of spec.retention, and goes once spec.retention.gracePeriod is over.",
        _PLANNED,
        "With spec.retention.mode: DryRun what status.retention.planned names stays.",
    )
    Deleting = "Something goes: objects first, then their files.", _PLANNED
    Deleted = "What was over a limit of spec.retention is gone, with its files.", ""
    EraseFailed = (
        "Files of what was deleted could not be erased; it is tried again by itself.",
        _PLANNED,
        "The keys of the store's Secret must be good to list and to erase; status.retention.deletion names folders.",
    )
    EraseRefused = (
        "A folder that was to be erased is none of this Dataset's, nor of a run of its namespace; nothing was erased.",
        _PLANNED,
    )
    EraseLost = "The pod that erases files went before its answer was read; it is tried again by itself.", _PLANNED


class TrainingRunReason(Reason):
    """Why a TrainingRun's condition is as it is, or what an Event reports."""

    DatasetNotFound = (
        "The Dataset of spec.datasetRef does not exist yet; the run starts when it is there.",
        "kubectl -n {namespace} get mds",
    )
    DatasetNotReady = (
        "The Dataset has no frozen version yet; the run starts when it has.",
        "kubectl -n {namespace} describe mds {dataset}",
    )
    DatasetErasing = (
        "The Dataset's version may hold an Id that is to be forgotten; the run starts when there is one without it.",
        "kubectl -n {namespace} describe mds {dataset}",
    )
    Fetching = "The training rows are being fetched.", _WATCH_RUN
    Training = "The trainer runs.", "kubectl -n {namespace} logs -f job/{job} -c train"
    Evaluating = (
        "The model is being measured on rows the trainer never saw.",
        "kubectl -n {namespace} logs -f job/{job} -c evaluate",
    )
    PodNotStarted = (
        "The Job's pod cannot start.",
        "kubectl -n {namespace} describe pods -l millrace.dev/training-run={name}",
    )
    PodRefused = "The API server refuses the Job's pod; it is tried again by itself.", _QUOTA
    PodForbidden = "The API server refuses the Job's pod for what its namespace may not run.", _NAMESPACE
    ModelRegistered = "The gates passed and the Model exists.", "kubectl -n {namespace} get mmd {model}"
    AllPassed = "Every gate holds.", ""
    NotEvaluated = "The gates are judged once the model is measured.", ""
    NotComplete = "The run has not ended yet.", ""
    NotFailed = "Nothing has failed.", ""

    PolicyUnknown = (
        "The gates passed; the Model is made once it is known whether the admission policies are in force.",
        "kubectl get validatingadmissionpolicies,validatingadmissionpolicybindings",
    )
    GatesFailed = (
        "A gate does not hold; no Model was made.",
        "kubectl -n {namespace} get mtr {name} -o jsonpath='{.status.gates}'",
    )
    DeadlineExceeded = (
        "The run did not end within spec.activeDeadlineSeconds.",
        _SPEC,
        "Create another run with a larger spec.activeDeadlineSeconds.",
    )
    TrainerOutOfMemory = (
        "The trainer used more memory than its limit.",
        _SPEC,
        "Create another run with a larger spec.trainer.resourcesPerNode.limits.memory.",
    )
    StageOutOfMemory = (
        "A stage of the platform's own used more memory than its limit.",
        _SPEC,
        "Create another run with a larger spec.worker.resources.limits.memory.",
    )
    TrainerCrashed = "The trainer ended with an error.", _RUN_LOGS
    FetchFailed = "The training rows could not be fetched.", _RUN_LOGS + " --tail=20"
    EvaluationFailed = "The model could not be measured on the held-out rows.", _RUN_LOGS + " --tail=40"
    NoModelWritten = "The trainer ended without writing a model.", _RUN_LOGS + " --tail=60"
    NotOnnx = "The file the trainer wrote is not an ONNX model.", _SPEC, "Create another run with another spec.trainer."
    ExternalData = (
        "The model refers to data outside its file.",
        _SPEC,
        "Create another run whose spec.trainer writes one file.",
    )
    OperatorNotAllowed = (
        "The model uses an operator that is not on the allow-list.",
        _SPEC,
        "Create another run whose spec.trainer uses other operators.",
    )
    ModelTooLarge = (
        "The model is larger than the limit.",
        _SPEC,
        "Create another run whose spec.parameters make a smaller model.",
    )
    ParityFailed = (
        "The ONNX model does not answer as the trained estimator does.",
        _SPEC,
        "Create another run with another spec.trainer.builtin.estimator.",
    )
    UnknownParameter = (
        "The estimator has no such parameter.",
        _SPEC,
        "Create another run with spec.parameters that the estimator has.",
    )
    UnknownEstimator = (
        "There is no such built-in estimator.",
        _SPEC,
        "Create another run with another spec.trainer.builtin.estimator or task.",
    )
    LabelMissing = (
        "The snapshot has no label column.",
        "kubectl -n {namespace} edit mds {dataset}",
        "Give one field role Label in spec.schema.fields.",
    )
    TestRowsTrained = (
        "Rows of the version's test part are in its train part too, so nothing measured on it would count.",
        _LOOK_EVERY.replace("{name}", "{dataset}"),
        "Let a new version be frozen, then start a new run.",
    )
    LabelNotSuitable = (
        "The label's type is none that the task can predict.",
        _SPEC,
        "Create another run with another spec.trainer.builtin.task.",
    )
    OneClass = (
        "The train rows all have the same label, so there is nothing to tell apart.",
        "kubectl -n {namespace} describe mds {dataset}",
        "Add rows of another class to the source.",
    )
    FeatureMissing = (
        "The snapshot has no column of role Feature.",
        "kubectl -n {namespace} edit mds {dataset}",
        "Give a field role Feature in spec.schema.fields.",
    )
    TooManyFeatures = (
        "The snapshot has more features than a model is served and watched with.",
        "kubectl -n {namespace} edit mds {dataset}",
        "Give the rest role Ignore in spec.schema.fields.",
    )
    NotAFeature = (
        "The model reads a column that is no feature of the Dataset, or reads it as another type.",
        _SPEC,
        "Create another run whose spec.trainer reads features alone.",
    )
    NumberNotExact = (
        "A feature holds a number that the model would be given rounded.",
        "kubectl -n {namespace} edit mds {dataset}",
        "Give that field role Id or Ignore, or type Category.",
    )
    StoreUnavailable = "The object store did not answer.", _STORE
    StoreDenied = "The object store refused the credentials.", "kubectl -n {namespace} get secrets"
    SourceNotFound = "The frozen rows are no longer in the store.", "kubectl -n {namespace} describe mds {dataset}"
    DigestMismatch = (
        "The bytes in the store are not those that were frozen.",
        "kubectl -n {namespace} get mds {dataset} -o yaml",
    )
    PodLost = (
        "The run's pod went before its answer was read.",
        "kubectl -n {namespace} get events --field-selector involvedObject.name={job}",
    )
    MalformedReport = (
        "The evaluator's answer cannot be understood: operator and trainer image differ in version.",
        _OPERATOR,
    )
    SourceEmpty = "The frozen version has no rows to train on.", "kubectl -n {namespace} describe mds {dataset}"
    ModelNotLoadable = (
        "The runtime cannot load the model.",
        _SPEC,
        "Create another run with another spec.trainer.builtin.estimator.",
    )
    JobGone = (
        "The run's Job went with its pods and their logs, spec.ttlSecondsAfterFinished after its end.",
        _SPEC,
        "Its Job and logs are gone: create another run, with a larger spec.ttlSecondsAfterFinished, to read them.",
    )
    NameNotUsable = (
        "The run's name is longer than 52 characters or not made of a-z, 0-9 and - alone.",
        _SPEC,
        "Create it again under another name.",
    )


_APPROVE = """kubectl -n {namespace} patch mmd {name} --type json -p '{patch}'"""


class ModelReason(Reason):
    """Why a Model's condition is as it is, or what an Event reports."""

    AutoApproved = "The gates alone approve this version: spec.approvalPolicy.required is 0.", ""
    QuorumReached = "Enough people have approved this very digest.", ""
    PendingApproval = "More people must approve this digest.", _APPROVE
    Rejected = (
        "Somebody rejected this digest, here or under another version's name.",
        "kubectl -n {namespace} edit mmd {rejected}",
        "That person may take it back with a Revoke or Approve entry.",
    )
    CreatedUnchecked = (
        "The admission policies were not in force when this version was created, so nobody checked who its author is.",
        "kubectl -n {namespace} get mmd {name} -o jsonpath='{.spec}'",
        "Delete it, and create it again with this spec but for its approvals.",
    )
    PolicyNotInForce = (
        "The admission policies that check who approves are not in force, so no approval counts.",
        "kubectl get validatingadmissionpolicies,validatingadmissionpolicybindings",
    )
    PolicyUnknown = (
        "Whether the admission policies are in force is not known yet.",
        "kubectl -n {namespace} get mmd {name} --watch",
    )
    Stable = "A Deployment serves this version.", ""
    Canary = "A Deployment tries this version.", ""
    NotDeployed = "No Deployment serves this version.", ""
    NotQuarantined = "No quarantine stands against these bytes: any Deployment may roll them out.", ""
    Quarantined = (
        "These bytes failed in a Deployment, so no Deployment rolls them out.",
        (
            "kubectl -n {namespace} patch mdep {deployment} --type merge "
            """-p '{"spec":{"actions":{"unquarantine":{"revision":"{revision}","reason":"{asked}"}}}}'"""
        ),
    )
