"""What each kind does with a spec, told so that everything in the spec has its moment.

Two specs that are told alike are the same to the operator. Texts for people are left out: to print a field is not to
act on it.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import run_worlds
from drift_story import watched
from millrace import api
from millrace.api import resources
from millrace.api.base import Shape
from millrace.api.crds import kinds
from millrace.contract import environment
from millrace.decide import dataset as datasets
from millrace.decide import deployment as deployments
from millrace.decide import model as models
from millrace.decide import training_run as training_runs
from millrace.decide.deployment import target
from millrace.decide.deployment.drift import Verdict
from millrace.decide.deployment.observation import RevisionDrift
from millrace.observe import dataset as observe_dataset
from millrace.observe import deployment as observe_deployment
from millrace.observe import model as observe_model
from millrace.observe import training_run as observe_run
from millrace.render import server
from millrace_kit.simulation import PLATFORM, START, SimulatedCluster, make_deployment, make_model
from one_pass import CURRENT, DATASET, cache, model_manifest, observed, one, sample

FOR_PEOPLE = frozenset({"message", "waitingFor", "waiting_for", "threshold", "lastVerdictReason", "annotations", "why"})
TASK = "<the task of a pod>"


@dataclass(frozen=True)
class Story:
    """A spec and what the operator does with it, or with another one in its place."""

    kind: kinds.Kind
    name: str
    spec: dict[str, Any]
    tell: Callable[[dict[str, Any]], Any]


def plain(value: Any, *, tasks: bool) -> Any:
    """Without what is only for people; without the tasks of pods too, unless they are asked for."""
    if isinstance(value, Shape):
        value = value.model_dump(mode="json")
    if isinstance(value, Mapping):
        if value.get("name") == environment.SPEC and not tasks:
            return TASK
        return {name: plain(one, tasks=tasks) for name, one in value.items() if name not in FOR_PEOPLE}
    return [plain(one, tasks=tasks) for one in value] if isinstance(value, (list, tuple)) else value


# --- Dataset and TrainingRun


def looks_again(spec: dict[str, Any]) -> Any:
    """A Dataset that has a version, an hour later."""
    status = {
        "observedGeneration": 1, "current": CURRENT, "phase": "Ready", "lastCheckTime": "2026-11-21T07:00:00Z",
        "nextCheckTime": "2026-11-21T07:00:00Z",
    }  # fmt: skip
    return observed(observe_dataset.observe, datasets.decide, resources.DATASETS, "churn", status)(spec)


def registers(auc: str) -> Callable[[dict[str, Any]], Any]:
    """A run whose candidate was measured beside a champion of 0.81, before and after its Model is made."""

    def tell(spec: dict[str, Any]) -> Any:
        found = run_worlds.make_run()
        run = found.model_copy(update={"spec": type(found.spec).model_validate(spec)})
        seen = run_worlds.after(run_worlds.world(run, dataset=run_worlds.make_dataset(), models=(run_worlds.CHAMPION,)))
        job = run_worlds.succeeded(seen, run_worlds.measured(auc, champion="0.81"))
        made = run_worlds.registered(5, model_name=run.spec.output.model_name)
        worlds = [seen.model_copy(update={"job": job, "models": one, "models_are_live": True}) for one in ((), (made,))]
        return [training_runs.decide(one).model_dump(mode="json") for one in worlds]

    return tell


MEASURED = {
    **sample("training-run"),
    "appliedBy": "flux",
    "evaluation": {
        "metrics": ["roc_auc"],
        "gates": [
            {"name": "floor", "metric": "roc_auc", "threshold": {"min": 0.8, "max": 0.99}},
            {"name": "ceiling", "metric": "roc_auc", "threshold": {"max": 0.99}},
            {"name": "not-worse", "metric": "roc_auc", "baseline": {"alias": "champion", "maxRegression": 0.005}},
            {"name": "better", "metric": "roc_auc", "baseline": {"minImprovement": 0.005}},
        ],
    },
}

NOT_WORSE = {**MEASURED, "evaluation": {"metrics": ["roc_auc"], "gates": [MEASURED["evaluation"]["gates"][2]]}}

# --- Deployment


def rollout(**answers: float) -> Callable[[dict[str, Any]], Any]:
    """churn-1 serves, churn-2 is tried; `requests` reach it in each pass and are answered so."""

    def tell(spec: dict[str, Any]) -> Any:
        requests, passes = int(answers.get("requests", 60)), int(answers.get("passes", 45))
        more = {name: value for name, value in answers.items() if name not in ("requests", "passes", "inputs")}
        cluster = SimulatedCluster(deployment=make_deployment(spec))
        cluster.add(make_model("churn", 1))
        told = []
        for number in range(passes):
            if number == 6:
                cluster.add(make_model("churn", 2, inputs=int(answers.get("inputs", 2))))
            cluster.kubelet()
            cluster.sync()
            cluster.scrape()
            told.append(cluster.pass_once().model_dump(mode="json"))
            cluster.serve(requests, **more)
            cluster.tick(10.0)
        return told

    return tell


def upgraded(spec: dict[str, Any]) -> Any:
    """churn-1 serves, and then there is a newer image."""
    cluster = SimulatedCluster(deployment=make_deployment(spec))
    cluster.add(make_model("churn", 1))
    cluster.settle(6)
    cluster.platform = PLATFORM.model_copy(update={"server_image": "millrace/server:newer"})
    told = []
    for _ in range(6):
        told.append(cluster.pass_once().model_dump(mode="json"))
        cluster.settle(1)
    return told


def unready(spec: dict[str, Any]) -> Any:
    """churn-1 serves, and the servers of churn-2 do not get ready."""
    cluster = SimulatedCluster(deployment=make_deployment(spec))
    cluster.add(make_model("churn", 1))
    cluster.settle(6)
    cluster.add(make_model("churn", 2))
    cluster.slow.add(f"sha256:{2:064x}")
    told = []
    for _ in range(14):
        told.append(cluster.pass_once().model_dump(mode="json"))
        cluster.settle(1, seconds=60.0)
    return told


def retrained(over: bool) -> Callable[[dict[str, Any]], Any]:
    """churn-1 drifts; every two minutes there is another version to train on. Runs end at once, or never."""

    def tell(spec: dict[str, Any]) -> Any:
        cluster = SimulatedCluster(deployment=make_deployment(spec))
        trained = {"name": "churn", "version": 1, "digest": f"sha256:{1:064x}"}
        cluster.add(make_model("churn", 1, dataset=trained))
        cluster.run = api.TrainingRun.model_validate(
            {"metadata": {"name": "churn-gb", "namespace": "ml"}, "spec": sample("training-run")}
        )
        told = []
        for number in range(40):
            version = 2 + number // 8
            current = {**CURRENT, "version": version, "digest": f"sha256:{version:064x}", "createdTime": cluster.now}
            cluster.dataset = api.Dataset.model_validate({**DATASET, "status": {"current": current}})
            if number == 5 and cluster.status.stable is not None:
                verdict = Verdict("Drifted", 0.31, 0.2, "tenure", 1200, 0.4)
                cluster.drift = RevisionDrift(revision=cluster.status.stable.revision, verdict=verdict)
            cluster.kubelet()
            cluster.sync()
            cluster.scrape()
            told.append(cluster.pass_once().model_dump(mode="json"))
            if over:
                done = {"type": "Failed", "status": "True", "reason": "x", "lastTransitionTime": START}
                ended = api.TrainingRunStatus.model_validate({"conditions": [done]})
                cluster.runs = [run.model_copy(update={"status": ended}) for run in cluster.runs]
            cluster.tick(15.0)
        return told

    return tell


ERRORS = {
    "name": "errors",
    "builtin": "ErrorRate",
    "thresholdRange": {"max": 0.05},
    "minSamples": 300,
    "confidence": 0.9,
}
BESIDE = {
    "name": "beside",
    "builtin": "ErrorRate",
    "compare": {"maxIncrease": 0.05},
    "minSamples": 300,
    "confidence": 0.9,
}
SLOW = {"name": "slow", "builtin": "LatencyP95", "thresholdRange": {"max": 0.5}, "minSamples": 300, "confidence": 0.9}
FOLLOWS = {"modelSelector": {"modelName": "churn", "policy": "LatestApproved"}}
ANALYSIS = {"metrics": [ERRORS, BESIDE, SLOW], "maxDuration": "3m"}
SERVED = {
    "resources": {"requests": {"cpu": "250m"}, "limits": {"memory": "512Mi"}},
    "terminationGracePeriodSeconds": 90,
}


def canary(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**FOLLOWS, "replicas": 2, "server": SERVED, "strategy": {"canary": {"steps": list(steps), **more}}}


STEPPED = canary(
    {"setWeight": 30}, {"pause": {"duration": "40s"}}, {"analysis": ANALYSIS}, disableDefaults=["ErrorRate"]
)
BACKGROUND = canary({"setWeight": 30}, analysis=ANALYSIS)
UNJUDGED = canary({"setWeight": 30}, disableDefaults=["ErrorRate"])
IN_PLACE = {**FOLLOWS, "server": {**SERVED, "upgradePolicy": "Rolling"}}
PATIENT = {**FOLLOWS, "strategy": {"progressDeadline": "5m"}}
ALLOWED = {**FOLLOWS, "strategy": {"allowSignatureChange": "churn-2"}}
HELD = canary({"setWeight": 30}, {"pause": {"duration": "2m"}}, disableDefaults=["ErrorRate"])


def revision_of(spec: dict[str, Any], model: api.Model) -> str:
    """What the model is called under the server template of a Deployment's spec."""
    cluster = SimulatedCluster(deployment=make_deployment(spec))
    return server.bundle(model, target.template(cluster.observe())).revision


