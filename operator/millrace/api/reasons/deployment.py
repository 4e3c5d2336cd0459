"""Reasons of a Deployment: each with its sentence and the user's next command."""

from __future__ import annotations

from millrace.api.reasons import Reason

_LOOK = "kubectl -n {namespace} describe mdep {name}"
_WATCH = "kubectl -n {namespace} get mdep {name} --watch"
_PODS = "kubectl -n {namespace} describe pods -l millrace.dev/deployment={name},millrace.dev/component=server"
_ROUTERS = "kubectl -n {namespace} describe pods -l millrace.dev/deployment={name},millrace.dev/component=router"
_QUOTA = "kubectl -n {namespace} describe resourcequotas,limitranges"
_NAMESPACE = "kubectl describe namespace {namespace}"
_MODELS = "kubectl -n {namespace} get mmd {models}"
_RUNS = "kubectl -n {namespace} get mtr"
_ACT = (
    "kubectl -n {namespace} patch mdep {name} --type merge "
    # The same request is carried out once: each time that it is printed it is another one.
    """-p '{"spec":{"actions":{"%s":{"revision":"{revision}","reason":"{asked}"}}}}'"""
)


class DeploymentReason(Reason):
    """Why a Deployment's condition is as it is, or what an Event reports.

    Of the fields, `models` is what `kubectl get mmd` is given to show the versions in question.
    """

    Serving = "The stable revision answers.", ""
    NoApprovedModel = "There is no approved version of the model to serve.", _MODELS
    Quarantined = (
        "The newest approved version failed before, here or in another Deployment, and is not tried again by itself.",
        _ACT % "unquarantine",
    )
    Starting = "The first model is being started.", _PODS
    ServersNotReady = "Too few server pods are ready.", _PODS
    RoutersNotReady = "Not every router answers, or finds a healthy server, yet.", _ROUTERS
    WeightsNotApplied = "Not every router applies the newest weights yet; it takes seconds.", _ROUTERS
    AllReplicasReady = "As many servers of the stable revision are ready as were asked for.", ""
    StableGone = "The Model that served and its servers were deleted.", _MODELS
    ApprovalRevoked = "The model's approval was taken back.", _MODELS
    ApprovalsNotCounted = "Somebody decided about the model, and the approvals are being counted again.", _WATCH
    ModelDeleted = "The model that is tried was deleted.", _MODELS
    PolicyNotInForce = (
        "The admission policies that check who approves are not in force, so nothing is promoted.",
        ("kubectl get validatingadmissionpolicies,validatingadmissionpolicybindings"),
    )

    ServersUpgrading = "The servers of the stable revision change their image in place, one after the other.", _WATCH
    ServersUpgraded = "All servers of the stable revision run the image they are to run.", ""

    RolloutStarted = "A revision is tried.", _WATCH
    WeightSet = "The canary's share of the traffic changed.", _WATCH
    CanaryProgressing = "The canary is on its way through its steps.", _WATCH
    CanaryPaused = "The canary waits for its pause to end.", _WATCH
    CanaryAnalysing = "The canary waits for a verdict of its analysis.", _WATCH
    AnalysisInconclusive = "The analysis came to no verdict in its time; the canary stays where it is.", _ACT % "retry"
    NoTraffic = (
        "Nobody calls, so the canary cannot be compared with stable, and no data never promotes.",
        (
            "kubectl -n {namespace} patch mdep {name} --type merge "
            """-p '{"spec":{"strategy":{"canary":{"disableDefaults":["ErrorRate"]}}}}'"""
        ),
    )
    NothingToCompare = (
        "An analysis compares the canary with stable, which gets no requests beside a canary at 100 %.",
        "kubectl -n {namespace} edit mdep {name}",
        "Put that analysis before setWeight: 100, or give its metric a thresholdRange.",
    )
    SignatureChanged = (
        "The model's inputs or outputs differ from stable's, so requests that work today may not work with it.",
        (
            "kubectl -n {namespace} patch mdep {name} --type merge "
            """-p '{"spec":{"strategy":{"allowSignatureChange":"{model}"}}}'"""
        ),
    )
    AnalysisExtended = "The held analysis was begun again.", _WATCH
    AnalysisFailed = "The analysis showed that the canary is worse than allowed.", _ACT % "unquarantine"
    PodNotStarted = "A server or router pod cannot start; the rollout waits and goes on by itself.", _PODS
    PodRefused = "The API server refuses a pod; the rollout waits and goes on by itself when it takes it.", _QUOTA
    PodForbidden = "The API server refuses a pod for what its namespace may not run.", _NAMESPACE
    ProgressDeadlineExceeded = (
        "The rollout has waited for pods for longer than strategy.progressDeadline; it still goes on by itself.",
        _PODS,
    )
    Retiring = "The pods of an earlier revision wait until every caller has left them.", _WATCH
    Settled = "There is nothing to do.", ""
    Promoted = "The canary became stable.", ""
    RolledBack = "The canary failed and its traffic went back to stable.", _LOOK
    Aborted = "A person stopped the canary.", _LOOK
    Superseded = "Another revision is wanted, so the canary gave way.", _WATCH
    Unquarantined = "A person lets a revision be rolled out again.", _WATCH
    DigestMismatch = "The bytes in the store are not those that were approved.", _ACT % "unquarantine"
    ModelNotLoadable = "The runtime cannot load the model.", _ACT % "unquarantine"
    GoldenSetMismatch = "The loaded model does not reproduce its golden set.", _ACT % "unquarantine"

    DriftDetected = (
        "The rows served differ from the rows trained on.",
        (
            "kubectl -n {namespace} patch mdep {name} --type merge "
            """-p '{"spec":{"actions":{"acknowledgeDrift":{"revision":"{revision}","evaluatedTime":"{time}"}}}}'"""
        ),
    )
    DriftAcknowledged = "A person ended a drift alarm; rows are counted anew.", _WATCH
    NoDrift = "The rows served look like the rows trained on.", ""
    InsufficientData = "Too few rows were served to say anything about drift.", _WATCH
    NothingServes = "Nothing serves yet, so there are no rows to watch.", _WATCH

    RetrainingStarted = "A TrainingRun was started.", _RUNS + " {run} --watch"
    WithinLimits = "No trigger asks for a run, or not yet.", ""
    RunStarted = "The run that this drift asks for was started.", "kubectl -n {namespace} get mtr,mmd"
    RolloutInProgress = "No run starts while a rollout is under way.", _WATCH
    TrainingRunMissing = (
        "The TrainingRun of spec.retraining.trainingRunRef does not exist.",
        _RUNS,
        "Create it, or name one that is there.",
    )
    DatasetMissing = (
        "The Dataset of the run to clone has no version to train on.",
        "kubectl -n {namespace} get mds {dataset}",
    )
    NoNewData = (
        "The Dataset has no version newer than the one the stable model was trained on.",
        "kubectl -n {namespace} get mds {dataset} --watch",
        "Upload new rows if you have not.",
    )
    AnotherModel = (
        "The TrainingRun of spec.retraining.trainingRunRef makes versions of a model that is not followed.",
        _RUNS,
        "Name a run that makes versions of the model that is followed.",
    )
    AlreadyTried = (
        "A run was started for this cause, and has ended.",
        "kubectl -n {namespace} describe mtr {run}",
    )
    CandidateWaiting = (
        "A newer version waits for approval; no run starts before it is approved or rejected.",
        "kubectl -n {namespace} describe mmd {model}",
    )
    ConcurrencyLimit = "As many runs are under way as limits.maxConcurrent allows.", _RUNS
    CoolingDown = "limits.cooldown has not passed since the last start, whether or not a trigger asks.", _RUNS
    DailyLimit = "limits.maxRunsPerDay were started within 24 hours, whether or not a trigger asks.", _RUNS
