"""What each kind does with a spec, told so that everything in the spec has its moment.

Two specs that are told alike are the same to the operator. Texts for people are left out: to print a field is not to
act on it.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import retention_worlds
import run_worlds
from deployment_stories import (
    ALLOWED,
    ASKED,
    BACKGROUND,
    CLONED,
    ENDED,
    FIRST,
    FOLLOWS,
    HELD,
    IN_PLACE,
    PASS,
    PATIENT,
    RETRAINING,
    STEPPED,
    UNJUDGED,
    drifting,
    retrained,
    rollout,
    unready,
    upgraded,
    watched,
)
from millrace import api
from millrace.api import resources
from millrace.api.base import Shape
from millrace.api.crds import kinds
from millrace.contract.erasure import of_list
from millrace.contract.task import ANNOTATION
from millrace.decide import dataset as datasets
from millrace.decide import deployment as deployments
from millrace.decide import model as models
from millrace.decide import training_run as training_runs
from millrace.observe import dataset as observe_dataset
from millrace.observe import deployment as observe_deployment
from millrace.observe import model as observe_model
from millrace.observe import training_run as observe_run
from millrace_kit.simulation import START
from observed_worlds import CURRENT, DATASET, cache, model_manifest, observed, one, sample

FOR_PEOPLE = frozenset({"message", "waitingFor", "waiting_for", "threshold", "lastVerdictReason", "annotations", "why"})


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
        kept = {name: plain(one, tasks=tasks) for name, one in value.items() if name not in FOR_PEOPLE}
        given = value.get("annotations")
        return kept | {"task": given[ANNOTATION]} if tasks and given and ANNOTATION in given else kept
    return [plain(one, tasks=tasks) for one in value] if isinstance(value, (list, tuple)) else value


# --- Dataset and TrainingRun


def looks_again(spec: dict[str, Any]) -> Any:
    """A Dataset that has a version, an hour later."""
    status = {
        "observedGeneration": 1, "current": CURRENT, "phase": "Ready", "lastCheckTime": "2026-11-21T07:00:00Z",
        "nextCheckTime": "2026-11-21T07:00:00Z",
    }  # fmt: skip
    return observed(observe_dataset.observe, datasets.decide, resources.DATASETS, "churn", status)(spec)


def waits_for_its_next_look(spec: dict[str, Any]) -> Any:
    """A Dataset whose source was read an instant ago: how long it is until the next look."""
    read = {"type": "Ingested", "status": "True", "reason": "Snapshotted", "lastTransitionTime": "2026-11-21T07:00:00Z"}
    status = {
        "observedGeneration": 1, "current": CURRENT, "phase": "Ready", "lastCheckTime": "2026-11-21T07:59:59Z",
        "conditions": [{**read, "observedGeneration": 1}],
    }  # fmt: skip
    return observed(observe_dataset.observe, datasets.decide, resources.DATASETS, "churn", status)(spec)


def trains(spec: dict[str, Any]) -> Any:
    """A run on a Dataset of which a version is there, frozen without those who were to be forgotten until then."""
    known = {"listDigest": FORGOTTEN, "carriedOut": FORGOTTEN}
    dataset = one(resources.DATASETS, "churn", spec, {"current": CURRENT, "erasure": known})
    run = one(resources.TRAINING_RUNS, "churn-gb", sample("training-run"))
    seen = asyncio.run(observe_run.observe(cache(run, dataset), "ml", "churn-gb"))
    return [training_runs.decide(seen).model_dump(mode="json")]  # type: ignore[arg-type]


FORGOTTEN = of_list("customer_id", sample("dataset")["erasure"]["ids"])


def keeps_some(spec: dict[str, Any]) -> Any:
    """A Dataset with more versions, runs and Models than it keeps: what it says, and what goes an hour later."""
    space = retention_worlds.Namespace()
    space.put(resources.DATASETS, "churn", {**spec, "format": "CSV", "schema": {}, "split": {}})
    space.settle_looks()
    space.freeze(14)
    for number in range(1, 15):
        automatic = {
            "approvalPolicy": {"required": 0},
            "status": {"conditions": [retention_worlds.is_true("Approved")]},
        }
        space.run(number, **(automatic if number % 2 else {}))
    for number in (21, 22, 23):
        space.run(number, on=14, ends="Failed")
    told = [space.pass_once().model_dump(mode="json")]
    space.now += timedelta(minutes=65)
    return [*told, space.pass_once().model_dump(mode="json")]


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
    found["metadata"]["creationTimestamp"] = START
    seen = asyncio.run(observe_model.observe(cache(found), "ml", "churn-7"))
    return [models.decide(seen).model_dump(mode="json")]  # type: ignore[arg-type]


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


WRITTEN = {
    "source": {"storageUri": "s3://lake/churn/"},
    "format": "CSV",
    "csv": {
        "delimiter": ";", "quote": '"', "nullValues": ["-", "none"], "decimal": ",", "encoding": "ISO-8859-1",
        "compression": "Gzip",
    },
}  # fmt: skip
"""A Dataset of CSV files, with all that may be said of them."""

STORIES: tuple[Story, ...] = (
    Story(
        kinds.DATASET, "a first look at CSV", WRITTEN,
        observed(observe_dataset.observe, datasets.decide, resources.DATASETS, "churn"),
    ),
    Story(
        kinds.DATASET, "a first look", sample("dataset"),
        observed(observe_dataset.observe, datasets.decide, resources.DATASETS, "churn"),
    ),
    Story(kinds.DATASET, "another look", sample("dataset"), looks_again),
    Story(kinds.DATASET, "the next look", sample("dataset"), waits_for_its_next_look),
    Story(kinds.DATASET, "a run that waits until somebody is forgotten", sample("dataset"), trains),
    Story(kinds.DATASET, "more than is kept", sample("dataset"), keeps_some),
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
    Story(
        kinds.TRAINING_RUN, "a run that has ended", sample("training-run"),
        observed(
            observe_run.observe, training_runs.decide, resources.TRAINING_RUNS, "churn-gb",
            {
                "jobName": "churn-gb-0a1b2c3d", "completionTime": "2025-12-31T23:00:00Z",
                "conditions": [retention_worlds.is_true("Complete", "ModelRegistered")],
            },
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
