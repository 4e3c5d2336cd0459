"""TrainingRun: one attempt, from a frozen Dataset version to a Model or a named failure.

    waiting ──▶ resolved ──▶ Job: fetch → train → evaluate ──▶ gates ──▶ Model ──▶ Complete
       │            │                     │                      │
       └ Dataset    └ status first,       └──────────────────────┴──▶ Failed, with its reason
                      then the Job

What the run depends on is pinned in status.resolved before the Job exists, and the Job is made of that alone. The Model
is POSTed first and the status says Complete once a live LIST shows it, by the run's UID on it. Should the pod or the
Job, and with them the report, vanish between the two, the Model still ends the run. A run that ended never moves again;
its Job goes after a while (`leftovers`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from millrace.api import conditions
from millrace.api.base import Frozen
from millrace.api.conditions import Mark
from millrace.api.dataset import Dataset
from millrace.api.model import Admission, DatasetVersionRef
from millrace.api.reasons.pipeline import TrainingRunReason as Reason
from millrace.api.refs import NameRef
from millrace.api.training_run import ChampionRef, Metric, Resolved, TrainingRun, TrainingRunStatus
from millrace.decide import status
from millrace.decide.job import Job, is_forbidden
from millrace.decide.plan import Plan
from millrace.decide.status import Kstatus
from millrace.decide.training_run import attempt, gates, leftovers
from millrace.decide.training_run.attempt import Evaluated, Failure
from millrace.render import candidate, erasure, names, training_job
from millrace.render.pod import Platform

COMPLETE, FAILED, GATES_PASSED = "Complete", "Failed", "GatesPassed"
CHAMPION = "champion"
POLICY_UNKNOWN_SECONDS = 5.0
SOON_SECONDS = 1.0
"""The event of our own write comes first; this is for when it is lost."""
LONGEST_NAME = 52
LARGEST_VERSION = 999_999_999
NORMAL = frozenset(
    {Reason.ModelRegistered.name, Reason.DatasetNotReady.name, Reason.DatasetErasing.name, *attempt.STAGES.values()}
)


class ModelView(Frozen):
    """A Model as far as runs care. `version` is 0 where it is no number."""

    name: str
    model_name: str
    version: int = 0
    digest: str = ""
    storage_uri: str = ""
    aliases: tuple[str, ...] = ()
    run_uid: str = ""


class Observation(Frozen):
    """What a decision about a TrainingRun depends on.

    `models` are those of the namespace; `models_are_live` says that they were listed at the API server in this very
    pass, without which nothing is registered.
    """

    now: datetime
    steady_since: datetime | None = None
    """Since when the time of day has gone on without a step, as this process saw it."""
    run: TrainingRun
    dataset: Dataset | None = None
    job: Job | None = None
    models: tuple[ModelView, ...] = ()
    models_are_live: bool = False
    platform: Platform
    admitted: bool | None = True
    """Whether the admission policies were in force when the run was created; None while nobody knows."""


def decide(seen: Observation) -> Plan:
    """One pass. Total: never raises."""
    run, known = seen.run, seen.run.status
    if run.metadata.deletion_timestamp is not None:
        return Plan()
    if is_over(run):
        return leftovers.clear(run, seen.job, seen.now)
    if candidate.reference(run.metadata.name) is None or len(run.metadata.name) > LONGEST_NAME:
        return _fail(seen, known, Failure(reason=Reason.NameNotUsable.name))
    if known.resolved is None:
        return _resolve(seen)
    if seen.job is None:
        return _made(seen) or _run(seen, known.resolved)
    return _end(seen, seen.job, known.resolved) if seen.job.is_finished else _run(seen, known.resolved)


def is_over(run: TrainingRun) -> bool:
    """It is complete or has failed, for good."""
    return any(conditions.is_true(run.status.conditions, kind) for kind in (COMPLETE, FAILED))


def _resolve(seen: Observation) -> Plan:
    """Pin what the run depends on; the Job comes in the next pass, so that a crash between changes nothing."""
    run, dataset = seen.run, seen.dataset
    current = dataset.status.current if dataset is not None else None
    if dataset is None or current is None or not erasure.is_carried_out(dataset):
        return _wait(seen, dataset)
    resolved = Resolved(
        dataset=DatasetVersionRef(name=dataset.metadata.name, version=current.version, digest=current.digest),
        dataset_uri=current.uri,
        champion=_champion(seen),
    )
    after = run.status.model_copy(
        update={
            "resolved": resolved,
            "start_time": seen.now,
            "attempts": 1,
            "job_name": names.training_job(run.metadata.name, run.metadata.uid),
            "stage": attempt.FETCHING,
            "stage_start_time": seen.now,
        }
    )
    return _going_on(seen, after).model_copy(update={"wake_after": SOON_SECONDS})


def _wait(seen: Observation, dataset: Dataset | None) -> Plan:
    """Nothing to train on yet. A Dataset that is stalled waits for a person, and so does one that nobody makes."""
    wanted = seen.run.spec.dataset_ref.name
    if dataset is not None and dataset.status.current is not None:
        reason, why = Reason.DatasetErasing, f"Dataset {wanted} has Ids to forget that its current version may hold"
        is_stalled, left = conditions.is_true(dataset.status.conditions, conditions.STALLED), None
    elif dataset is not None:
        said = (dataset.status.message or "").partition(status.NEXT)[0]
        reason, why = (
            Reason.DatasetNotReady,
            f"Dataset {wanted} has no frozen version yet{f'. It says: {said}' if said else ''}",
        )
        is_stalled, left = conditions.is_true(dataset.status.conditions, conditions.STALLED), None
    else:
        reason, why = Reason.DatasetNotFound, f"Dataset {wanted} does not exist yet; the run starts when it is there"
        since = min(seen.run.metadata.creation_timestamp or seen.now, seen.now)
        known = seen.run.status.conditions
        due = status.stalled_from(known, reason, since, seen.steady_since, status.PATIENCE_SECONDS)
        is_stalled = seen.now >= due
        left = None if is_stalled else (due - seen.now).total_seconds()
    kstatus = Kstatus(
        ready=False,
        progress="Stalled" if is_stalled else "Reconciling",
        reason=reason.name,
        message=_text(seen, reason, why),
    )
    return _plan(seen, seen.run.status, kstatus, phase="Waiting").model_copy(update={"wake_after": left})


def _champion(seen: Observation) -> ChampionRef | None:
    """The registered model's version that serves; the newest, should several Deployments serve different ones."""
    serving = [
        model
        for model in seen.models
        if model.model_name == seen.run.spec.output.model_name and CHAMPION in model.aliases and model.version > 0
    ]
    best = max(serving, key=lambda model: (model.version, model.name), default=None)
    return candidate.champion(best.name, best.digest, best.storage_uri) if best is not None else None


