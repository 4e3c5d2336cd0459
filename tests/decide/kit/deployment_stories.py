"""What becomes of a Deployment's spec: rollouts, images, drift and retraining, told pass by pass."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from millrace import api
from millrace.api import keys, resources
from millrace.decide import deployment as deployments
from millrace.decide.deployment import target
from millrace.decide.deployment.drift import Verdict
from millrace.decide.deployment.observation import RevisionDrift
from millrace.observe import deployment as observe_deployment
from millrace.observe.scrapes import Scrapes
from millrace.render import server
from millrace_kit.manifests import make_manifest
from millrace_kit.simulation import PLATFORM, START, SimulatedCluster, make_deployment, make_model
from observed_worlds import CURRENT, DATASET, cache, model_manifest, observed, one, sample


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


def watched(spec: dict[str, Any]) -> Any:
    """What the scrapes say of drift: rows come in, and differ a little from some moment on."""
    revision = "aaaaaaaa"
    status = {
        "stable": {
            "revision": revision, "model": "churn-1", "version": 1, "digest": f"sha256:{1:064x}", "weight": 100,
            "since": "2026-11-21T07:00:00Z",
        }
    }  # fmt: skip
    found = one(resources.DEPLOYMENTS, "churn", spec, status)
    labels = {keys.COMPONENT: "server", keys.DEPLOYMENT: "churn", keys.REVISION: revision}
    pod = make_manifest(
        resources.PODS, "s-0", namespace="ml", labels=labels,
        status={"podIP": "10.0.0.2", "containerStatuses": [{"state": {"running": {}}}]},
    )  # fmt: skip
    world = cache(found, pod)
    served = [0]

    async def fetch(host: str, port: int, path: str) -> str:
        served[0] += 40
        shifted = max(0, served[0] - 600)
        bins = (served[0] - shifted, int(0.6 * shifted), shifted - int(0.6 * shifted))
        rows = [f'millrace_feature_bin_total{{feature="x",bin="{i}"}} {count}' for i, count in enumerate(bins)]
        reference = [f'millrace_reference_bin{{feature="x",bin="{i}"}} {c}' for i, c in enumerate((9000, 900, 100))]
        return "\n".join([*rows, *reference])

    scrapes = Scrapes(world, fetch)

    async def watch() -> list[str]:
        told = []
        for _ in range(60):
            world.clock.advance(5.0)  # type: ignore[attr-defined]
            await scrapes.round()
            told.append(str(scrapes.scraped(api.Deployment.model_validate(found)).drift))
        return told

    return asyncio.run(watch())


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
ENDED = {
    **RETRAINING,
    "actions": {
        "acknowledgeDrift": {
            "revision": revision_of(RETRAINING, make_model("churn", 1)), "evaluatedTime": ALARM, "reason": "a campaign",
        }
    },
}  # fmt: skip


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
FIRST = observed(
    observe_deployment.observe, deployments.decide, resources.DEPLOYMENTS, "churn", {}, model_manifest(1), DATASET
)
