"""What the reconcile of a Deployment looks at: raw objects sorted into named roles.

Deployment --owns--> servers  (one per revision: stable, canary, retiring)
           --owns--> routers  (every Envoy pod, with what it said last)
Model      --is what a revision serves          Dataset, TrainingRun --are what retraining needs
"""

from __future__ import annotations

from datetime import datetime

from pydantic import ConfigDict, Field

from millrace import api
from millrace.api.base import Frozen
from millrace.decide.status import later
from millrace.render.pod import Platform
from millrace.render.quarantine import Record
from millrace.render.server import Bundle

from . import drift
from .metrics import Stratum


class Trouble(Frozen):
    """Why a server or router pod is not there or does not get ready: a reason of `millrace.contract.reasons`, or
    Kubernetes' own.
    """

    reason: str
    message: str = ""


class Server(Frozen):
    """The workload of one revision. `ready` never counts pods of an object that is being deleted."""

    bundle: Bundle
    uid: str
    service_uid: str | None = None
    replicas: int = 0
    ready: int = 0
    updated: int = 0
    """Pods of the newest template."""
    trouble: Trouble | None = None


class Router(Frozen):
    """One Envoy pod that runs. `generation` is None until it has answered, and once its last answer is too old.

    `healthy` counts the members of each revision's cluster that pass Envoy's own health check, `asked` is when this was
    asked, `config_hash` the annotation that says which ConfigMap its kubelet was told of.
    """

    pod: str
    generation: str | None = None
    asked: datetime | None = None
    config_hash: str | None = None
    healthy: dict[str, int] = Field(default_factory=dict)


class Window(Frozen):
    """Requests since `since`, apart by the weights they came under; those of canary and stable over the same time."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    since: datetime
    """When they began to be counted: later than what they are counted for, after a restart."""
    strata: tuple[Stratum, ...] = ()


class Traffic(Frozen):
    """Requests of one canary, and of stable beside it: since its rollout began, and since the present step did.

    `rollout` and `step` are the moments they are counted for, as in status.rollout: another moment's are no data.
    """

    revision: str
    rollout: datetime | None = None
    step: datetime | None = None
    since_rollout: Window | None = None
    since_step: Window | None = None


class RevisionDrift(Frozen):
    """The verdict on drift of one revision."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    revision: str
    verdict: drift.Verdict
    basis: str | None = None
    """By which rule, and of which rows (`monitoring.basis_of`); None: by those of now."""


class Scraped(Frozen):
    """What the scrapes know; an empty one is what they know after a restart."""

    traffic: tuple[Traffic, ...] = ()
    drift: RevisionDrift | None = None


class Observation(Frozen):
    """Everything a pass may look at. `now` has whole seconds, as everything in a status has."""

    now: datetime
    deployment: api.Deployment
    platform: Platform
    models: tuple[api.Model, ...] = ()
    servers: tuple[Server, ...] = ()
    stable_is_gone: bool = False
    """Neither the Model that is stable nor its workload is there, by what the API server says itself."""
    routers: tuple[Router, ...] = ()
    routers_ready: int = 0
    router_trouble: Trouble | None = None
    steady_since: datetime | None = None
    """Since when the time of day has gone on without a step, as this process saw it; None: for ever."""
    records: tuple[Record, ...] = ()
    """What is written of quarantines of the bytes that it serves, tries or could serve."""
    budgets: tuple[tuple[str, str], ...] = ()
    """Its PodDisruptionBudgets: name and UID."""
    scraped: Scraped = Scraped()
    policy_in_force: bool | None = None
    may_upgrade: bool = True
    """Whether this Deployment may change its image in place now: only a few do at a time."""
    is_in_training: bool = False
    """Whether a TrainingRun under way will make a version of the model that is followed."""
    run: api.TrainingRun | None = None
    """What spec.retraining.trainingRunRef names."""
    dataset: api.Dataset | None = None
    """What that run's spec.datasetRef names."""
    runs: tuple[api.TrainingRun, ...] = ()
    """Those of the runs in status.retraining.starts that there are."""

    def server(self, revision: str) -> Server | None:
        """The workload of a revision."""
        return next((server for server in self.servers if server.bundle.revision == revision), None)

    def ready(self, revision: str) -> int:
        """How many servers of a revision are ready."""
        server = self.server(revision)
        return server.ready if server is not None else 0

    def trouble(self, revision: str) -> Trouble | None:
        """Why servers of a revision do not get ready."""
        server = self.server(revision)
        return server.trouble if server is not None else None

    def no_router_has_answered(self) -> bool:
        """Whether routers run, and none has answered this process: it has just started, or cannot reach them."""
        return bool(self.routers) and all(router.asked is None for router in self.routers)

    def reported(self, generation: str, after: datetime | None = None) -> bool:
        """Whether there are routers and every one of them applies this generation, and was asked after that second.

        A generation is a hash of the weights, so an old answer may be right again by accident.
        """
        return bool(self.routers) and all(
            router.generation == generation
            and (after is None or (router.asked is not None and router.asked >= later(after, 1.0)))
            for router in self.routers
        )

    def healthy(self, revision: str) -> bool:
        """Whether there are routers and every one of them has a healthy server of this revision."""
        return bool(self.routers) and all(
            router.generation is not None and router.healthy.get(revision, 0) > 0 for router in self.routers
        )

    def strata(
        self, revision: str, *, rollout: datetime | None = None, step: datetime | None = None
    ) -> tuple[Stratum, ...]:
        """Requests since that rollout or step began; none when they are counted from another moment."""
        window = self._window(revision, rollout, step)
        return window.strata if window is not None else ()

    def counted_since(
        self, revision: str, *, rollout: datetime | None = None, step: datetime | None = None
    ) -> datetime:
        """When the requests of that rollout or step began to be counted: now when nobody counts them yet."""
        window = self._window(revision, rollout, step)
        moment = step or rollout
        return max(moment or window.since, window.since) if window is not None else self.now

    def _window(self, revision: str, rollout: datetime | None, step: datetime | None) -> Window | None:
        for traffic in self.scraped.traffic:
            if traffic.revision == revision and step is not None and traffic.step == step:
                return traffic.since_step
            if traffic.revision == revision and rollout is not None and traffic.rollout == rollout:
                return traffic.since_rollout
        return None
