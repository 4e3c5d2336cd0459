"""The real tier: plans told on a real etcd, kube-apiserver and kube-controller-manager, several at a time.

    Plane                     one control plane, a namespace a plan
      └ RealTier              a process's proxy, watches and administrator
          └ RealRun           one plan: operators behind doors, users, a node, the history

What is asked of a plan is what `run` asks of it in virtual time, but for one in which an object is made again: whether
that comes before or after what happens beside it is chance in real time. Its end is not held against another run's,
and it need not come to rest if its workload waited in vain.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from millrace import errors
from millrace.api import resources
from millrace.api.resources import ResourceType
from millrace.clients.credentials import Credentials
from millrace.clients.kube import Kube
from millrace.clients.store import Manifest
from millrace.controller import audit

from . import ending, invariants, plane, stage
from .history import WORKLOADS, Change
from .injector import Injector
from .people import Unmet
from .plans import Plan
from .pods import ALONE, CONTENDED, Pods
from .proxy import Proxy
from .recorder import Recorder, Recorders
from .run import Told
from .stage import NODE, REAL, Stage
from .users import UsersKube
from .workloads import WORKLOADS as TOLD

HOLD_SECONDS: Final = 6.0
"""How long a view stays old: longer than the operator's patience with its own writes."""
AUDIT_SECONDS: Final = 10.0
"""Between two audits; where real time is dear nobody waits for minutes."""
QUIET_SECONDS: Final = 1.5
"""Without a write of the operator the world is taken to be at rest."""
LATE_SECONDS: Final = 16.0
"""The same where the operator was shown too little: until an audit and its second look."""
STALLED_SECONDS: Final = 40.0
"""The same where a watch fell silent: longer than that lasts."""
REST_SECONDS: Final = 90.0
PASS_SECONDS: Final = 15.0
STARVED_SECONDS: Final = 1.5
"""If a trivial request takes longer, a run that failed may have failed for that."""
NAMESPACE: Final = "ml"
_NO_STATE: Final = frozenset({"leases", "events"})
_KINDS: Final = {(WORKLOADS if one == resources.WORKLOADS else one.plural): one for one in resources.ALL}


def hasten() -> None:
    """From now on the operators of this process use the short waits of real time."""
    stage.hasten()
    audit.SHORTEST_SECONDS = AUDIT_SECONDS


@dataclass(frozen=True)
class Task:
    """One run: of a plan, or undisturbed. `end` is what it is held against."""

    workload: str
    plan: Plan | None = None
    end: Mapping[str, Any] | None = None
    replicas: int = 1
    keeps_history: bool = False


class Starved(Exception):
    """The machine was too busy; what was told is the argument."""


