"""The operator finds out by trying whether a forged approval would be accepted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import yaml
from apiserver_kit import planes

from millrace import settings
from millrace.api.resources import MODELS
from millrace.clients.clock import SystemClock
from millrace.clients.credentials import Credentials
from millrace.clients.kube import Kube
from millrace.clients.store import Store
from millrace.clients.world import PolicyStatus, World
from millrace.observe import policy
from millrace.render import admission
from millrace_cluster.control_plane import ControlPlane

SETTINGS = settings.Settings(namespace="ml", trainer_image="t", server_image="s", router_image="r")


def a_world(kube: Kube) -> World:
    return World(Store(), kube, SystemClock(), SETTINGS)


@pytest.fixture
async def world(control_plane: ControlPlane, api: Any) -> AsyncIterator[World]:
    """What the operator looks at the API server through: its own token, its own rights."""
    credentials = Credentials(
        control_plane.url, ca=control_plane.ca.read_text(), fixed_token=control_plane.token("operator")
    )
    async with Kube(credentials) as kube:
        yield a_world(kube)


@pytest.fixture
def restored(control_plane: ControlPlane) -> Iterator[None]:
    """All policies as they should be again, and enforced."""
    yield
    control_plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(planes.policies()))


async def until(world: World, in_force: bool | None) -> PolicyStatus:
    """The API server's caches follow within a moment."""
    for _ in range(300):
        found = await policy.look(world)
        if found.in_force is in_force:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"in_force is {found.in_force}: {found.message}")


async def test_a_forged_approval_is_refused_to_the_operator_itself(world: World) -> None:
    found = await policy.look(world)
    assert (found.in_force, found.message) == (True, "a forged approval was refused by the admission policies")
    assert (found.epoch, found.since) == await policy.epoch(world)


@pytest.mark.parametrize("name", [admission.APPROVALS, admission.RUNS])
async def test_a_policy_without_its_binding_is_not_in_force(
    name: str, world: World, restored: None, control_plane: ControlPlane
) -> None:
    control_plane.kubectl("delete", "validatingadmissionpolicybinding", name)
    found = await until(world, in_force=False)
    assert name in found.message
    assert "kubectl" not in found.message, "the object that says so ends in its own command"
    control_plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(planes.policies()))
    await until(world, in_force=True)


async def test_a_policy_that_only_warns_is_not_in_force(
    world: World, restored: None, control_plane: ControlPlane
) -> None:
    control_plane.kubectl(
        "patch", "validatingadmissionpolicybinding", admission.APPROVALS, "--type=merge",
        "-p", '{"spec": {"validationActions": ["Warn"]}}',
    )  # fmt: skip
    await until(world, in_force=False)
    control_plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(planes.policies()))
    await until(world, in_force=True)


async def test_nothing_is_left_behind_by_the_question(world: World, api: Any) -> None:
    await policy.look(world)
    for plural in ("models", "trainingruns"):
        found = api.call("GET", f"/apis/millrace.dev/v1alpha1/namespaces/ml/{plural}").body["items"]
        assert [item for item in found if "probe" in item["metadata"]["name"]] == []


async def test_a_refusal_by_somebody_else_is_no_answer(control_plane: ControlPlane, api: Any) -> None:
    for token in (control_plane.token("bob"), "not a token"):
        credentials = Credentials(control_plane.url, ca=control_plane.ca.read_text(), fixed_token=token)
        async with Kube(credentials) as kube:
            found = await policy.look(a_world(kube))
        assert found.in_force is None
        assert "could not be asked" in found.message


async def test_an_api_server_that_does_not_answer_changes_nothing() -> None:
    async with Kube(Credentials("http://127.0.0.1:9"), timeout=1.0) as kube:
        world = a_world(kube)
        assert (await policy.look(world)).in_force is None
        for known in (PolicyStatus(in_force=True, message="yes"), PolicyStatus(in_force=False, message="no")):
            world.policy = known
            assert await policy.look(world) == known


async def test_models_are_looked_at_again_when_the_answer_changes(world: World) -> None:
    woken: list[tuple[str, str]] = []
    world.enqueue = lambda resource, namespace, name: woken.append((namespace, name))
    for name in ("churn-1", "churn-2"):
        world.store.put(MODELS, {"metadata": {"name": name, "namespace": "ml", "uid": name, "resourceVersion": "1"}})
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if sum(slept) == 3 * policy.INTERVAL_SECONDS:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await policy.watch(world, sleep)
    assert world.policy.in_force is True
    assert woken == [("ml", "churn-1"), ("ml", "churn-2")]
    assert sum(slept) == 3 * policy.INTERVAL_SECONDS


async def test_policies_of_an_earlier_version_are_not_in_force(
    world: World, restored: None, control_plane: ControlPlane
) -> None:
    older = yaml.safe_dump_all(planes.policies()).replace(f"(rules {admission.RULES})", "")
    control_plane.kubectl("apply", "-f", "-", stdin=older)
    found = await until(world, in_force=False)
    assert "its rules are those of an earlier version" in found.message


async def test_policies_that_were_taken_away_and_put_back_are_others(
    world: World, restored: None, control_plane: ControlPlane
) -> None:
    before = await until(world, in_force=True)
    control_plane.kubectl("label", "validatingadmissionpolicybinding", admission.RUNS, "release=other")
    assert (await policy.look(world)).epoch == before.epoch, "a label is no change of a policy"
    control_plane.kubectl("delete", "validatingadmissionpolicybinding", admission.RUNS)
    control_plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(planes.policies()))
    found = await until(world, in_force=True)
    assert found.epoch != before.epoch
    assert found.since is not None
    assert before.since is not None
    assert found.since >= before.since


async def test_a_change_is_noticed_within_a_minute(world: World, restored: None, control_plane: ControlPlane) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 1:
            control_plane.kubectl("delete", "validatingadmissionpolicybinding", admission.RUNS)
            control_plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(planes.policies()))
            await until(a_world(world.kube), in_force=True)
        if world.policy.epoch != first.epoch:
            raise asyncio.CancelledError

    first = await until(world, in_force=True)
    with pytest.raises(asyncio.CancelledError):
        await policy.watch(world, sleep)
    assert sum(slept) <= policy.GLANCE_SECONDS + policy.IMPATIENT_SECONDS