ASKED = {"revision": revision_of(HELD, make_model("churn", 2)), "reason": "because"}
RETRAINING = {
    **FOLLOWS,
    "monitoring": {"drift": {"interval": "30s", "minSamples": 700, "falseAlarmRate": 0.01, "margin": 0.05}},
    "retraining": {
        "trainingRunRef": {"name": "churn-gb"},
        "triggers": [{"name": "drifted", "drift": {"for": "60s"}}],
        "limits": {"cooldown": "60s", "maxRunsPerDay": 2, "maxConcurrent": 1},
    },
}


ALARM = "2025-12-20T07:00:00Z"


def drifting(model: api.Model) -> dict[str, Any]:
    """The status of a Deployment of the spec `RETRAINING` that serves the model, which has drifted for a day."""
    revision, spec = revision_of(RETRAINING, model), model.spec
    stable = {"revision": revision, "model": model.metadata.name, "version": int(spec.version), "weight": 100}
    since = {"digest": spec.artifact.digest, "since": "2025-12-20T07:00:00Z"}
    drift = {"type": "DriftDetected", "status": "True", "reason": "DriftDetected", "message": ""}
    return {
        "stable": {**stable, **since},
        "conditions": [{**drift, "lastTransitionTime": "2025-12-20T07:00:00Z"}],
        "monitoring": {"drift": {"state": "Drifted", "revision": revision, "samples": 5000, "evaluatedTime": ALARM}},
    }