class RealTier:
    """What the plans of one process share, an async context manager. `access` is an administrator's."""

    def __init__(self, access: Credentials, tokens: dict[str, str]) -> None:
        self.proxy = Proxy(access, tokens)
        self.recorders = Recorders(self.proxy)
        self.kube = Kube(access, timeout=30.0)
        self._stack = contextlib.AsyncExitStack()
        self._slow: dict[str, float] = {}
        """By namespace: the longest time that a trivial request took during its run."""

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.kube)
        await self._stack.enter_async_context(self.proxy)
        await self._stack.enter_async_context(self.recorders)
        feeling = asyncio.create_task(self._feel(), name="feel the pulse")
        self._stack.callback(feeling.cancel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def tell(self, task: Task, namespace: str) -> Told:
        """Tell it in a namespace of its own and judge what happened. Never raises for what the operator did, and
        Starved when the machine was too busy for what must happen in time.
        """
        began = time.monotonic()
        self._slow[namespace] = 0.0
        told = Told(task.plan.id if task.plan is not None else task.workload)
        with self.recorders.record(namespace) as recorder:
            await plane.make_namespace(self.kube, namespace)
            this_run = RealRun(self, recorder, namespace, told, task)
            await this_run.run(task.workload)
            told.history = recorder.history()
        told.trace, told.reached = this_run.injector.trace, this_run.injector.reached
        told.findings += [str(finding) for finding in invariants.check(told.history)]
        told.end = _renamed(told.end, namespace)
        if task.end is not None:
            told.findings += ending.differences(told.end, task.end, TOLD[task.workload].alike)
        if not told.is_good and self._slow.pop(namespace) > STARVED_SECONDS:
            raise Starved(told)
        told.seconds = time.monotonic() - began
        return told

    async def _feel(self) -> None:
        """Send a trivial request again and again: how long it takes shows how busy the machine is."""
        while True:
            began = time.monotonic()
            with contextlib.suppress(errors.ApiError):
                await self.kube.get(plane.NAMESPACES, "", "default")
            await asyncio.sleep(0.25)
            took = time.monotonic() - began - 0.25
            for namespace, slowest in self._slow.items():
                self._slow[namespace] = max(slowest, took)


class RealRun:
    """One plan in its namespace; the `Hands` of its injector."""

    hold = HOLD_SECONDS

    def __init__(self, tier: RealTier, recorder: Recorder, namespace: str, told: Told, task: Task) -> None:
        plan = task.plan
        self._tier = tier
        self._recorder = recorder
        self._namespace = namespace
        self._told = told
        self._replicas = task.replicas
        self._quiet = _quiet(plan)
        self._may_differ = plan is not None and plan.fault == "recreated"
        self._users: dict[str, UsersKube] = {}
        self._recreating: list[asyncio.Task[None]] = []
        self.injector = Injector(plan, self)
        terms = ALONE if self._replicas == 1 else CONTENDED
        self.patience = terms.request_seconds
        self.pods = Pods(
            tier.proxy, namespace, self._fetch, self.injector.through, self.injector.show, recorder.note, terms
        )
        self.stage = Stage(namespace, self.access, self.pods.clock, pace=REAL, pulse=recorder.pulse)

    async def run(self, workload: str) -> None:
        """Tell the workload, wait for rest, look once more at everything."""
        began = self.now()
        try:
            async with self.stage:
                for number in range(self._replicas):
                    self.pods.start(f"millrace-{number}")
                is_whole = True
                try:
                    await TOLD[workload].perform(self.stage)
                except (Unmet, errors.ApiError) as error:
                    is_whole = not self._may_differ
                    if is_whole:
                        self._told.findings.append(f"after {self.now() - began:.0f} s: {error}")
                if is_whole:  # of a story that waited in vain the last words are missing: it may never rest
                    await self._settle()
                await self._conclude()
        finally:
            for task in self._recreating:
                task.cancel()
            await self.pods.stop()
            for kube in self._users.values():
                self._tier.proxy.close(kube.door)

    # --- hands

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))

    def kill(self, sender: str) -> None:
        self.pods.kill(sender)

    async def pause(self, sender: str, seconds: float) -> None:
        """For somewhat more than a lease, however long is wanted."""
        await self.pods.pause(sender, min(seconds, self.pods.terms.lease_seconds + 2.0))

    def skew(self, seconds: float) -> None:
        self.pods.clock.skew += seconds

    def recreate(self, kind: str, name: str) -> None:
        self._recreating.append(asyncio.create_task(self._recreate(_KINDS[kind], name)))

    async def _recreate(self, resource: ResourceType, name: str) -> None:
        kube = self.access(NODE)
        try:
            found = await kube.get(resource, self._namespace, name)
        except errors.NotFound:
            return
        metadata = found["metadata"]
        await kube.delete(resource, self._namespace, name, uid=metadata["uid"])
        kept = {one: metadata[one] for one in ("name", "namespace", "labels", "annotations") if one in metadata}
        again = {one: found[one] for one in ("apiVersion", "kind", "spec")} | {"metadata": kept}
        await self.stage.people.create(again, NODE)

    # --- the rest

    def access(self, user: str) -> UsersKube:
        """The client of a user or the node, open."""
        if user not in self._users:
            sender, name = ("kubelet", "") if user == NODE else ("user", user)
            door = self._tier.proxy.open(sender, user=name, note=self._recorder.note)
            self._users[user] = UsersKube(door, self._recorder)
        return self._users[user]

    async def _fetch(self, host: str, port: int, path: str) -> str:
        return await self.stage.fetch(host, port, path)

    async def _conclude(self) -> None:
        """Look at everything, live: the end, and what the history must have come to."""
        found: list[Manifest] = []
        for resource in (*resources.OWN, *resources.CHILDREN):
            found += await self._tier.kube.list(resource, self._namespace)
        await self._recorder.catch_up(found)
        self._told.end = ending.canonical(found)
        self._told.findings += [*ending.doubles(found), *self.pods.crashes]

    async def _settle(self) -> None:
        """The operator comes to rest, and looking once more at everything it writes nothing."""
        deadline = self.now() + REST_SECONDS
        while (pause := self._quiet - (self.now() - self._recorder.wrote)) > 0:
            if self.now() > deadline:
                self._told.findings.append(f"the operator did not come to rest within {REST_SECONDS:.0f} s")
                return
            await asyncio.sleep(min(1.0, pause))
        before = self._recorder.position()
        await self._look()
        for change in _writes(self._recorder.since(before)):
            self._told.findings.append(f"a further pass wrote {change.name}")

    async def _look(self) -> None:
        """The leader looks at everything again."""
        deadline = self.now() + PASS_SECONDS
        while (leader := self.pods.leader) is None:
            if self.now() > deadline:
                self._told.findings.append("nobody leads")
                return
            await asyncio.sleep(0.1)
        kernel = leader.operator.kernel
        for resource in resources.OWN:
            for one in kernel.world.store.list(resource):
                kernel.enqueue(resource, self._namespace, one["metadata"]["name"])
        while any(len(queue) or queue.working for queue in kernel._queues.values()):
            if self.now() > deadline:
                self._told.findings.append(f"looking at everything took longer than {PASS_SECONDS:.0f} s")
                return
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.2)  # until what was written would have come through the watches


def _renamed(end: dict[str, Any], namespace: str) -> dict[str, Any]:
    """The end with one name for every namespace: addresses hold it."""
    found: dict[str, Any] = json.loads(json.dumps(end).replace(namespace, NAMESPACE))
    return found


def _writes(changes: list[Change]) -> Iterator[Change]:
    return (change for change in changes if change.is_ours and change.name.kind not in _NO_STATE)


def _quiet(plan: Plan | None) -> float:
    """How long nothing must happen before the world counts as at rest."""
    if plan is not None and plan.fault == "stalled-watch":
        return STALLED_SECONDS
    late = plan is not None and plan.group in ("stale reads", "unobserved states", "events")
    return LATE_SECONDS if late else QUIET_SECONDS
