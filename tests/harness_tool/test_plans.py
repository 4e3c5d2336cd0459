"""Plans are enumerated from a trace, named so that a name is enough to replay one, and chosen evenly."""

from __future__ import annotations

from collections import Counter

import pytest

from millrace_harness import plans
from millrace_harness.plans import Plan
from millrace_harness.trace import Asked, Shown, Trace


def trace() -> Trace:
    """A lease, two reads, three effective writes at two sites, and a Model that is shown three times."""
    asked = [
        Asked("update leases", 1, 0.0, 200, 1),
        Asked("get models", 1, 1.0, 200),
        Asked("apply configmaps", 1, 1.0, 200, 1),
        Asked("patch_status models", 1, 1.0, 200, 1),
        Asked("get models", 2, 2.0, 404),
        Asked("apply configmaps", 2, 9.0, 200, 2),
    ]
    shown = [
        Shown("models", 1, 1.0, "ADDED", "churn-1", "u", "5"),
        Shown("models", 2, 2.0, "MODIFIED", "churn-1", "u", "7"),
        Shown("models", 3, 99.0, "DELETED", "churn-1", "u", "8"),
    ]
    return Trace(asked, shown)


def test_plans_for_two_replicas_come_from_what_two_replicas_did():
    found = [plan for plan in plans.every("story", Trace(), trace()) if plan.fault == "paused-leader"]
    assert [plan.nth for plan in found] == [1, 1, 2]
    assert {plan.replicas for plan in found} == {2}
    assert of("paused-leader") == []


def of(fault: str) -> list[str]:
    return [plan.id for plan in plans.every("story", trace()) if plan.fault == fault]


def test_there_is_a_crash_before_and_after_each_effective_write_that_counts():
    places = ["apply-configmaps-1", "patch_status-models-1", "apply-configmaps-2"]
    assert of("crash-before") == [f"crash-before/story/{place}" for place in places]
    assert of("crash-after") == [f"crash-after/story/{place}" for place in places]


def test_every_call_site_gets_all_nine_faults():
    sites = {"update leases", "get models", "apply configmaps", "patch_status models"}
    found = {(plan.place, plan.fault) for plan in plans.every("story", trace()) if plan.fault in plans.ANSWERS}
    assert found == {(site, fault) for site in sites for fault in plans.ANSWERS}
    assert len(plans.ANSWERS) == 9


def test_a_deleted_object_cannot_be_listed_old_under_its_last_version():
    assert of("stale-list") == ["stale-list/story/models-1", "stale-list/story/models-2"]
    assert len(of("stale-watch")) == 3


def test_only_a_state_that_something_follows_soon_can_go_unobserved():
    assert of("unobserved") == ["unobserved/story/models-1"]


@pytest.mark.parametrize("plan", list(plans.every("story", trace())), ids=str)
def test_an_id_is_enough_to_replay_a_plan(plan: Plan):
    assert plans.parse(plan.id) == plan


@pytest.mark.parametrize(
    "text", ["", "crash-after", "crash-after/story/apply-configmaps", "boom/story/models-1", "a/b/c/d-1"]
)
def test_what_is_no_id_is_refused(text: str):
    with pytest.raises(ValueError, match="is no plan"):
        plans.parse(text)


def test_a_choice_takes_every_place_before_any_place_twice():
    many = [Plan("crash-after", workload, f"apply {kind}", nth)
            for workload in "abc" for kind in ("pods", "jobs") for nth in range(1, 20)]  # fmt: skip
    taken = plans.chosen(many, dict.fromkeys(plans.CLASSES, 12))
    assert set(Counter((plan.workload, plan.place) for plan in taken).values()) == {2}


def test_a_choice_holds_all_nine_faults_of_every_call_site_whatever_the_minimum():
    taken = plans.chosen(plans.every("story", trace()), dict.fromkeys(plans.CLASSES, 0))
    assert {(plan.place, plan.fault) for plan in taken} == {
        (site, fault) for site in trace().sites for fault in plans.ANSWERS
    }


def test_most_of_a_choice_comes_from_cheap_workloads_as_long_as_they_have_so_many():
    many = [Plan("crash-after", workload, "apply jobs", nth) for workload in "abc" for nth in range(1, 20)]
    taken = plans.chosen(many, dict.fromkeys(plans.CLASSES, 12), cheap={"a"})
    assert Counter(plan.workload for plan in taken)["a"] in (8, 9, 10)
    assert len(plans.chosen(many, dict.fromkeys(plans.CLASSES, 50), cheap={"a"})) == 50


def test_a_choice_is_the_same_each_time():
    found = list(plans.every("story", trace()))
    assert plans.chosen(found) == plans.chosen(reversed(found))