CLONED = one(resources.TRAINING_RUNS, "churn-gb", sample("training-run"))
PASS = observed(
    observe_deployment.observe, deployments.decide, resources.DEPLOYMENTS, "churn",
    drifting(make_model("churn", 1)), model_manifest(1), CLONED,
    DATASET,
)  # fmt: skip
ENDED = {
    **RETRAINING,
    "actions": {
        "acknowledgeDrift": {
            "revision": revision_of(RETRAINING, make_model("churn", 1)), "evaluatedTime": ALARM, "reason": "a campaign",
        }
    },
}  # fmt: skip
FIRST = observed(
    observe_deployment.observe, deployments.decide, resources.DEPLOYMENTS, "churn", {}, model_manifest(1), DATASET
)

# --- Model


def served(spec: dict[str, Any]) -> Any:
    """A Deployment that follows it, with an earlier version stable: what becomes of it there, and of a retraining."""
    made = model_manifest(1, name=str(spec["modelName"]))
    made["metadata"]["name"] = "churn-7"
    status = {"conditions": [{"type": "Approved", "status": "True", "reason": "x", "lastTransitionTime": START}]}
    found = {**made, "spec": spec, "status": api.ModelStatus.model_validate(status).wire()}
    deployment = one(resources.DEPLOYMENTS, "churn", FOLLOWS)
    after = one(resources.DEPLOYMENTS, "churn", RETRAINING, drifting(api.Model.model_validate(found)))
    told = []
    for manifest in (deployment, after):
        world = cache(manifest, found, CLONED, DATASET)
        seen = asyncio.run(observe_deployment.observe(world, "ml", "churn"))
        told.append(deployments.decide(seen).model_dump(mode="json"))  # type: ignore[arg-type]
    return told


def voted(spec: dict[str, Any]) -> Any:
    found = one(resources.MODELS, "churn-7", spec)
    seen = asyncio.run(observe_model.observe(cache(found), "ml", "churn-7"))
    assert seen is not None
    checked = {"policy_in_force": True, "policy_epoch": "untouched", "admitted": True}
    return [models.decide(seen.model_copy(update=checked)).model_dump(mode="json")]


