"""One run in virtual time: the real operator on the model of the API server is told a workload, with one fault in it.

    told = run.tell("canary-promotes", plans.parse("crash-after/canary-promotes/apply-configmaps-3"), undisturbed.end)

A run is a function of its plan: no clock, no socket, no chance. What is asked of it: the workload comes to its end, the
end is that of the undisturbed run, nothing is doubled, every law of `invariants` held at every moment, the operator
comes to rest, and a fresh one that looks at everything changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import random
import time
from dataclasses import dataclass, field
from typing import Any, Final

from millrace import errors
from millrace.api import resources
from millrace.clients.kube import Kube
from millrace.clients.store import Manifest
from millrace.settings import Settings

from . import ending, invariants
from .apiserver import ApiServer, Change, Controllers
from .history import WORKLOADS, History
from .injector import Injector
from .people import Unmet
from .plans import HOLD_SECONDS, Plan
from .replica import Process, SimKube
from .stage import NODE, Stage
from .trace import Trace
from .virtual import Stuck, VirtualClock, VirtualLoop
from .workloads import WORKLOADS as TOLD
from .workloads import Workload

NAMESPACE: Final = "ml"
RESTART_SECONDS: Final = 1.0
"""From a death to the next start."""
QUIET_SECONDS: Final = 15.0
"""Without a write of the operator the world is taken to be at rest."""
LATE_SECONDS: Final = 100.0
"""The same where the operator was shown too little: its audits come every minute."""
STALLED_SECONDS: Final = 300.0
"""The same where a watch fell silent: longer than that lasts."""
REST_SECONDS: Final = 1500.0
LOOK_SECONDS: Final = 5.0
"""How long users and nodes look away when nothing changes."""
PASS_SECONDS: Final = 20.0
"""In which a fresh operator takes its lease over and looks at everything."""
_NO_STATE: Final = frozenset({"leases", "events"})
_KINDS: Final = {(WORKLOADS if one == resources.WORKLOADS else one.plural): one for one in resources.ALL}


@dataclass
class Told:
    """What came of a run. It is good if there are no findings and the fault was reached."""

    plan: str
    findings: list[str] = field(default_factory=list)
    reached: bool = False
    seconds: float = 0.0
    """Of CPU."""
    virtual: float = 0.0
    end: dict[str, Any] = field(default_factory=dict)
    trace: Trace = field(default_factory=Trace)
    history: History = field(default_factory=History)

    @property
    def is_good(self) -> bool:
        return self.reached and not self.findings


def tell(
    workload: str,
    plan: Plan | None = None,
    undisturbed: ending.Canonical | None = None,
    *,
    is_control: bool = False,
    replicas: int = 1,
) -> Told:
    """Tell it once and judge it, held against the end of an undisturbed run if that is given. Never raises for what the
    operator did.
    """
    began = time.process_time()
    random.seed(workload)
    told = Told(plan.id if plan is not None else workload)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        replicas = plan.replicas if plan is not None else replicas
        this_run = VirtualRun(TOLD[workload], plan, told, replicas, is_control=is_control)
        try:
            runner.run(this_run.run())
        except Stuck as stuck:
            told.findings.append(f"the simulation is stuck: {stuck}")
        told.virtual = runner.get_loop().time()
    told.trace, told.reached, told.history = this_run.injector.trace, this_run.injector.reached, this_run.history
    told.findings += [str(finding) for finding in invariants.check(this_run.history)]
    if undisturbed is not None:
        told.findings += ending.differences(told.end, undisturbed, TOLD[workload].alike)
    told.seconds = time.process_time() - began
    return told


class VirtualRun:
    """The world of one run; the `Hands` of its injector."""

    hold = HOLD_SECONDS
    patience = 10.0

    def __init__(
        self, workload: Workload, plan: Plan | None, told: Told, replicas: int = 1, *, is_control: bool = False
    ) -> None:
        self.history = History()
        self.injector = Injector(plan, self, is_control=is_control)
        self._workload = workload
        self._told = told
        self._replicas = replicas
        self._quiet = _quiet(plan)
        self._may_differ = plan is not None and plan.fault == "recreated"
        self._number = 0
        self.commits = 0
        self.news = asyncio.Event()
        """Set, and replaced, at the next commit."""
        self._living: dict[str, tuple[str, Process]] = {}
        """By sender: the pod's name and its process."""

    async def run(self) -> None:
        """The whole of it."""
        self._loop = asyncio.get_running_loop()
        assert isinstance(self._loop, VirtualLoop)
        self._server = ApiServer(self._loop)
        self._server.subscribe(self._record)
        Controllers(self._server)
        self._clock = VirtualClock(self._loop)
        self._users: dict[str, Kube] = {}
        self.stage = Stage(NAMESPACE, self._access, VirtualClock(self._loop))
        self.stage.people.pulse = _Pulse(self, 0.0)
        self.stage.kubelet.pulse = _Pulse(self, self.stage.pace.poll)
        async with self.stage:
            for number in range(self._replicas):
                self._start(f"millrace-{number}")
            try:
                await self._workload.perform(self.stage)
            except (Unmet, errors.ApiError) as error:
                if not self._may_differ:
                    self._told.findings.append(f"after {self.now():.0f} s: {error}")
            await self._settle()
            self.history.ended = self.now()
            objects = await self.stage.objects()
            self._told.end = ending.canonical(objects)
            self._told.findings += ending.doubles(objects)
            living, self._living = self._living, {}
            for _, process in living.values():
                process.kill()

    # --- hands

    def now(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))

    def kill(self, sender: str) -> None:
        found = self._living.pop(sender, None)
        if found is not None:
            pod, process = found
            process.kill()
            self._loop.call_later(RESTART_SECONDS, self._start, pod, context=contextvars.Context())

    async def pause(self, sender: str, seconds: float) -> None:
        found = self._living.get(sender)
        if found is not None:
            found[1].pause(seconds)
            await asyncio.sleep(0)

    def skew(self, seconds: float) -> None:
        self._clock.skew += seconds

    def recreate(self, kind: str, name: str) -> None:
        self._recreating = self._loop.create_task(self._recreate(kind, name), context=contextvars.Context())

    async def _recreate(self, kind: str, name: str) -> None:
        resource, kube = _KINDS[kind], self._access("alice")
        try:
            found = await kube.get(resource, NAMESPACE, name)
        except errors.NotFound:
            return
        metadata = found["metadata"]
        await kube.delete(resource, NAMESPACE, name, uid=metadata["uid"])
        kept = {one: metadata[one] for one in ("name", "namespace", "labels", "annotations") if one in metadata}
        again = {one: found[one] for one in ("apiVersion", "kind", "spec")} | {"metadata": kept}
        await self.stage.people.create(again, NODE)

    # --- the rest

    def _start(self, pod: str) -> None:
        self._number += 1
        sender = f"operator-{self._number}"
        settings = Settings(
            namespace=NAMESPACE, trainer_image="trainer:1", server_image="server:1", router_image="router:1",
            identity=pod, workers=2,
        )  # fmt: skip
        process = Process(
            self._server, sender, settings, through=self.injector.through, show=self.injector.show,
            fetch=self.stage.fetch, clock=self._clock,
        )  # fmt: skip
        self._living[sender] = (pod, process)
        process.start().add_done_callback(lambda life: self._died(sender, life))

    def _died(self, sender: str, life: asyncio.Task[Any]) -> None:
        """A process that ended unasked is started again, as a Deployment would; what ended it is a finding."""
        if sender in self._living:
            error = None if life.cancelled() else life.exception()
            if not isinstance(error, errors.ApiError):  # of its start, which the next one tries again
                self._told.findings.append(f"{sender} ended by itself at {self.now():.0f} s: {error!r}")
            self.kill(sender)

    def _access(self, user: str) -> Kube:
        if user not in self._users:
            sender = "kubelet" if user == NODE else "user"
            self._users[user] = SimKube(sender, self._server.exchange)
        return self._users[user]

    def _record(self, change: Change) -> None:
        self.history.add(change.at, change.sender, change.before, change.after, change.request)
        if change.resource.plural not in _NO_STATE:
            self.commits += 1
            news, self.news = self.news, asyncio.Event()
            news.set()

    async def _settle(self) -> None:
        """The operator comes to rest, and a fresh one that looks at everything changes nothing."""
        deadline = self.now() + REST_SECONDS
        while self.now() - self._last_write() < self._quiet:
            if self.now() > deadline:
                self._told.findings.append(f"the operator did not come to rest within {REST_SECONDS:.0f} s")
                return
            await asyncio.sleep(1.0)
        self.injector.trace.is_closed = True
        known = len(self.history.changes)
        for sender in list(self._living):
            self.kill(sender)
        await asyncio.sleep(PASS_SECONDS)
        for change in self.history.changes[known:]:
            if change.is_ours and change.name.kind not in _NO_STATE:
                self._told.findings.append(f"a further pass wrote {change.name}: {_what(change.before, change.after)}")

    def _last_write(self) -> float:
        """When an operator last changed something that counts."""
        for change in reversed(self.history.changes):
            if change.is_ours and change.name.kind not in _NO_STATE:
                return change.at
        return 0.0


