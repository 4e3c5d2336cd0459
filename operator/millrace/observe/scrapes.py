"""What routers and servers report about themselves, scraped in the background by the leader.

    every 2 s while a rollout or a retirement is under way, else every min(drift interval, 15 s)

The newest answers are kept per Deployment; `observe.deployment` reads them and never waits. A Deployment is enqueued
only when something changed that a decision depends on, so a cluster where nothing happens writes nothing.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from millrace import api
from millrace.api import resources
from millrace.api.quantities import seconds
from millrace.clients import scrape
from millrace.clients.scrape import Fetch, ScrapeFailed
from millrace.clients.store import Manifest, name_of
from millrace.clients.world import World
from millrace.contract import environment, exposition
from millrace.contract import router as routers
from millrace.decide.deployment import analysis, drift, verdicts
from millrace.decide.deployment.monitoring import basis_of, known_of, rule_of
from millrace.decide.deployment.observation import Observation, RevisionDrift, Router, Scraped
from millrace.observe import pods
from millrace.observe.counting import BinCounter, Look, TrafficCounter, Windows
from millrace.observe.exposition import server_page
from millrace.render import pod
from millrace.render.router_bootstrap import GENERATION_PATH
from millrace.render.server import METRICS_PATH
from millrace.telemetry import Log

log = Log(__name__)

BUSY_SECONDS: Final = 2.0
IDLE_SECONDS: Final = 15.0
TICK_SECONDS: Final = 0.5
STALE_SECONDS: Final = 10.0
"""An answer of a router that is older than its scrape period plus this is not used."""

WIDE_PAGE: Final = 512 * 1024
WIDE_FEATURES: Final = 256
"""Characters of a page, and features, that take so long to read or to judge that the event loop must not wait."""

Key = tuple[str, str]
T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """What a router said, when."""

    generation: str
    healthy: dict[str, int]
    asked: datetime
    at: float
    period: float


@dataclass
class ScrapeState:
    """What the answers of one Deployment's pods add up to so far."""

    uid: str
    manifest: Manifest = field(default_factory=dict)
    """The cached object as of the last visit: another one is visited at once."""
    due: float = -math.inf
    """When a pod is to be asked next, or an answer gets too old."""
    answers: dict[str, Answer] = field(default_factory=dict)
    """By router pod UID."""
    traffic: TrafficCounter = field(default_factory=TrafficCounter)
    windows: Windows = field(default_factory=Windows)
    revision: str = ""
    """Whose rows are counted: stable's."""
    bins: BinCounter = field(default_factory=BinCounter)
    reference: dict[str, tuple[int, ...]] = field(default_factory=dict)
    basis: str = ""
    """By which rule drift is judged, and of which rows."""
    acknowledged: datetime | None = None
    """Since when rows count, if not since the pods began."""
    memory: drift.Memory = field(default_factory=drift.Memory)
    verdict: drift.Verdict | None = None
    routers_asked: float = -math.inf
    servers_asked: float = -math.inf
    signature: Any = None


