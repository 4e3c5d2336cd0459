"""One pass over one object: look, decide, write. And what happens when a pass fails.

There are no create, update and delete branches: a pass does what the present asks for, whatever happened before.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from pydantic import ValidationError

from millrace import errors
from millrace.api.resources import ResourceType
from millrace.apply.execute import Executor, Outcome
from millrace.apply.failing import REFUSALS
from millrace.apply.ledger import Ledger
from millrace.clients.store import Key, Manifest
from millrace.clients.world import World
from millrace.controller import failures, live
from millrace.controller.live import Learn
from millrace.controller.routing import Controller
from millrace.decide.plan import Plan
from millrace.telemetry import Log

log = Log(__name__)

STALE_SECONDS = 0.1
"""How soon to look again when the cache is behind or somebody was faster; an event usually comes first."""
PATIENCE = 5
"""Failures in a row before the object's own status says so."""


@dataclass(frozen=True)
class Result:
    """How a pass ended. ``label`` is controller-runtime's: success, requeue_after, requeue, error."""

    label: str
    again_after: float | None = None
    outcome: Outcome | None = None


class Reconciler:
    """The passes over one kind."""

    def __init__(self, controller: Controller, world: World, executor: Executor, ledger: Ledger, learn: Learn) -> None:
        self._controller = controller
        self._world = world
        self._executor = executor
        self._ledger = ledger
        self._learn = learn
        self._refusals: dict[Key, str] = {}
        """The message of the API server, if it refused the status of the last pass over an object."""

    @property
    def resource(self) -> ResourceType:
        return self._controller.resource

    async def reconcile(self, key: Key, failures_before: int = 0) -> Result:
        """One pass, after so many failed ones in a row. Raises whatever observing, deciding or writing raised, and
        WritesFailed if only some writes failed.
        """
        self._refusals.pop(key, None)
        await self._catch_up(key)
        found = self._world.store.get(*key)
        if found is None:
            self._ledger.forget(key)
            return Result("success")
        if "deletionTimestamp" in found["metadata"]:
            return Result("success")  # whatever holds it is not ours; the garbage collector takes its children
        if self._ledger.is_behind(key, self._world.store):
            return Result("requeue_after", STALE_SECONDS)
        try:
            seen = await self._controller.observe(self._world, key.namespace, key.name)
        except ValidationError as error:
            if failures.is_about_a_spec(error):
                return await self._give_up(key, found, error)
            raise
        if not seen:
            return Result("success")
        return await self._carry_out(key, found, self._controller.decide(seen), failures_before)

    async def _carry_out(self, key: Key, found: Manifest, plan: Plan, failures_before: int) -> Result:
        report = partial(failures.reported, found, now=self._world.clock.now(), lasting=failures_before + 1 >= PATIENCE)
        try:
            outcome = await self._executor.execute(self.resource, found, plan, report)
        except REFUSALS as refusal:
            self._refusals[key] = str(refusal)
            raise
        return await self._ended(key, plan.wake_after, outcome)

    async def _give_up(self, key: Key, found: Manifest, error: ValidationError) -> Result:
        """Report in the status what cannot be understood. Only a change of an object ends this, and a change comes with
        a watch event.
        """
        log.warning("an object cannot be understood", key=str(key), why=str(error))
        outcome = Outcome()
        await self._executor.write_status(
            key, found, failures.invalid_spec(found, error, self._world.clock.now()), outcome
        )
        return await self._ended(key, None, outcome)

    async def _ended(self, key: Key, wake_after: float | None, outcome: Outcome) -> Result:
        if outcome.outdated:
            await self._read_live(key)
        if outcome.stale:
            return Result("requeue", STALE_SECONDS, outcome)
        if outcome.failures:
            raise errors.WritesFailed([one.error for one in outcome.failures], wake_after)
        return Result("success" if wake_after is None else "requeue_after", wake_after, outcome)

    async def _catch_up(self, key: Key) -> None:
        for late in self._ledger.overdue(key, self._world.store):
            await self._read_live(late)

    async def _read_live(self, key: Key) -> None:
        """Learn what the watch should have shown: to go on without it would be to decide from the past."""
        await live.read(self._world.kube, self._world.store, key, self._learn)

    async def report_failure(self, key: Key, count: int) -> None:
        """Report in the object's status that its passes keep failing, once they have failed `PATIENCE` times."""
        found = self._world.store.get(*key)
        if count < PATIENCE or found is None:
            return
        settings = self._world.settings
        command = f"kubectl -n {settings.namespace} logs deployment/{settings.lease_name}"
        now = self._world.clock.now()
        refusal = self._refusals.get(key)
        if refusal is not None:
            status = failures.refused(found, refusal, now)
        else:
            status = failures.internal_error(found, PATIENCE, command, now)
        try:
            await self._write_status(key, found, status)
        except errors.MillraceError as error:
            log.warning("the failure could not be reported in the status", key=str(key), why=str(error))

    async def _write_status(self, key: Key, found: Manifest, status: Manifest) -> None:
        await self._executor.write_status(key, found, status, Outcome())
