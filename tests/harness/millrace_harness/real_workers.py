"""Many plans on the real tier: one control plane, a few processes with a loop each, several plans at once on each loop.

First each workload is told undisturbed: what that run asked and was shown says where faults can be put, and where it
ended is where every other run must end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import queue
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from millrace.clients.credentials import Credentials

from . import plans, real
from .history import History
from .plane import Plane
from .plans import Plan
from .real import Task
from .realtime import RealLoop
from .run import Told
from .sweep import Heard
from .trace import Trace

WORKLOADS: Final = (
    "dataset-refreshed", "bad-source-keeps-version", "run-makes-model", "automatic-approval", "approved-and-revoked",
    "first-deployment", "canary-promotes", "bad-canary", "scaled", "dataset-deleted-during-run", "run-recreated",
    "stable-model-deleted", "two-deployments", "drift-retrains",
)  # fmt: skip
"""Those of virtual time that take seconds here, and two that take more."""
DEAR: Final = {"two-deployments": 8, "drift-retrains": 8}
"""Workloads of whose plans one in so many is taken."""
PLANS: Final[Mapping[str, int]] = {
    "crashes": 116,
    "answers": 56,
    "stale reads": 16,
    "unobserved states": 6,
    "events": 8,
    "clock jumps": 8,
    "paused leaders": 8,
}
"""How many plans of each class a run takes; some are more than must be reached."""
LONGEST_SECONDS: Final = 420.0
"""A run that takes longer hangs."""
AT_ONCE: Final = 8
"""Runs at once in one process: they mostly wait."""
CHECK_SECONDS: Final = 5.0
TRIES: Final = 3
OF_TWO: Final = ("run-makes-model", "first-deployment", "canary-promotes")
"""Workloads that are told to two replicas too."""
_WAITS: Final = ("stale reads", "unobserved states", "events", "answers")


class WorkerPool:
    """Processes on one control plane that tell plans; made by `opened`."""

    def __init__(self, access: Credentials, tokens: dict[str, str], processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._jobs: Any = context.Queue()
        self._answers: Any = context.Queue()
        self._count = 0
        self._processes = [
            context.Process(target=_perform, args=(access, tokens, self._jobs, self._answers), daemon=True)
            for _ in range(processes)
        ]
        for process in self._processes:
            process.start()

    def undisturbed(self, names: Iterable[str], heard: Heard) -> list[Told]:
        """Every workload without a fault, in their order."""
        return self._tell([Task(name) for name in names], heard)

    def of_two(self, names: Iterable[str]) -> dict[str, Trace]:
        """What two replicas ask and are shown without a fault, by workload."""
        return {one.plan: one.trace for one in self._tell([Task(name, replicas=2) for name in names], _unheard)}

    def disturbed(
        self,
        chosen: Sequence[Plan],
        ends: Mapping[str, Mapping[str, Any]],
        heard: Heard,
        *,
        keeps_history: bool = False,
    ) -> list[Told]:
        """Every plan, held against the end of its workload if it has that end."""
        # The slow ones first: in the end nobody waits for them alone.
        ordered = sorted(chosen, key=lambda plan: plan.group not in _WAITS)
        tasks = [Task(one.workload, one, _end(one, ends), keeps_history=keeps_history) for one in ordered]
        return self._tell(tasks, heard)

    def end(self) -> None:
        """Kill the processes: nothing that they hold outlives the control plane."""
        for process in self._processes:
            process.kill()
            process.join()

    def _tell(self, tasks: Sequence[Task], heard: Heard) -> list[Told]:
        """Each, in the order of the tasks. Raises RuntimeError when a process has died."""
        for number, task in enumerate(tasks):
            self._count += 1
            self._jobs.put((number, f"plan-{self._count}", task))
        found: dict[int, Told] = {}
        while len(found) < len(tasks):
            self._check()
            with contextlib.suppress(queue.Empty):
                number, told = self._answers.get(timeout=CHECK_SECONDS)
                found[number] = told
                heard(told)
        return [found[number] for number in range(len(tasks))]

    def _check(self) -> None:
        for process in self._processes:
            if not process.is_alive():
                raise RuntimeError(f"a process that tells plans ended with code {process.exitcode}")


@contextlib.contextmanager
def opened(processes: int) -> Iterator[WorkerPool]:
    """A pool on a control plane of its own, for the time of the block."""
    with tempfile.TemporaryDirectory(prefix="millrace-harness-") as folder, Plane(Path(folder)) as plane:
        pool = WorkerPool(plane.access(), plane.tokens, processes)
        try:
            yield pool
        finally:
            pool.end()


def chosen(undisturbed: Iterable[Told], of_two: Mapping[str, Trace], only: str = "") -> list[Plan]:
    """The plans of a run: so many of each class, or those that match."""
    every = {plan for one in undisturbed for plan in plans.every(one.plan, one.trace, of_two.get(one.plan))}
    if only:
        return sorted(plan for plan in every if fnmatchcase(plan.id, only))
    cheap = [plan for n, plan in enumerate(sorted(every)) if n % DEAR.get(plan.workload, 1) == 0]
    found: list[Plan] = []
    for name, faults in plans.CLASSES.items():
        found += plans._evenly([plan for plan in cheap if plan.fault in faults], PLANS[name])
    return sorted(found)


def _end(plan: Plan, ends: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Where the plan must end; None where real time leaves it open."""
    return None if plan.fault == "recreated" else ends[plan.workload]


def _unheard(_: Told) -> None:
    """Nobody counts these."""


def _perform(access: Credentials, tokens: dict[str, str], jobs: Any, answers: Any) -> None:
    """The life of one process."""
    logging.disable(logging.CRITICAL)
    real.hasten()
    with asyncio.Runner(loop_factory=RealLoop) as runner:
        runner.run(_work(access, tokens, jobs, answers))


async def _work(access: Credentials, tokens: dict[str, str], jobs: Any, answers: Any) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)  # errors of killed processes
    loop.set_default_executor(ThreadPoolExecutor(AT_ONCE + 2))
    async with real.RealTier(access, tokens) as tier:

        async def tell_on() -> None:
            while True:
                number, namespace, task = await asyncio.to_thread(jobs.get)
                answers.put((number, await _tell(tier, namespace, task)))

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(tell_on())


async def _tell(tier: real.RealTier, namespace: str, task: Task) -> Told:
    """One run; again if the machine was too busy, or if chance took it past the place of its fault. A trouble of
    the harness itself is a finding like any other.
    """
    for attempt in range(TRIES):
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                told = await tier.tell(task, f"{namespace}-{attempt}")
        except real.Starved as starved:
            told = starved.args[0]
        except Exception as error:  # noqa: BLE001 - one plan must not stop the others
            name = task.plan.id if task.plan is not None else task.workload
            return Told(name, [f"the harness failed: {error!r}"], reached=True)
        else:
            if told.reached:
                break
    if task.plan is not None:
        told.trace, told.end = Trace(), {}
    if not task.keeps_history:
        told.history = History()
    return told