class Scrapes:
    """The background task, and what it knows."""

    def __init__(self, world: World, fetch: Fetch | None = None) -> None:
        self._world = world
        self._given = fetch
        self._fetch = fetch
        self._states: dict[Key, ScrapeState] = {}

    async def run(self) -> None:
        """Ask, for as long as this replica leads. What an earlier term left behind is forgotten."""
        self._states.clear()
        async with scrape.opened() as fetch:
            self._fetch = self._given or fetch  # never one of an earlier term: its connections are closed
            while True:
                await self.round()
                await asyncio.sleep(TICK_SECONDS)

    async def round(self) -> None:
        """Ask whoever is due, and enqueue the Deployments whose answers matter."""
        now = self._world.clock.monotonic()
        found = self._world.store.every(resources.DEPLOYMENTS)
        holds, store = self._world.territory.holds, self._world.store
        due = [one for one in found if self._is_due(one, now) and holds(store, name_of(one)[0])]
        if len(self._states) > len(found):
            names = {name_of(manifest) for manifest in found}
            self._states = {key: state for key, state in self._states.items() if key in names}
        await asyncio.gather(*map(self._visit, due))

    def router(self, namespace: str, name: str, pod_uid: str) -> Router | None:
        """What a router said, unless that is too old."""
        state = self._states.get((namespace, name))
        answer = state.answers.get(pod_uid) if state is not None else None
        if answer is None or self._world.clock.monotonic() - answer.at > answer.period + STALE_SECONDS:
            return None
        return Router(pod=pod_uid, generation=answer.generation, healthy=answer.healthy, asked=answer.asked)

    def scraped(self, deployment: api.Deployment) -> Scraped:
        """Traffic of the canary and drift of stable, as of the last answers."""
        metadata = deployment.metadata
        state = self._states.get((metadata.namespace, metadata.name))
        return _scraped(state, deployment) if state is not None and state.uid == metadata.uid else Scraped()

    def _is_due(self, manifest: Manifest, now: float) -> bool:
        """Called for every Deployment twice a second, so an unchanged manifest is not parsed."""
        state = self._states.get(name_of(manifest))
        return state is None or state.manifest is not manifest or now >= state.due

    async def _visit(self, manifest: Manifest) -> None:
        key, uid = name_of(manifest), str(manifest["metadata"].get("uid") or "")
        state = self._states.get(key)
        if state is None or state.uid != uid:
            state = self._states[key] = ScrapeState(uid)
        state.manifest, state.due = manifest, math.inf
        try:
            deployment = api.Deployment.model_validate(manifest)
        except ValidationError:
            return  # its own reconcile says so
        if deployment.metadata.deletion_timestamp is None:
            await self._ask(key, state, deployment)

    async def _ask(self, key: Key, state: ScrapeState, deployment: api.Deployment) -> None:
        clock = self._world.clock
        now = clock.monotonic()
        period, server_period = _period(deployment), _server_period(deployment)
        if now >= state.routers_asked + period:
            state.routers_asked = now
            await self._ask_routers(key, state, deployment, period)
        if now >= state.servers_asked + server_period:
            state.servers_asked = now
            await self._ask_servers(key, state, deployment)
        stale = (answer.at + answer.period + STALE_SECONDS for answer in state.answers.values())
        later = [moment for moment in stale if moment >= clock.monotonic()]
        state.due = min([state.routers_asked + period, state.servers_asked + server_period, *later])
        self._enqueue_if_changed(key, state, deployment)

    async def _ask_routers(self, key: Key, state: ScrapeState, deployment: api.Deployment, period: float) -> None:
        found = [one for one in pods.routers(self._world.store, *key, self._world.clock.now()) if pods.address(one)]
        looks = await asyncio.gather(*(self._ask_router(state, one, period) for one in found))
        uids = {pods.uid(one) for one in found}
        state.answers = {uid: answer for uid, answer in state.answers.items() if uid in uids}
        state.traffic.keep(uids)
        state.windows.add(look for look in looks if look is not None)
        state.windows.follow(deployment.status, self._world.clock.now())

    async def _ask_router(self, state: ScrapeState, found: Manifest, period: float) -> Look | None:
        host, uid, port = pods.address(found), pods.uid(found), environment.ROUTER_STATS_PORT
        asked, at = self._world.clock.now(), self._world.clock.monotonic()
        try:
            generation, page = await asyncio.gather(
                self._get(host, port, GENERATION_PATH), self._get(host, port, routers.SCRAPE_PATH)
            )
            traffic = routers.revisions(exposition.parse(page))
        except (ScrapeFailed, ValueError, KeyError, OverflowError) as error:
            log.debug("a router could not be asked", pod=found["metadata"]["name"], why=str(error))
            return None
        healthy = {revision: counted.healthy for revision, counted in traffic.items()}
        state.answers[uid] = Answer(generation.strip(), healthy, asked, at, period)
        return state.traffic.look(uid, generation.strip(), traffic)

    async def _ask_servers(self, key: Key, state: ScrapeState, deployment: api.Deployment) -> None:
        stable, monitoring = deployment.status.stable, deployment.spec.monitoring
        revision = stable.revision if stable is not None else ""
        if revision != state.revision:
            state.revision, state.bins, state.reference = revision, BinCounter(), {}
            state.basis, state.acknowledged = "", None
        if stable is None or monitoring is None:
            state.basis, state.verdict = "", None
            return
        _begin_anew_if_asked(state, deployment, stable, monitoring.drift)
        found = [one for one in pods.servers(self._world.store, *key, revision) if pods.address(one)]
        await asyncio.gather(*(self._ask_server(state, one) for one in found))
        state.bins.keep({pods.uid(one) for one in found})
        asked = monitoring.drift
        rule = drift.Rule(asked.false_alarm_rate, asked.margin, asked.min_samples)
        is_wide = len(state.reference) > WIDE_FEATURES
        state.memory, state.verdict = await _aside(
            is_wide, drift.look, state.memory, dict(state.bins.totals), state.reference, rule
        )

    async def _ask_server(self, state: ScrapeState, found: Manifest) -> None:
        try:
            text = await self._get(pods.address(found), environment.SERVER_PORT, METRICS_PATH)
            page = await _aside(len(text) > WIDE_PAGE, server_page, text)
        except (ScrapeFailed, ValueError) as error:
            log.debug("a server could not be asked", pod=found["metadata"]["name"], why=str(error))
            return
        if page.reference and not state.reference:
            state.reference = page.reference
        is_older = state.acknowledged is not None and pods.began(found) <= state.acknowledged
        state.bins.add(pods.uid(found), page.live, from_now=is_older)

    async def _get(self, host: str, port: int, path: str) -> str:
        if self._fetch is None:
            raise ScrapeFailed("the scrapes have not begun")
        return await self._fetch(host, port, path)

    def _enqueue_if_changed(self, key: Key, state: ScrapeState, deployment: api.Deployment) -> None:
        """Enqueue the Deployment if what its pods say has changed in a way that matters."""
        signature = (self._routers_signature(key, state), _verdicts(state, deployment), _drift_signature(state))
        if signature != state.signature:
            first, state.signature = state.signature is None, signature
            if not first or any(signature):
                self._world.enqueue(resources.DEPLOYMENTS, *key)

    def _routers_signature(self, key: Key, state: ScrapeState) -> Any:
        found = []
        for uid in sorted(state.answers):
            router = self.router(*key, uid)
            healthy = frozenset(name for name, count in router.healthy.items() if count) if router is not None else None
            found.append((uid, router.generation if router is not None else None, healthy))
        return tuple(found)


