"""What every container of ours is sure to get."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.api.base import ObjectMeta
from millrace.api.training_run import ResourceRequirements
from millrace.render import pod, router_workload, server
from millrace_kit.simulation import PLATFORM, make_model

OWNER = ObjectMeta(name="churn", namespace="ml", uid="u-1")
AMOUNTS = st.dictionaries(
    st.sampled_from(["cpu", "memory", "ephemeral-storage"]), st.sampled_from(["1", "2Gi", "100m"])
)


@pytest.mark.parametrize(
    ("stated", "gets"),
    [
        ({}, {"requests": {"cpu": "100m", "memory": "256Mi"}}),
        ({"requests": {"cpu": "2"}}, {"requests": {"cpu": "2", "memory": "256Mi"}}),
        ({"limits": {"memory": "64Mi"}}, {"requests": {"cpu": "100m"}, "limits": {"memory": "64Mi"}}),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, {"limits": {"cpu": "1", "memory": "1Gi"}}),
    ],
    ids=["nothing", "a request", "a limit, which Kubernetes requests", "all of it"],
)
def test_a_container_requests_what_nothing_is_said_about(stated: dict[str, Any], gets: dict[str, Any]) -> None:
    assert pod.requested(ResourceRequirements.model_validate(stated)) == gets
    assert pod.stated(gets) == stated


@settings(deadline=None)
@given(AMOUNTS, AMOUNTS)
def test_what_was_stated_can_be_read_back_as_far_as_it_makes_a_difference(
    requests: dict[str, str], limits: dict[str, str]
) -> None:
    wanted = ResourceRequirements.model_validate({"requests": requests or None, "limits": limits or None})
    made = pod.requested(wanted)
    assert pod.requested(ResourceRequirements.model_validate(pod.stated(made))) == made
    for name in ("cpu", "memory"):
        assert name in made.get("requests", {}) or name in made.get("limits", {}), "no quota turns it away"


def test_no_container_of_a_deployment_is_without_requests() -> None:
    bundle = server.bundle(make_model("churn", 1), server.Template(image="s"))
    for workload in (server.workload(OWNER, bundle, 1, PLATFORM), router_workload.workload(OWNER, 1, PLATFORM)):
        spec = workload["spec"]["template"]["spec"]
        for part in (*spec.get("initContainers", ()), *spec["containers"]):
            assert set(part["resources"]["requests"]) >= {"cpu", "memory"}