def _run(seen: Observation, resolved: Resolved) -> Plan:
    """The Job should exist; report its stage."""
    known, job = seen.run.status, seen.job
    name = known.job_name or names.training_job(seen.run.metadata.name, seen.run.metadata.uid)
    after = known.model_copy(update={"job_name": name})
    if job is not None:
        stage = attempt.stage(job) or known.stage or attempt.FETCHING
        attempts = attempt.count(job)
        moved = stage != known.stage or attempts != known.attempts
        since = seen.now if moved else known.stage_start_time
        after = after.model_copy(update={"stage": stage, "stage_start_time": since, "attempts": attempts})
    plan = _going_on(seen, after)
    if job is not None and not job.is_going:
        return plan.model_copy(update={"wake_after": job.look_again(seen.now)})
    return plan.model_copy(update={"children": (training_job.render(seen.run, resolved, name, seen.platform),)})


def _going_on(seen: Observation, after: TrainingRunStatus) -> Plan:
    stage = after.stage or attempt.FETCHING
    waits = attempt.held_up(seen.job) if seen.job is not None else None
    reason, why = waits or (Reason[stage], f"Attempt {after.attempts or 1}: {_doing(after)}")
    text = _text(seen, reason, why, job=after.job_name or "")
    kstatus = Kstatus(ready=False, progress="Reconciling", reason=reason.name, message=text)
    return _plan(seen, after, kstatus, phase=stage)


def _doing(after: TrainingRunStatus) -> str:
    stage = after.stage or attempt.FETCHING
    data = "the Dataset"
    if after.resolved is not None:
        data = f"version {after.resolved.dataset.version} of Dataset {after.resolved.dataset.name}"
    return {
        attempt.FETCHING: f"the rows of {data} are being fetched",
        "Training": f"the trainer runs on the train rows of {data}",
        "Evaluating": f"the model is being measured on the test rows of {data}",
    }.get(stage, stage)


