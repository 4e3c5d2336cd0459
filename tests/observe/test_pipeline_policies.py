"""What a Model and a run are observed to have been checked by: policies that nobody touched meanwhile."""

from __future__ import annotations

import pytest

from millrace import errors
from millrace.api import resources
from millrace.api.model import Model
from millrace.api.resources import ResourceType
from millrace.clients.store import Manifest, Store
from millrace.clients.world import PolicyStatus, World
from millrace.decide.model import Rejection
from millrace.observe import model, policy, training_run
from millrace.render import admission

from .test_pipeline import MODEL, NOW, RESOLVED, RUN, A, Live, guard, in_force, live, put, world

__all__ = ["live", "world"]


async def test_entries_are_read_live_between_two_looks_at_the_policies(world: World, live: Live) -> None:
    guard(live)
    world.policy = await in_force(world)
    entry = {"user": "bob", "decision": "Approve", "digest": A}
    put(world.store, resources.MODELS, "churn-7", spec=MODEL)
    put(live.store, resources.MODELS, "churn-7", spec={**MODEL, "approvals": [entry]})
    seen = await model.observe(world, "ml", "churn-7")
    assert seen is not None
    assert seen.model.spec.approvals is not None, "the watch is behind"
    assert (seen.policy_in_force, seen.policy_epoch) == (True, world.policy.epoch)

    async def changing(resource: ResourceType, namespace: str, name: str) -> Manifest:
        if resource == resources.MODELS:
            guard(live, generation=2)
        return await Live.get(live, resource, namespace, name)

    live.get = changing  # type: ignore[method-assign]
    seen = await model.observe(world, "ml", "churn-7")
    assert seen is not None
    assert (seen.policy_in_force, seen.policy_epoch) == (None, ""), "nobody can say under which they were written"


async def test_what_is_judged_is_not_read_again(world: World, live: Live) -> None:
    guard(live)
    world.policy = await in_force(world)
    approvals = {"required": 1, "granted": 0, "rejected": 0, "judged": 0, "epoch": world.policy.epoch}
    put(world.store, resources.MODELS, "churn-7", spec=MODEL, status={"admission": "Checked", "approvals": approvals})
    live.store = Store()  # whatever is asked is not there
    seen = await model.observe(world, "ml", "churn-7")
    assert seen is not None
    assert seen.policy_epoch == world.policy.epoch


@pytest.mark.parametrize(
    ("changed", "admitted"),
    [("2026-11-21T07:59:56Z", True), ("2026-11-21T07:59:58Z", False), ("2026-11-21T08:30:00Z", False)],
    ids=["before", "a moment before, which API servers take to load them", "after"],
)
async def test_an_object_was_checked_if_it_was_created_after_the_policies_last_changed(
    world: World, live: Live, changed: str, admitted: bool
) -> None:
    guard(live, changed=changed)
    found = await in_force(world)
    assert policy.admitted(found, NOW) is admitted
    assert policy.admitted(PolicyStatus(), NOW) is None
    assert policy.admitted(PolicyStatus(in_force=False), NOW) is False


def test_bytes_rejected_under_another_name_are_seen_and_wake_each_other(world: World) -> None:
    entry = {"user": "eve", "decision": "Reject", "digest": A}
    put(world.store, resources.MODELS, "churn-3", spec={**MODEL, "version": "3", "approvals": [entry]})
    put(world.store, resources.MODELS, "churn-4", spec={**MODEL, "version": "4"})
    put(world.store, resources.MODELS, "churn-7", spec=MODEL)
    seen = list(model._rejections(world, Model.model_validate(world.store.get(resources.MODELS, "ml", "churn-7"))))
    assert seen == [Rejection(model="churn-3", users=("eve",))]
    woken = model.WATCHES[resources.MODELS](world, {"metadata": {"name": "x", "namespace": "ml"}, "spec": MODEL})
    assert list(woken) == [("ml", "churn-3"), ("ml", "churn-4"), ("ml", "churn-7")]


