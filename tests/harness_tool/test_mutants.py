"""The harness finds what it is for: each way of breaking a reconcile on purpose makes a few chosen plans fail.

The same plans are green on the operator as it is (`test_the_chosen_plans_hold`), so it is the mutant that they find.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from millrace.apply import execute
from millrace.apply.execute import Executor
from millrace.clients.clock import Steadiness
from millrace.clients.kube import Kube
from millrace.clients.store import Key
from millrace.decide import status
from millrace.decide.deployment import retiring, retraining
from millrace.decide.plan import Plan
from millrace.decide.training_run import attempt
from millrace.observe import jobs
from millrace_harness import plans, run

Patch = pytest.MonkeyPatch


def drop_the_precondition_of_a_delete(patch: Patch) -> None:
    """Delete whatever has the name and the UID, in whatever version."""
    whole = Kube.delete

    async def delete(self: Kube, *target, uid: str, resource_version: str | None = None, **options) -> None:
        await whole(self, *target, uid=uid, **options)

    patch.setattr(Kube, "delete", delete)


def decide_a_delete_from_the_cache(patch: Patch) -> None:
    """Do not look again before deleting."""

    async def delete(self: Executor, key: Key, wanted, outcome) -> bool:
        target = Key(wanted.resource, wanted.namespace, wanted.name)
        known = self._store.get(*target)
        if known is not None:
            await self._kube.delete(*target, uid=known["metadata"]["uid"])
            outcome.writes += 1
        return True

    patch.setattr(Executor, "_delete", delete)


def forget_to_read_the_answer_live(patch: Patch) -> None:
    """Use the cached pods of a Job that has finished."""
    whole = jobs._pods

    async def pods(world, job, *, live: bool):
        return await whole(world, job, live=False)

    patch.setattr(jobs, "_pods", pods)


def write_the_status_before_the_children(patch: Patch) -> None:
    """Write the status before what it reports."""
    whole = Executor.execute

    async def executed(self: Executor, resource, owner, plan, *tell):
        first = await whole(self, resource, owner, plan.model_copy(update={"children": (), "events": ()}))
        rest = await whole(
            self, resource, owner, plan.model_copy(update={"status": None, "deletes": (), "creates": ()})
        )
        return dataclasses.replace(first, writes=first.writes + rest.writes)

    patch.setattr(Executor, "execute", executed)


def write_on_top_of_any_version(patch: Patch) -> None:
    """Apply what moves traffic whatever happened to it since it was read."""
    patch.setattr(execute, "GUARDED", frozenset())


def delete_the_workload_before_its_service(patch: Patch) -> None:
    """Nothing finds the Service then: it is looked up by its workload."""
    whole = retiring._parts
    patch.setattr(retiring, "_parts", lambda seen, revision: list(reversed(whole(seen, revision))))


def go_on_after_a_conflict(patch: Patch) -> None:
    """Write the status although a child that it reports was refused."""
    _never_end_the_pass(patch, "_child")


def forget_what_could_not_be_deleted(patch: Patch) -> None:
    """Write the status although an object that it no longer reports still exists."""
    _never_end_the_pass(patch, "_delete")


def _never_end_the_pass(patch: Patch, part: str) -> None:
    whole = getattr(Executor, part)

    async def go_on(self: Executor, *what) -> bool:
        await whole(self, *what)
        return True

    patch.setattr(Executor, part, go_on)


def nudge_before_the_status(patch: Patch) -> None:
    """Let the status wait for writes that only make things faster."""
    whole = Executor.execute

    async def executed(self: Executor, resource, owner, plan, *tell):
        await whole(self, resource, owner, plan.model_copy(update={"status": None, "events": ()}))
        return await whole(
            self, resource, owner, Plan(status=plan.status, events=plan.events, wake_after=plan.wake_after)
        )

    patch.setattr(Executor, "execute", executed)


def report_the_stage_that_was_seen_last(patch: Patch) -> None:
    """Do not ask a finished Job where it ended."""
    patch.setattr(attempt, "last_stage", lambda ending, known: known.stage)


def trust_the_time_of_day(patch: Patch) -> None:
    """Count a deadline across a step of the clock."""
    patch.setattr(Steadiness, "since", lambda self: datetime(1970, 1, 1, tzinfo=UTC))


def wait_for_a_time_that_was_set_back(patch: Patch) -> None:
    """Count from the times in the status, also from those in the future."""
    for module in (status, retiring):
        patch.setattr(module, "not_after", lambda memory, now, *times: memory)


def start_a_deleted_clone_again(patch: Patch) -> None:
    """Treat a run that somebody deleted as one that never existed."""
    patch.setattr(retraining, "_it_was_deleted", lambda _: None)


MUTANTS: dict[Callable[[Patch], None], tuple[str, ...]] = {
    drop_the_precondition_of_a_delete: ("crash-before/canary-promotes/apply-configmaps-1",),
    decide_a_delete_from_the_cache: ("crash-before/canary-promotes/apply-configmaps-1",),
    forget_to_read_the_answer_live: tuple(f"stale-watch/automatic-approval/pods-{nth}" for nth in range(3, 9)),
    write_the_status_before_the_children: ("crash-after/canary-promotes/patch_status-deployments-4",),
    write_on_top_of_any_version: ("paused-leader/bad-canary/apply-configmaps-4",),
    delete_the_workload_before_its_service: ("crash-after/canary-promotes/delete-workloads-1",),
    go_on_after_a_conflict: ("answer-409/stable-model-deleted/apply-configmaps-2",),
    forget_what_could_not_be_deleted: ("answer-409/aborted-then-retried/delete-services-2",),
    nudge_before_the_status: ("timeout/stable-model-deleted/patch-pods-1",),
    report_the_stage_that_was_seen_last: ("unobserved/runs-that-fail/jobs-1",),
    trust_the_time_of_day: ("clock-forward/next-at-once/apply-workloads-3",),
    wait_for_a_time_that_was_set_back: (
        "clock-back/dataset-refreshed/delete-jobs-1",
        "clock-back/canary-promotes/patch_status-deployments-8",
    ),
    start_a_deleted_clone_again: ("crash-after/clone-deleted/create-trainingruns-1",),
}


@functools.cache
def undisturbed(workload: str) -> run.Told:
    return run.tell(workload)


def findings(plan_id: str) -> list[str]:
    plan = plans.parse(plan_id)
    told = run.tell(plan.workload, plan, undisturbed(plan.workload).end)
    assert told.reached, f"{plan_id} is not reached: choose another place for this mutant"
    return told.findings


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("plan_id", sorted({one for chosen in MUTANTS.values() for one in chosen}))
def test_the_chosen_plans_hold(plan_id: str):
    assert findings(plan_id) == []


@pytest.mark.parametrize("mutant", list(MUTANTS), ids=lambda mutant: mutant.__name__)
def test_a_mutant_makes_the_harness_red(mutant: Callable[[Patch], None], monkeypatch: Patch):
    for plan_id in MUTANTS[mutant]:
        undisturbed(plans.parse(plan_id).workload)
    mutant(monkeypatch)
    assert any(findings(plan_id) for plan_id in MUTANTS[mutant])