class _Pulse:
    """What users or the node do between two looks: when nothing was committed since the last there is nothing to see.
    Somebody who says to look again within `busy` seconds has a reason to.
    """

    def __init__(self, this_run: VirtualRun, busy: float) -> None:
        self._run = this_run
        self._busy = busy
        self._seen = -1

    async def __call__(self, seconds: float) -> None:
        this_run = self._run
        if seconds > self._busy and this_run.commits == self._seen:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await this_run.news.wait()
        await asyncio.sleep(this_run.stage.pace.poll)
        self._seen = this_run.commits


def _quiet(plan: Plan | None) -> float:
    """How long nothing must happen before the world counts as at rest."""
    if plan is not None and plan.fault == "stalled-watch":
        return STALLED_SECONDS
    late = plan is not None and plan.group in ("stale reads", "unobserved states", "events")
    return LATE_SECONDS if late else QUIET_SECONDS


def _what(before: Manifest | Any, after: Manifest | Any) -> str:
    """The top-level fields that differ."""
    if before is None or after is None:
        return "created" if before is None else "deleted"
    names = [name for name in sorted({*before, *after}) if name != "metadata" and before.get(name) != after.get(name)]
    found = [f"{name}.{key}" for name in names if isinstance(after.get(name), dict)
             for key in sorted({*(before.get(name) or {}), *after[name]})
             if (before.get(name) or {}).get(key) != after[name].get(key)]  # fmt: skip
    return ", ".join(found or names) or "metadata"
