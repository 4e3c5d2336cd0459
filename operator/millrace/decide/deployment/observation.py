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
from millrace.render.server import Bundle

from . import drift
from .analysis import Tally


class Trouble(Frozen):
    """Why a server pod does not get ready: a reason of `millrace.contract.reasons`, or Kubernetes' own."""

    reason: str
    message: str = ""


class Server(Frozen):
    """The workload of one revision. `ready` never counts pods of an object that is being deleted."""

    bundle: Bundle
    uid: str
    service_uid: str | None = None
    replicas: int = 0
    ready: int = 0
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


class Traffic(Frozen):
    """Requests of one revision: since its rollout began, and since the present step did.

    `rollout` and `step` are the moments they are counted from, as in status.rollout: another moment's tally is no data.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    revision: str
    rollout: datetime | None = None
    step: datetime | None = None
    counted_since: datetime | None = None
    """When the step's requests began to be counted, if that was later than the step: after a restart."""
    since_rollout: Tally = Tally()
    since_step: Tally = Tally()


class RevisionDrift(Frozen):
    """The verdict on drift of one revision."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    revision: str
    verdict: drift.Verdict


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
    routers: tuple[Router, ...] = ()
    routers_ready: int = 0
    steady_since: datetime | None = None
    """Since when the time of day has gone on without a step, as this process saw it; None: for ever."""
    budgets: tuple[tuple[str, str], ...] = ()
    """Its PodDisruptionBudgets: name and UID."""
    scraped: Scraped = Scraped()
    policy_in_force: bool | None = None
    run: api.TrainingRun | None = None
    """What spec.retraining.trainingRunRef names."""
    dataset: api.Dataset | None = None
    """What that run's spec.datasetRef names."""
    runs: tuple[api.TrainingRun, ...] = ()
    """Runs that were started for this Deployment, from a live list when one may be started."""
    runs_are_live: bool = False

    def server(self, revision: str) -> Server | None:
        """The workload of a revision."""
        return next((server for server in self.servers if server.bundle.revision == revision), None)

    def ready(self, revision: str) -> int:
        """How many servers of a revision are ready."""
        server = self.server(revision)
        return server.ready if server is not None else 0

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

    def tally(self, revision: str, *, rollout: datetime | None = None, step: datetime | None = None) -> Tally:
        """Requests since that rollout or step began; an empty tally when they are counted from another moment."""
        for traffic in self.scraped.traffic:
            if traffic.revision == revision and step is not None and traffic.step == step:
                return traffic.since_step
            if traffic.revision == revision and rollout is not None and traffic.rollout == rollout:
                return traffic.since_rollout
        return Tally()

    def counted_since(self, revision: str, step: datetime) -> datetime:
        """When the requests of that step began to be counted: now at the earliest when nobody counts them yet."""
        for traffic in self.scraped.traffic:
            if traffic.revision == revision and traffic.step == step:
                return max(step, traffic.counted_since or step)
        return self.now