def _begin_anew_if_asked(
    state: ScrapeState, deployment: api.Deployment, stable: api.deployment.RevisionStatus, asked: api.deployment.Drift
) -> None:
    """Forget verdicts that are by another rule, and rows that were served before an alarm was acknowledged."""
    known = known_of(deployment, stable)
    acknowledged = known.acknowledged_time if known is not None else None
    basis = basis_of(rule_of(asked), acknowledged)
    if acknowledged != state.acknowledged:
        state.acknowledged = acknowledged
        state.bins.restart()
    if basis != state.basis:
        state.basis, state.memory, state.verdict = basis, drift.Memory(), None


async def _aside(is_long: bool, act: Callable[..., T], *arguments: Any) -> T:
    """Do it on a thread if it takes long; what is short is done at once."""
    return await asyncio.to_thread(act, *arguments) if is_long else act(*arguments)


def _period(deployment: api.Deployment) -> float:
    status = deployment.status
    busy = status.canary is not None or status.retiring or status.stable is None
    return BUSY_SECONDS if busy else _server_period(deployment)


def _server_period(deployment: api.Deployment) -> float:
    monitoring = deployment.spec.monitoring
    return min(IDLE_SECONDS, seconds(monitoring.drift.interval)) if monitoring is not None else IDLE_SECONDS


def _scraped(state: ScrapeState, deployment: api.Deployment) -> Scraped:
    verdict, drifted = state.verdict, None
    if verdict is not None:
        drifted = RevisionDrift(revision=state.revision, verdict=verdict, basis=state.basis)
    return Scraped(traffic=state.windows.traffic(deployment.status), drift=drifted)


def _verdicts(state: ScrapeState, deployment: api.Deployment) -> Any:
    """What the analyses say, as far as a status tells it."""
    if deployment.status.canary is None:
        return ()
    seen = Observation(
        now=datetime.min.replace(tzinfo=UTC),
        deployment=deployment,
        platform=pod.Platform(trainer_image="", server_image="", router_image="", store_uri="", store_secret=""),
        scraped=_scraped(state, deployment),
    )
    return tuple(
        (result.name, result.phase, analysis.rounded(result.samples))
        for result in verdicts.judged(seen, deployment.status)
    )


def _drift_signature(state: ScrapeState) -> Any:
    verdict = state.verdict
    if verdict is None or not verdict.samples:
        return ()
    return (state.revision, verdict.state, f"{verdict.score:.2f}", verdict.worst_feature, verdict.samples.bit_length())