AUTHOR, APPLIER = (sample("model")["provenance"][name] for name in ("author", "appliedBy"))
VOTED = {
    **sample("model"),
    "approvals": [
        {"user": AUTHOR, "decision": "Approve", "digest": sample("model")["artifact"]["digest"]},
        {"user": APPLIER, "decision": "Approve", "digest": sample("model")["artifact"]["digest"]},
        {"user": "bob", "decision": "Approve", "digest": sample("model")["artifact"]["digest"], "comment": "yes",
         "time": "2026-11-20T09:00:00Z"},
    ],
}  # fmt: skip


OLDER = copy.deepcopy(VOTED)
OLDER["provenance"]["dataset"]["version"] = 1


def _with(base: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**copy.deepcopy(base), **more}


STORIES: tuple[Story, ...] = (
    Story(
        kinds.DATASET, "a first look", sample("dataset"),
        observed(observe_dataset.observe, datasets.decide, resources.DATASETS, "churn"),
    ),
    Story(kinds.DATASET, "another look", sample("dataset"), looks_again),
    Story(
        kinds.TRAINING_RUN, "a new run", sample("training-run"),
        observed(observe_run.observe, training_runs.decide, resources.TRAINING_RUNS, "churn-gb", {}, DATASET),
    ),
    Story(
        kinds.TRAINING_RUN, "a run that is resolved", sample("training-run"),
        observed(
            observe_run.observe, training_runs.decide, resources.TRAINING_RUNS, "churn-gb",
            {"resolved": {"dataset": {"name": "churn", "version": 3, "digest": run_worlds.A}, "datasetUri": "s3://millrace/d/"}},
        ),
    ),
    Story(kinds.TRAINING_RUN, "a better candidate", MEASURED, registers("0.82")),
    Story(kinds.TRAINING_RUN, "a candidate that is a little worse", NOT_WORSE, registers("0.808")),
    Story(kinds.MODEL, "votes", VOTED, voted),
    Story(kinds.MODEL, "served", VOTED, served),
    Story(kinds.MODEL, "served, with newer data to train on", OLDER, served),
    Story(kinds.DEPLOYMENT, "a pinned model", {"modelRef": {"name": "churn-1"}}, FIRST),
    Story(kinds.DEPLOYMENT, "one pass", RETRAINING, PASS),
    Story(kinds.DEPLOYMENT, "an alarm that a person ends", ENDED, PASS),
    Story(kinds.DEPLOYMENT, "an analysis step, some errors", STEPPED, rollout(errors=0.02, slow=0.02)),
    Story(kinds.DEPLOYMENT, "an analysis step, many errors", STEPPED, rollout(errors=0.08, slow=0.08, refused=0.01)),
    Story(kinds.DEPLOYMENT, "an analysis step that nobody calls", STEPPED, rollout(requests=0)),
    Story(kinds.DEPLOYMENT, "a background, some errors", BACKGROUND, rollout(errors=0.02, slow=0.02)),
    Story(kinds.DEPLOYMENT, "a background, many errors", BACKGROUND, rollout(errors=0.08, slow=0.08)),
    Story(kinds.DEPLOYMENT, "a background that nobody calls", BACKGROUND, rollout(requests=0)),
    Story(kinds.DEPLOYMENT, "unjudged", UNJUDGED, rollout(requests=0)),
    Story(kinds.DEPLOYMENT, "other inputs", ALLOWED, rollout(inputs=11)),
    Story(kinds.DEPLOYMENT, "stopped", _with(HELD, actions={"abort": ASKED}), rollout(passes=15)),
    Story(
        kinds.DEPLOYMENT, "stopped and tried again", _with(HELD, actions={"abort": ASKED, "retry": ASKED}),
        rollout(passes=30),
    ),
    Story(
        kinds.DEPLOYMENT, "stopped and let go", _with(HELD, actions={"abort": ASKED, "unquarantine": ASKED}),
        rollout(passes=30),
    ),
    Story(kinds.DEPLOYMENT, "a newer image", IN_PLACE, upgraded),
    Story(kinds.DEPLOYMENT, "servers that do not get ready", PATIENT, unready),
    Story(kinds.DEPLOYMENT, "watched", RETRAINING, watched),
    Story(kinds.DEPLOYMENT, "retrained, runs end", RETRAINING, retrained(over=True)),
    Story(kinds.DEPLOYMENT, "retrained, runs do not end", RETRAINING, retrained(over=False)),
)  # fmt: skip
