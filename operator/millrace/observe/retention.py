"""What was made of a Dataset, and who refers to what of it: from the cache, or listed live where something is to go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from millrace.api import keys, resources
from millrace.api.dataset import Dataset
from millrace.api.retention import Retention
from millrace.clients.store import Manifest, Store, name_of
from millrace.clients.world import World
from millrace.contract import places
from millrace.decide.dataset.surplus import Facts, ModelFact, RunFact, known_versions
from millrace.observe import jobs
from millrace.observe import model as models
from millrace.observe import training_run as runs

_LISTED = (resources.MODELS, resources.TRAINING_RUNS, resources.DEPLOYMENTS)
_ENDS: tuple[tuple[str, Literal["Succeeded", "Failed"]], ...] = (("Complete", "Succeeded"), ("Failed", "Failed"))


async def facts(world: World, dataset: Dataset, *, live: bool) -> Facts | None:
    """None where nobody asked for retention. Raises ApiError."""
    wish: Retention | None = dataset.spec.retention
    if wish is None:
        return None
    namespace = dataset.metadata.namespace
    if not live:
        return _facts(world, world.store, dataset)
    seen = Store()
    for resource in _LISTED:
        for manifest in await world.kube.list(resource, namespace):
            seen.put(resource, manifest)
    labels = {keys.DATASET: dataset.metadata.name, keys.COMPONENT: "snapshot"}
    looks = await world.kube.list(resources.JOBS, namespace, labels)
    is_looking = any(not jobs.view(job, ()).is_finished for job in looks)
    return _facts(world, seen, dataset).model_copy(update={"is_live": True, "is_looking": is_looking})


def _facts(world: World, seen: Store, dataset: Dataset) -> Facts:
    name, namespace = dataset.metadata.name, dataset.metadata.namespace
    store_uri = world.settings.store_uri
    found = [_run(one, store_uri) for one in seen.find(resources.TRAINING_RUNS, runs.by_dataset, name, namespace)]
    folders = [run.folder for run in found if run.folder]
    folders += [version.uri.rstrip("/") for version in known_versions(dataset)]
    known = {one["metadata"]["name"]: one for one in _models(seen, dataset, found, folders)}
    made = [_model(known[each], store_uri) for each in sorted(known)]
    return Facts(
        runs=tuple(found),
        models=tuple(made),
        named=frozenset(one.name for one in made if seen.find(resources.DEPLOYMENTS, by_named, one.name, namespace)),
        cloned=frozenset(one.name for one in found if seen.find(resources.DEPLOYMENTS, by_cloned, one.name, namespace)),
        elsewhere=tuple(_elsewhere(world.store, namespace, folders)),
    )


def _models(seen: Store, dataset: Dataset, found: Iterable[RunFact], folders: Iterable[str]) -> Iterator[Manifest]:
    """Those of runs on it, with all versions and namesakes of theirs, and whatever names one of these folders."""
    namespace = dataset.metadata.namespace
    own = seen.find(resources.MODELS, by_trained_on, dataset.metadata.name, namespace)
    yield from own
    names = {run.model_name for run in found} | {name for one in own for name in models.by_model_name(one)}
    digests = {digest for one in own for digest in models.by_digest(one)}
    made = {run.made for run in found if run.made}
    for name in sorted(names):
        yield from seen.find(resources.MODELS, models.by_model_name, name, namespace)
    for digest in sorted(digests):
        yield from seen.find(resources.MODELS, models.by_digest, digest, namespace)
    for folder in folders:
        yield from seen.find(resources.MODELS, by_folder, folder, namespace)
    for name in sorted(made):
        one = seen.get(resources.MODELS, namespace, name)
        if one is not None:
            yield one


def _elsewhere(store: Store, namespace: str, folders: Iterable[str]) -> Iterator[str]:
    """Files in these folders that Models of other namespaces name."""
    for folder in folders:
        for model in store.find(resources.MODELS, by_folder, folder):
            if name_of(model)[0] != namespace:
                yield from (uri for uri in _uris(model) if places.is_in(uri, folder))


def _run(run: Manifest, store_uri: str) -> RunFact:
    """A run. Total: what is malformed counts as not there."""
    metadata, spec, status = run["metadata"], run.get("spec") or {}, run.get("status") or {}
    resolved = status.get("resolved") or {}
    model_name = str((spec.get("output") or {}).get("modelName") or "")
    truths = _truths(status)
    state: Literal["UnderWay", "Succeeded", "Failed"] = "UnderWay"
    for kind, end in _ENDS:
        if truths.get(kind) == "True":
            state = end
    namespace = metadata.get("namespace") or ""
    folder = places.run(store_uri, namespace, model_name, metadata["uid"])
    artifact = (status.get("candidate") or {}).get("artifact") or {}
    uploaded = places.folder_of(str(artifact.get("storageUri") or ""))
    return RunFact(
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=str(metadata.get("resourceVersion") or ""),
        model_name=model_name,
        state=state,
        number=_number(str((status.get("modelRef") or {}).get("name") or "").rpartition("-")[2]),
        ended=str(status.get("completionTime") or metadata.get("creationTimestamp") or ""),
        digest=str((resolved.get("dataset") or {}).get("digest") or ""),
        uri=str(resolved.get("datasetUri") or ""),
        champion=str((resolved.get("champion") or {}).get("name") or ""),
        made=str((status.get("modelRef") or {}).get("name") or ""),
        is_applied=bool(spec.get("appliedBy")),
        folder=folder if uploaded in ("", folder) and places.is_run(folder, store_uri, namespace) else "",
    )


def _model(model: Manifest, store_uri: str) -> ModelFact:
    """A Model. Total: what is malformed counts as not there."""
    metadata, spec, status = model["metadata"], model.get("spec") or {}, model.get("status") or {}
    provenance = spec.get("provenance") or {}
    dataset, number = provenance.get("dataset") or {}, str(spec.get("version") or "")
    approved = _truths(status).get("Approved")
    uris = tuple(_uris(model))
    folder = places.folder_of(uris[0]) if uris else ""
    is_runs = places.is_run(folder, store_uri, metadata.get("namespace") or "")
    return ModelFact(
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=str(metadata.get("resourceVersion") or ""),
        model_name=str(spec.get("modelName") or ""),
        number=_number(number),
        run=str((provenance.get("trainingRunRef") or {}).get("name") or ""),
        run_uid=str((metadata.get("labels") or {}).get(keys.TRAINING_RUN_UID) or ""),
        dataset=str(dataset.get("name") or ""),
        dataset_digest=str(dataset.get("digest") or ""),
        digest=str((spec.get("artifact") or {}).get("digest") or ""),
        is_approved=approved == "True" if approved in ("True", "False") else None,
        required=int((spec.get("approvalPolicy") or {}).get("required", 1)),
        said=frozenset(_last_words(spec)),
        is_in_use=bool(status.get("deployedIn") or status.get("aliases")),
        is_quarantined=bool(status.get("quarantine")),
        uris=uris,
        folder=folder if is_runs and {places.folder_of(uri) for uri in uris} == {folder} else "",
    )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0


def _truths(status: Mapping[str, Any]) -> dict[str, str]:
    return {str(one.get("type")): str(one.get("status")) for one in status.get("conditions") or ()}


def _last_words(spec: Mapping[str, Any]) -> Iterable[str]:
    """What each person said last, whether or not it has been counted."""
    return {str(one.get("user")): str(one.get("decision")) for one in spec.get("approvals") or ()}.values()


def _uris(model: Manifest) -> Iterator[str]:
    """The files that it names, its artifact first."""
    spec = model.get("spec") or {}
    for uri in (
        (spec.get("artifact") or {}).get("storageUri"),
        spec.get("goldenSetUri"),
        spec.get("referenceProfileUri"),
    ):
        if uri:
            yield str(uri)


def by_trained_on(model: Manifest) -> Iterable[str]:
    """The Dataset that it says it was trained on."""
    name = (((model.get("spec") or {}).get("provenance") or {}).get("dataset") or {}).get("name")
    return [str(name)] if name else []


def by_folder(model: Manifest) -> Iterable[str]:
    """Every folder that a file of its is in."""
    return {folder for uri in _uris(model) for folder in places.above(uri)}


def by_named(deployment: Manifest) -> Iterable[str]:
    """The Models that it serves, tries, lets go, or names."""
    spec, status = deployment.get("spec") or {}, deployment.get("status") or {}
    found = [(spec.get("modelRef") or {}).get("name"), (spec.get("strategy") or {}).get("allowSignatureChange")]
    found += [(status.get(role) or {}).get("model") for role in ("stable", "canary")]
    found += [one.get("model") for one in status.get("retiring") or ()]
    return {str(name) for name in found if name}


def by_cloned(deployment: Manifest) -> Iterable[str]:
    """The run that its retraining clones, the one it started last, and those that it is about to make."""
    spec, status = deployment.get("spec") or {}, deployment.get("status") or {}
    retraining = status.get("retraining") or {}
    found = [((spec.get("retraining") or {}).get("trainingRunRef") or {}).get("name"), retraining.get("lastRun")]
    found += [one.get("name") for one in retraining.get("starts") or () if not one.get("isMade")]
    return {str(name) for name in found if name}


def of_run(world: World, run: Manifest) -> Iterator[tuple[str, str]]:
    """The Dataset of a run that has ended or is gone, if that keeps only so many."""
    is_gone = world.store.get(resources.TRAINING_RUNS, *name_of(run)) is None
    if is_gone or {"Complete", "Failed"} & {
        kind for kind, truth in _truths(run.get("status") or {}).items() if truth == "True"
    }:
        for name in runs.by_dataset(run):
            yield from _pruning(world, name_of(run)[0], name)


def _pruning(world: World, namespace: str, name: str) -> Iterator[tuple[str, str]]:
    dataset = world.store.get(resources.DATASETS, namespace, name)
    if dataset is not None and (dataset.get("spec") or {}).get("retention"):
        yield namespace, name
