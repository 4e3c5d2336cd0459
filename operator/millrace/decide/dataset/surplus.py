"""What is over the limits of `spec.retention`, and what of it stays all the same, and why.

    Models   the newest N of each registered model, and whatever somebody serves, names or decided about
      │ made by
    runs     under way, the newest N of each kind of end, and those whose Model is kept
      │ trained on
    versions the newest N, and those that a kept run or Model was made of

A run that is kept for its own sake holds the champion that it was compared with; one that is kept for its Model's sake
does not: else every model that ever served would hold the one before. Only what the operator made is counted: Models
that claim a run, which nobody else may. Unknown is kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeVar

from millrace.api.base import Frozen
from millrace.api.dataset import Dataset
from millrace.api.dataset_status import DatasetVersion, OlderVersion
from millrace.api.retention import Held, Retention, Tally
from millrace.contract import places

Kind = Literal["Model", "TrainingRun", "Version"]
Why = Literal[
    "Served",
    "Approved",
    "Rejected",
    "Quarantined",
    "NotJudged",
    "Champion",
    "ModelKept",
    "Referenced",
    "Used",
    "Applied",
]
F = TypeVar("F", "RunFact", "ModelFact")


class Thing(Frozen):
    """A Model, a run, or a version, whose name is its number."""

    kind: Kind
    name: str
    uid: str = ""


class RunFact(Frozen):
    """A TrainingRun on the Dataset, as far as it matters here."""

    name: str
    uid: str
    resource_version: str = ""
    model_name: str = ""
    state: Literal["UnderWay", "Succeeded", "Failed"] = "UnderWay"
    number: int = 0
    """Of the Model that it made: by it the newest are known, whatever the clocks said."""
    ended: str = ""
    """When; by it the newest of those are known that made none."""
    digest: str = ""
    """The version that it is pinned to, and where that is."""
    uri: str = ""
    champion: str = ""
    made: str = ""
    """The Model that its status names."""
    folder: str = ""
    """Where its files are; empty where they are not where this installation writes."""
    is_applied: bool = False
    """Whether something applies it for somebody: what stands in Git comes back, and trains again."""

    @property
    def thing(self) -> Thing:
        return Thing(kind="TrainingRun", name=self.name, uid=self.uid)


class ModelFact(Frozen):
    """A Model of the namespace, as far as it matters here."""

    name: str
    uid: str
    resource_version: str = ""
    model_name: str = ""
    number: int = 0
    run: str = ""
    """The run that it claims."""
    run_uid: str = ""
    dataset: str = ""
    """The Dataset that it was trained on, and the version."""
    dataset_digest: str = ""
    digest: str = ""
    is_approved: bool | None = None
    """None while nobody has judged it."""
    required: int = 1
    said: frozenset[str] = frozenset()
    """Last words of people about it: Approve, Reject, Revoke."""
    is_in_use: bool = False
    is_quarantined: bool = False
    uris: tuple[str, ...] = ()
    folder: str = ""
    """Where its files are, if that is the folder of a run of this installation."""

    @property
    def thing(self) -> Thing:
        return Thing(kind="Model", name=self.name, uid=self.uid)


class Facts(Frozen):
    """The runs on a Dataset, the Models that have to do with them, and who names which of these."""

    runs: tuple[RunFact, ...] = ()
    models: tuple[ModelFact, ...] = ()
    named: frozenset[str] = frozenset()
    """Models that a Deployment serves or names."""
    cloned: frozenset[str] = frozenset()
    """Runs that a Deployment clones, or started last."""
    elsewhere: tuple[str, ...] = ()
    """Files that Models of other namespaces name."""
    is_live: bool = False
    """Whether all this was listed at the API server in this very pass; without it nothing goes."""
    is_looking: bool = False
    """Whether a Job of the Dataset reads its source; known where the facts are live."""


class Selection(Frozen):
    """What is over the limits: what nothing holds, the Models first and the oldest first, and what is held."""

    surplus: tuple[Thing, ...] = ()
    held: tuple[Held, ...] = ()
    kept: Tally = Tally()


def known_versions(dataset: Dataset) -> list[DatasetVersion | OlderVersion]:
    """Every version that its status knows, newest first."""
    status = dataset.status
    current = (status.current,) if status.current is not None else ()
    found: dict[int, DatasetVersion | OlderVersion] = {}
    for one in (*current, *status.versions, *(status.older_versions or ())):
        found.setdefault(one.version, one)
    return [found[number] for number in sorted(found, reverse=True)]


def thing_of(version: DatasetVersion | OlderVersion) -> Thing:
    """A version as a thing."""
    return Thing(kind="Version", name=str(version.version))


def refers(models: Iterable[ModelFact], run: RunFact) -> bool:
    """Whether one of the Models is of that run, or names a file of it."""
    return any(
        one.name == run.made
        or one.run == run.name
        or (bool(one.run_uid) and one.run_uid == run.uid)
        or (bool(run.folder) and any(places.is_in(uri, run.folder) for uri in one.uris))
        for one in models
    )


def select(dataset: Dataset, wish: Retention, facts: Facts) -> Selection:
    """Total: whatever the facts are, nothing that somebody refers to is in `surplus`."""
    roots = _roots(facts.runs, wish)
    models, runs, versions = _Sorted("Model"), _Sorted("TrainingRun"), _Sorted("Version")
    judge = _Judge(wish, facts, frozenset(run.champion for run in roots))
    for one in _over_models(dataset, wish, facts):
        models.add(one.thing, judge.why(one))
    holding = _Holding(models.without(facts.models), facts)
    kept = {run.uid for run in roots}
    for run in _oldest_first(facts.runs):
        if run.uid not in kept:
            runs.add(run.thing, holding.why_run(run))
    known = known_versions(dataset)
    used = {fact for run in runs.without(facts.runs) for fact in (run.digest, run.uri)}
    for version in reversed(known[wish.version_history_limit :]):
        versions.add(thing_of(version), holding.why_version(version, dataset, used))
    own = sum(_is_made_here(one, dataset) for one in facts.models)
    return Selection(
        surplus=(*models.surplus, *runs.surplus, *versions.surplus),
        held=(*reversed(models.held), *reversed(runs.held), *reversed(versions.held)),
        kept=Tally(
            versions=len(known) - len(versions.surplus),
            models=own - len(models.surplus),
            runs=len(facts.runs) - len(runs.surplus),
        ),
    )


class _Sorted:
    """Things of one kind that are over a limit, the oldest first."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.surplus: dict[Thing, None] = {}
        self.held: list[Held] = []

    def add(self, thing: Thing, why: Why | None) -> None:
        if why is None:
            self.surplus[thing] = None
        else:
            self.held.append(Held(kind=self.kind, name=thing.name, reason=why))

    def without(self, facts: Iterable[F]) -> list[F]:
        """Those of the facts that stay."""
        return [one for one in facts if one.thing not in self.surplus]