OTHER = f"sha256:{'b' * 64}"
MADE = {
    "resolved": RESOLVED,
    "candidate": {name: MODEL[name] for name in ("artifact", "signature", "goldenSetUri", "referenceProfileUri")},
}
CLAIM: Manifest = {
    **MODEL,
    "provenance": {"author": "ada", "trainingRunRef": {"name": "gb"}, "dataset": RESOLVED["dataset"]},
    "approvalPolicy": {"required": 1, "distinctFromAuthor": True},
}


@pytest.mark.parametrize(
    ("claim", "status", "is_its"),
    [
        ({}, {"modelRef": {"name": "churn-7"}}, True),
        ({}, {"modelRef": {"name": "churn-6"}}, False),
        ({}, {}, False),
        ({"artifact": {**CLAIM["artifact"], "digest": OTHER}}, {"modelRef": {"name": "churn-7"}}, False),
        ({"goldenSetUri": "s3://millrace/easy"}, {"modelRef": {"name": "churn-7"}}, False),
        ({"approvalPolicy": {"required": 0}}, {"modelRef": {"name": "churn-7"}}, False),
        ({"approvalPolicy": {"distinctFromAuthor": False}}, {"modelRef": {"name": "churn-7"}}, False),
        ({"approvalPolicy": {"required": 2}, "approvals": [{"user": "bob", "decision": "Approve", "digest": A}]},
         {"modelRef": {"name": "churn-7"}}, True),
    ],
    ids=["its Model", "another name", "none yet", "other bytes", "another golden set", "nobody has to approve it",
         "its author may approve it", "made stricter since, and approved"],
)  # fmt: skip
def test_a_model_that_claims_a_run_is_the_operators_if_the_run_says_so_and_says_the_same(
    world: World, claim: Manifest, status: Manifest, is_its: bool
) -> None:
    claimed = Model.model_validate({"metadata": {"name": "churn-7", "namespace": "ml"}, "spec": {**CLAIM, **claim}})
    put(world.store, resources.TRAINING_RUNS, "gb", spec=RUN, status={**MADE, **status})
    assert model._its_run_says_so(world, claimed) is is_its


def test_of_a_run_that_nobody_checked_the_model_waives_nothing(world: World) -> None:
    waiving = {**RUN, "output": {"modelName": "churn", "approvalPolicy": {"required": 0}}}
    claim = {**CLAIM, "approvalPolicy": {"required": 0}}
    claimed = Model.model_validate({"metadata": {"name": "churn-7", "namespace": "ml"}, "spec": claim})
    for version, checked, is_its in (("1", "Checked", True), ("2", "Unchecked", False)):
        status = {**MADE, "modelRef": {"name": "churn-7"}, "admission": checked}
        put(world.store, resources.TRAINING_RUNS, "gb", spec=waiving, status=status, version=version)
        assert model._its_run_says_so(world, claimed) is is_its


async def test_a_new_run_is_asked_about_after_it_was_seen(world: World, live: Live) -> None:
    guard(live)
    world.policy = await in_force(world)
    put(world.store, resources.TRAINING_RUNS, "gb", spec=RUN)
    seen = await training_run.observe(world, "ml", "gb")
    assert seen is not None
    assert seen.admitted is True
    guard(live, generation=2, changed="2026-11-21T08:00:30Z")
    live.create = refused  # type: ignore[attr-defined]
    seen = await training_run.observe(world, "ml", "gb")
    assert seen is not None
    assert seen.admitted is False, "the policies were touched since it was created, though nobody had noticed yet"
    put(world.store, resources.TRAINING_RUNS, "gb", spec=RUN, status={"admission": "Checked"}, version="2")
    live.store = Store()  # whatever is asked is not there
    assert await training_run.observe(world, "ml", "gb") is not None


async def refused(resource: ResourceType, manifest: Manifest, dry_run: bool = False) -> Manifest:
    name = admission.APPROVALS if resource is resources.MODELS else admission.RUNS
    raise errors.Forbidden(f"ValidatingAdmissionPolicy '{name}' denied the request: (rules {admission.RULES})")