def _end(seen: Observation, job: Job, resolved: Resolved) -> Plan:
    known = seen.run.status
    ending = attempt.ending(job, known, seen.run.spec.active_deadline_seconds)
    after = known.model_copy(update={"attempts": attempt.count(job), "stage": attempt.last_stage(ending, known)})
    if isinstance(ending, Evaluated):
        return _judge(seen, after, resolved, ending)
    is_lost = job.state == "Succeeded" and ending.reason == Reason.PodLost.name
    return (_made(seen) if is_lost else None) or _fail(seen, after, ending)


def _judge(seen: Observation, known: TrainingRunStatus, resolved: Resolved, evaluated: Evaluated) -> Plan:
    """The model is measured: gates, then the Model, then Complete."""
    champion = resolved.champion.name if resolved.champion is not None else None
    results = gates.evaluate(seen.run.spec.evaluation, evaluated.metrics, evaluated.champion_metrics, champion)
    after = known.model_copy(
        update={
            "candidate": evaluated.candidate,
            "metrics": evaluated.metrics,
            "champion_metrics": evaluated.champion_metrics,
            "gates": results,
        }
    )
    if not all(result.passed for result in results):
        failed = gates.summary(results)
        return _fail(
            seen,
            after,
            Failure(reason=Reason.GatesFailed.name, why=f"No Model was made: {failed}"),
            gates_failed=failed,
        )
    return _register(seen, after, resolved, evaluated)


def _register(seen: Observation, after: TrainingRunStatus, resolved: Resolved, evaluated: Evaluated) -> Plan:
    """POST the next version, or find that it is there. Counting needs a live LIST; a taken number is counted again."""
    run = seen.run
    if not seen.models_are_live:
        return Plan(wake_after=SOON_SECONDS)
    own = next((model for model in seen.models if _is_own(model, run, evaluated)), None)
    if own is not None:
        return _complete(seen, after, own.name)
    admission = _admission(seen)
    if admission == "Unknown":
        return _passed(seen, after)
    version = 1 + max((_taken(model, run.spec.output.model_name) for model in seen.models), default=0)
    manifest = candidate.render(run, resolved, evaluated.candidate, version, is_checked=admission == "Checked")
    return Plan(creates=(manifest,), wake_after=SOON_SECONDS)


def _passed(seen: Observation, after: TrainingRunStatus) -> Plan:
    """Everything is there but the answer to who may have written the run."""
    reason, held = Reason.PolicyUnknown, gates.holding(after.gates)
    text = _text(seen, reason, "")
    kstatus = Kstatus(ready=False, progress="Reconciling", reason=reason.name, message=text)
    marks = (status.mark(GATES_PASSED, True, Reason.AllPassed, held),)
    plan = _plan(seen, after, kstatus, phase="Evaluating", marks=marks)
    return plan.model_copy(update={"wake_after": POLICY_UNKNOWN_SECONDS})


def is_admission_settled(run: TrainingRun) -> bool:
    """Whether it is known if author and approval policy were checked when the run was created.

    It is settled at the first pass that can tell: later the policies may be others. An operator that did not ask has
    pinned what the run depends on and said nothing.
    """
    known = run.status
    return known.admission in ("Checked", "Unchecked") or (known.admission is None and known.resolved is not None)


def _admission(seen: Observation) -> Admission:
    if is_admission_settled(seen.run):
        return seen.run.status.admission or "Checked"
    return "Unknown" if seen.admitted is None else "Checked" if seen.admitted else "Unchecked"


def _is_own(model: ModelView, run: TrainingRun, evaluated: Evaluated) -> bool:
    """The Model this run made, and not one that only carries its label."""
    return _is_labelled(model, run) and model.digest == evaluated.candidate.artifact.digest


def _is_labelled(model: ModelView, run: TrainingRun) -> bool:
    uid = run.metadata.uid
    return bool(uid) and model.run_uid == uid and candidate.reference(model.name) is not None


def _made(seen: Observation) -> Plan | None:
    """Complete, if the Model exists although the report is gone and with it the file's digest. Training again would
    make a second Model, and write other bytes over the file of the first. In place of the digest counts that the file
    is in the run's own folder.
    """
    run = seen.run
    for model in sorted(seen.models, key=lambda model: (model.version, model.name)):
        is_here = model.model_name == run.spec.output.model_name and f"/{run.metadata.uid}/" in model.storage_uri
        if is_here and _is_labelled(model, run):
            return _complete(seen, run.status, model.name)
    return None