class _Judge:
    """Why a Model stays."""

    def __init__(self, wish: Retention, facts: Facts, champions: frozenset[str]) -> None:
        self._wish, self._named, self._champions = wish, facts.named, champions
        self._rejected = {one.digest for one in facts.models if "Reject" in one.said}
        self._newest: dict[str, int] = {}
        for one in facts.models:
            if one.is_approved:
                self._newest[one.model_name] = max(one.number, self._newest.get(one.model_name, 0))

    def why(self, model: ModelFact) -> Why | None:
        """None if nothing holds it."""
        reasons: tuple[tuple[Why, bool], ...] = (
            ("Served", model.is_in_use or model.name in self._named),
            ("Rejected", model.digest in self._rejected),
            ("Approved", "Approve" in model.said or self._stays_approved(model)),
            ("NotJudged", model.is_approved is None),
            ("Quarantined", model.is_quarantined),
            ("Champion", model.name in self._champions),
        )
        return next((why for why, holds in reasons if holds), None)

    def _stays_approved(self, model: ModelFact) -> bool:
        """Whether an approval that nobody wrote keeps it: the newest is what a Deployment would roll out next."""
        if not model.is_approved:
            return False
        is_newest = model.number >= self._newest.get(model.model_name, 0)
        return self._wish.auto_approved == "Keep" or model.required > 0 or is_newest


class _Holding:
    """What Models that stay hold."""

    def __init__(self, kept: Sequence[ModelFact], facts: Facts) -> None:
        self._cloned = facts.cloned
        self._names = {one.name for one in kept}
        self._runs = {claim for one in kept for claim in (one.run, one.run_uid) if claim}
        self._trained_on = {(one.dataset, one.dataset_digest) for one in kept}
        uris = (*facts.elsewhere, *(uri for one in kept for uri in one.uris))
        self._folders = {folder for uri in uris for folder in (*places.above(uri), uri.rstrip("/"))}

    def why_run(self, run: RunFact) -> Why | None:
        """Why a run stays that is not kept for its own sake."""
        if run.made in self._names or run.name in self._runs or run.uid in self._runs:
            return "ModelKept"
        if run.name in self._cloned or run.folder in self._folders:
            return "Referenced"
        return "Applied" if run.is_applied else None

    def why_version(self, version: DatasetVersion | OlderVersion, dataset: Dataset, used: set[str]) -> Why | None:
        """Why a version stays; `used` are digests and places of those that kept runs are pinned to."""
        current = dataset.status.current
        is_current = current is not None and current.version == version.version
        is_trained_on = (dataset.metadata.name, version.digest) in self._trained_on
        if is_current or is_trained_on or version.digest in used or version.uri in used:
            return "Used"
        return "Referenced" if version.uri.rstrip("/") in self._folders else None


def _grouped(many: Iterable[F], by: Callable[[F], str]) -> Iterable[list[F]]:
    groups: dict[str, list[F]] = defaultdict(list)
    for one in many:
        groups[by(one)].append(one)
    return groups.values()


def _roots(runs: Sequence[RunFact], wish: Retention) -> list[RunFact]:
    """Runs that are kept for their own sake: under way, or among the newest that ended so."""
    limits = {"Succeeded": wish.successful_runs_history_limit, "Failed": wish.failed_runs_history_limit}
    kept = [run for run in runs if run.state == "UnderWay"]
    for state, limit in limits.items():
        for group in _grouped((run for run in runs if run.state == state), lambda run: run.model_name):
            kept += _oldest_first(group)[max(0, len(group) - limit) :]
    return kept


def _oldest_first(runs: Iterable[RunFact]) -> list[RunFact]:
    return sorted(runs, key=lambda run: (run.number, run.ended, run.name))


def _is_made_here(model: ModelFact, dataset: Dataset) -> bool:
    """Whether it came out of a run on this Dataset: only the operator may say so of a Model."""
    return bool(model.run) and model.dataset == dataset.metadata.name


def _over_models(dataset: Dataset, wish: Retention, facts: Facts) -> Iterable[ModelFact]:
    own = (one for one in facts.models if _is_made_here(one, dataset))
    for group in _grouped(own, lambda one: one.model_name):
        newest_first = sorted(group, key=lambda one: (one.number, one.name), reverse=True)
        yield from reversed(newest_first[wish.model_history_limit :])
