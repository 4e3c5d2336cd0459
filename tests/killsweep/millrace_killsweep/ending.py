"""Where a story ended: read from the cluster, held against what must be, and against another ending."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from millrace_demo.kubectl import Kubectl, Manifest, is_true

_HASH = re.compile(r"-[0-9a-f]{8}\b")


@dataclass(frozen=True)
class Ending:
    """The objects that are left."""

    dataset: Manifest
    runs: list[Manifest]
    models: list[Manifest]
    deployment: Manifest
    jobs: list[Manifest]
    pods: list[Manifest]
    workloads: list[Manifest]
    services: list[Manifest]

    def facts(self) -> dict[str, Any]:
        """What two tellings of the same story must agree on: names without hashes, digests, weights, verdicts."""
        status = self.deployment["status"]
        return {
            "dataset versions": [
                (one["version"], one["rows"], one["digest"])
                for one in sorted(self.dataset["status"]["versions"], key=lambda one: one["version"])
            ],
            "runs": sorted((_bare(run), "complete" if is_true(run, "Complete") else "not") for run in self.runs),
            "models": sorted(
                (_bare(model), model["spec"]["artifact"]["digest"], is_true(model, "Approved")) for model in self.models
            ),
            "champion": [_bare(one) for one in self.models if "champion" in one["status"].get("aliases", [])],
            "stable": (status["stable"]["model"], status["stable"]["digest"], status["stable"]["weight"]),
            "canary": status.get("canary"),
            "quarantined": status.get("quarantined", []),
            "history": [(one["model"], one["outcome"]) for one in status.get("history", [])],
            "training jobs": sorted(_bare(job) for job in self.jobs if _label(job, "component") == "training"),
            "workloads": sorted(_bare(one) for one in self.workloads),
            "services": sorted(_bare(one) for one in self.services),
        }


def read(kubectl: Kubectl, name: str) -> Ending:
    """Everything that the story of `name` made."""
    dataset, deployment = kubectl.get("mds", name), kubectl.get("mdep", name)
    if dataset is None or deployment is None:
        raise RuntimeError(f"Dataset or Deployment {name} is gone")
    return Ending(
        dataset=dataset,
        runs=kubectl.list("mtr"),
        models=kubectl.list("mmd", f"millrace.dev/model-name={name}"),
        deployment=deployment,
        jobs=kubectl.list("jobs"),
        pods=kubectl.list("pods"),
        workloads=kubectl.list("deployments.apps", f"millrace.dev/deployment={name}"),
        services=kubectl.list("services", f"millrace.dev/deployment={name}"),
    )


def findings(end: Ending, made: Counter[str], name: str) -> list[str]:
    """What is not as it must be. `made` counts the effective creations of each Job, by name."""
    return [*_loop(end, name), *_serving(end, name), *_jobs(end, made)]


def _loop(end: Ending, name: str) -> Iterator[str]:
    clones = [run for run in end.runs if run["metadata"].get("labels", {}).get("millrace.dev/trigger")]
    if len(clones) != 1 or len(end.runs) != 2:
        yield f"{len(clones)} clones among {len(end.runs)} runs, not 1 among 2"
    names = [model["metadata"]["name"] for model in end.models]
    if names != [f"{name}-1", f"{name}-2"]:
        yield f"the models are {names}, not {name}-1 and {name}-2"
    versions = [one["version"] for one in end.dataset["status"]["versions"]]
    if sorted(versions) != [1, 2]:
        yield f"the dataset's versions are {versions}, not 1 and 2"
    for run, model in zip(end.runs, end.models, strict=False):
        made, artifact = run["status"].get("modelRef", {}).get("name"), model["spec"]["artifact"]
        if made != model["metadata"]["name"]:
            yield f"TrainingRun {run['metadata']['name']} says it made {made}, not {model['metadata']['name']}"
        uid = run["metadata"]["uid"]
        if uid not in artifact["storageUri"]:
            yield f"the file of {model['metadata']['name']} is {artifact['storageUri']}, not of run {uid}"


def _serving(end: Ending, name: str) -> Iterator[str]:
    status = end.deployment["status"]
    stable = status["stable"]
    digests = {model["metadata"]["name"]: model["spec"]["artifact"]["digest"] for model in end.models}
    if (stable["model"], stable["weight"]) != (f"{name}-2", 100):
        yield f"stable is {stable['model']} at {stable['weight']} %, not {name}-2 at 100 %"
    for one in (stable, *status.get("history", [])):
        if one["digest"] != digests.get(one["model"]):
            yield f"the status says that {one['model']} is {one['digest']}, the Model says {digests.get(one['model'])}"
    for role in ("canary", "retiring", "quarantined"):
        if status.get(role):
            yield f"{role} is left over: {status[role]}"
    for what, found in (("workloads", end.workloads), ("services", end.services), ("pods", end.pods)):
        servers = {_label(one, "revision") for one in found if _label(one, "component") == "server"}
        if servers != {stable["revision"]}:
            yield f"{what} of revisions {sorted(servers)} are there, not of {stable['revision']} alone"


def _jobs(end: Ending, made: Counter[str]) -> Iterator[str]:
    for job, count in made.items():
        if count != 1:
            yield f"Job {job} was made {count} times"
    runs = {run["metadata"]["name"] for run in end.runs}
    trained = sorted(job for job in made if job.rpartition("-")[0] in runs)
    if len(trained) != len(runs):
        yield f"{len(trained)} training Jobs were made for {len(runs)} runs: {trained}"
    for found in end.jobs:
        if found["status"].get("failed"):
            yield f"Job {found['metadata']['name']} had {found['status']['failed']} failed pods"


def differences(end: Ending, other: Ending) -> list[str]:
    """On which facts two endings differ."""
    ours, theirs = end.facts(), other.facts()
    return [f"{name}: {ours[name]}, undisturbed: {theirs[name]}" for name in ours if ours[name] != theirs[name]]


def _label(manifest: Manifest, name: str) -> str:
    return str(manifest["metadata"].get("labels", {}).get(f"millrace.dev/{name}", ""))


def _bare(manifest: Manifest) -> str:
    """The name without hashes of UIDs, which differ between tellings."""
    return _HASH.sub("-*", str(manifest["metadata"]["name"]))
