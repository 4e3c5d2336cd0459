"""One pass over one object: look, decide, write. And what happens when a pass fails.

There are no create, update and delete branches: a pass does what the present asks for, whatever happened before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from millrace import errors
from millrace.api.resources import ResourceType
from millrace.apply.execute import Executor, Outcome
from millrace.apply.ledger import Ledger
from millrace.clients.store import Key, Manifest
from millrace.clients.world import World
from millrace.controller import failures
from millrace.controller.routing import Controller
from millrace.decide.plan import Event, Plan
from millrace.telemetry import Log

log = Log(__name__)

STALE_SECONDS = 0.1
"""How soon to look again when the cache is behind or somebody was faster; an event usually comes first."""
PATIENCE = 5
"""Failures in a row before the object's own status says so."""

REFUSALS: Final = (errors.BadRequest, errors.Forbidden, errors.Invalid)
"""Refusals that repeating the request does not change."""

Learn = Callable[[ResourceType, Manifest, bool], None]
"""Told of an object that appeared or changed (False) or went (True), like by a watch."""


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
        """What the API server said to the last pass over an object, if that is why the pass failed."""

    @property
    def resource(self) -> ResourceType:
        return self._controller.resource

    async def reconcile(self, key: Key) -> Result:
        """One pass. Raises whatever observing, deciding or writing raised."""
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
        return await self._carry_out(key, found, self._controller.decide(seen)) if seen else Result("success")

    async def _carry_out(self, key: Key, found: Manifest, plan: Plan) -> Result:
        try:
            outcome = await self._executor.execute(self.resource, found, plan)
        except errors.NameConflict as conflict:
            status = failures.name_conflict(found, str(conflict), self._world.clock.now())
            event = Event(type="Warning", reason=failures.NAME_CONFLICT, message=status["message"])
            await self._executor.execute(self.resource, found, Plan(status=status, events=(event,)))
            raise
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
        return Result("success" if wake_after is None else "requeue_after", wake_after, outcome)

    async def _catch_up(self, key: Key) -> None:
        for late in self._ledger.overdue(key, self._world.store):
            await self._read_live(late)

    async def _read_live(self, key: Key) -> None:
        """Read live what the watch should have shown, and put it into the cache: the pass would decide on an old state
        otherwise.
        """
        try:
            live = await self._world.kube.get(*key)
        except errors.NotFound:
            cached = self._world.store.get(*key)
            if cached is not None:
                self._learn(key.resource, cached, True)
            return
        self._learn(key.resource, live, False)

    async def report_failure(self, key: Key, count: int) -> None:
        """Report in the object's status that its passes keep failing, once they have failed `PATIENCE` times."""
        found = self._world.store.get(*key)
        if count < PATIENCE or found is None or _has_condition(found, failures.NAME_CONFLICT):
            return
        settings = self._world.settings
        now = self._world.clock.now()
        refusal = self._refusals.get(key)
        if refusal is not None:
            status = failures.refused(found, refusal, now)
        else:
            status = failures.internal_error(found, PATIENCE, settings.lease_name, settings.namespace, now)
        try:
            await self._write_status(key, found, status)
        except errors.MillraceError as error:
            log.warning("the failure could not be reported in the status", key=str(key), why=str(error))

    async def _write_status(self, key: Key, found: Manifest, status: Manifest) -> None:
        await self._executor.write_status(key, found, status, Outcome())


def _has_condition(found: Manifest, reason: str) -> bool:
    return any(one.get("reason") == reason for one in (found.get("status") or {}).get("conditions") or ())