def _taken(model: ModelView, model_name: str) -> int:
    """The version number this Model takes: its own, and whatever its name looks like."""
    number = model.name.removeprefix(f"{model_name}-")
    by_name = int(number) if number != model.name and number.isascii() and number.isdigit() and len(number) <= 9 else 0
    found = max(by_name, model.version if model.model_name == model_name else 0)
    return found if found < LARGEST_VERSION else 0


def _complete(seen: Observation, after: TrainingRunStatus, model: str) -> Plan:
    measured = _measured(after) or "its numbers went with the run's pod; they are on its card"
    text = _text(
        seen, Reason.ModelRegistered, f"The run succeeded: Model {model} is registered ({measured})", model=model
    )
    kstatus = Kstatus(ready=True, progress="Settled", reason=Reason.ModelRegistered.name, message=text)
    done = after.model_copy(
        update={"model_ref": NameRef(name=model), "completion_time": seen.now, "stage": None, "stage_start_time": None}
    )
    count = len(seen.run.spec.evaluation.gates)
    held = gates.holding(after.gates) if after.gates else f"{count} of {count} gates hold."
    marks = (
        status.mark(COMPLETE, True, Reason.ModelRegistered, text),
        status.mark(GATES_PASSED, True, Reason.AllPassed, held),
    )
    return _plan(seen, done, kstatus, phase="Succeeded", marks=marks)


def _measured(after: TrainingRunStatus) -> str:
    """The model's numbers, and those of the champion, which was measured on the same rows."""
    numbers = _listed(after.metrics)
    if not numbers or not after.champion_metrics or after.resolved is None or after.resolved.champion is None:
        return numbers
    measured = {metric.name for metric in after.metrics}
    theirs = _listed(metric for metric in after.champion_metrics if metric.name in measured)
    return (
        f"{numbers}; champion {after.resolved.champion.name} on the same test rows, "
        f"those of version {after.resolved.dataset.version}: {theirs}"
    )


def _listed(metrics: Iterable[Metric]) -> str:
    return ", ".join(f"{metric.name} {metric.value}" for metric in metrics)


def _fail(seen: Observation, after: TrainingRunStatus, failure: Failure, gates_failed: str = "") -> Plan:
    found = status.named(Reason, failure.reason)
    text = status.message(found, failure.why, **_whom(seen, job=after.job_name or "", container=failure.container))
    kstatus = Kstatus(ready=False, progress="Stalled", reason=failure.reason, message=text)
    done = after.model_copy(update={"completion_time": seen.now})
    marks = [status.mark(FAILED, True, failure.reason, text), status.mark(COMPLETE, False, failure.reason, text)]
    if gates_failed:
        marks.append(status.mark(GATES_PASSED, False, Reason.GatesFailed, gates_failed))
    return _plan(seen, done, kstatus, phase="Failed", marks=tuple(marks))


def _text(seen: Observation, reason: Reason, why: str, **more: str) -> str:
    step = Reason.PodForbidden if reason is Reason.PodRefused and is_forbidden(why) else None
    return status.message(reason, why, step, **_whom(seen, **more))


def _whom(seen: Observation, **more: str) -> dict[str, str]:
    run = seen.run
    fields = {"dataset": run.spec.dataset_ref.name, "container": training_job.EVALUATE}
    return {**fields, **more, "namespace": run.metadata.namespace, "name": run.metadata.name}


_USUAL: Mapping[str, Mark] = {
    COMPLETE: status.mark(COMPLETE, False, Reason.NotComplete, Reason.NotComplete.sentence),
    FAILED: status.mark(FAILED, False, Reason.NotFailed, Reason.NotFailed.sentence),
    GATES_PASSED: status.mark(GATES_PASSED, None, Reason.NotEvaluated, Reason.NotEvaluated.sentence),
}


def _plan(
    seen: Observation, after: TrainingRunStatus, kstatus: Kstatus, *, phase: str, marks: tuple[Mark, ...] = ()
) -> Plan:
    run = seen.run
    stated = {**_USUAL, **{mark.type: mark for mark in marks}}
    every = (*kstatus.marks(), *stated.values())
    update: dict[str, Any] = {
        "observed_generation": run.metadata.generation,
        "admission": _admission(seen),
        "phase": phase,
        "message": kstatus.message,
        "conditions": conditions.merge(run.status.conditions, every, seen.now, run.metadata.generation),
    }
    events = status.transitions(run.status.conditions, kstatus.marks(), NORMAL, conditions.READY)
    return Plan(status=after.model_copy(update=update).wire(), events=tuple(events))
