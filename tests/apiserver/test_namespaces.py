"""One operator in a namespace of its own, and people's objects in theirs: named, all, or those with a label."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from apiserver_kit import planes
from apiserver_kit.operators import running, until

from millrace import wiring
from millrace.api import resources
from millrace.clients import credentials, territory
from millrace.clients.store import Manifest
from millrace.render import roles
from millrace.settings import Settings
from millrace_cluster.control_plane import ControlPlane

HOME = "operators-home"
TEAMS = ("red", "blue")
LABEL = "millrace.dev/watched=true"


def granted(watched: list[str]) -> list[Manifest]:
    """What the chart gives to an operator; here it is a user."""
    given = roles.operator_grants("millrace-operator", HOME, watched)
    subject = {"kind": "User", "name": "operator"}
    return [{**one, "subjects": [subject]} if "subjects" in one else one for one in given]


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane, api: Any) -> ControlPlane:
    spaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in (HOME, *TEAMS)]
    control_plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(spaces))
    return control_plane


@pytest.fixture
def dataset(plane: ControlPlane, api: Any, samples: dict[str, Manifest]) -> Any:
    """Makes a Dataset in a namespace; all are gone afterwards."""
    made = []

    def make(namespace: str, name: str = "churn") -> Callable[[], bool]:
        wanted = copy.deepcopy(samples["dataset-minimal"])
        wanted["metadata"] |= {"namespace": namespace, "name": name}
        answer = api.create(wanted)
        assert answer.ok, answer.message
        made.append(answer.body)
        return lambda: api.get(answer.body).get("status", {}).get("phase") is not None

    yield make
    for one in made:
        api.delete(one)


@pytest.fixture
def start(plane: ControlPlane) -> Any:
    def make(watch: str) -> wiring.Operator:
        settings = Settings(
            namespace=HOME, trainer_image="t", server_image="s", router_image="r", metrics_port=0, watch=watch
        )
        identity = credentials.from_kubeconfig(plane.kubeconfig_for("operator"))
        return wiring.Operator(settings, identity, wiring.controllers(), tasks=wiring.background)

    return make


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiring, "SURVEY_SECONDS", 0.5)
    assert territory.SURVEY_SECONDS >= 10, "the API server is not asked all the time"


def apply(plane: ControlPlane, manifests: list[Manifest]) -> None:
    plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(manifests))


async def test_teams_are_served_alike_and_the_operators_own_namespace_holds_its_lease_alone(
    plane: ControlPlane, start: Any, dataset: Any
) -> None:
    apply(plane, granted([*TEAMS]))
    async with running(start(",".join(TEAMS))):
        for has_status in [dataset(team) for team in TEAMS]:
            await until(has_status, "the Dataset has a status")
    kinds = "leases.coordination.k8s.io,datasets.millrace.dev,jobs.batch,events"
    found = json.loads(plane.kubectl("-n", HOME, "get", kinds, "-o", "json").stdout)["items"]
    assert [one["kind"] for one in found] == ["Lease"]
    for team in TEAMS:
        assert "churn-snapshot" in plane.kubectl("-n", team, "get", "jobs", "-o", "name").stdout


async def test_a_team_whose_role_goes_holds_up_nobody_and_is_served_again_when_it_is_back(
    plane: ControlPlane, start: Any, dataset: Any
) -> None:
    apply(plane, granted([*TEAMS]))
    operator = start(",".join(TEAMS))
    async with running(operator):
        await until(dataset("blue", "before"), "served")
        await asyncio.to_thread(plane.kubectl, "-n", "blue", "delete", "rolebinding", "millrace-operator")
        await until(lambda: operator.world.territory.open == ("red",), "blue is closed")
        assert operator.world.store.list(resources.DATASETS, "blue") == []
        await until(dataset("red", "meanwhile"), "red is served")
        unseen = dataset("blue", "unseen")
        await asyncio.to_thread(apply, plane, granted([*TEAMS]))
        await until(lambda: set(operator.world.territory.open) == set(TEAMS), "blue is open")
        await until(unseen, "blue is served")
        await until(dataset("red", "after"), "red still is")


async def test_an_operator_starts_although_a_namespace_is_not_there(
    plane: ControlPlane, start: Any, dataset: Any
) -> None:
    apply(plane, granted(["red"]))
    async with running(start("red,not-there")) as task:
        await until(dataset("red", "alone"), "served")
        assert not task.done()


async def test_all_namespaces_but_its_own_are_watched(plane: ControlPlane, start: Any, dataset: Any) -> None:
    apply(plane, granted([]))
    operator = start("*")
    async with running(operator):
        at_home = dataset(HOME, "at-home")
        await until(dataset("blue", "everywhere"), "served")
        await until(lambda: operator.world.store.get(resources.DATASETS, HOME, "at-home") is not None, "it is seen")
        await asyncio.sleep(0.5)
        assert not at_home()
    _take_back(plane)


async def test_namespaces_with_a_label_are_watched_from_when_they_have_it(
    plane: ControlPlane, start: Any, dataset: Any
) -> None:
    apply(plane, granted([]))
    plane.kubectl("label", "namespace", "red", LABEL)
    operator = start(LABEL)
    async with running(operator):
        later = dataset("blue", "later")
        await until(dataset("red", "labelled"), "served")
        await until(lambda: operator.world.store.get(resources.DATASETS, "blue", "later") is not None, "it is seen")
        assert not later()
        await asyncio.to_thread(plane.kubectl, "label", "namespace", "blue", LABEL)
        await until(later, "served once its namespace has the label")
        await asyncio.to_thread(plane.kubectl, "label", "namespace", "blue", "millrace.dev/watched-")
        gone = operator.world.store.get
        await until(lambda: gone(resources.NAMESPACES, "", "blue") is None, "the label is gone")
        ignored = dataset("blue", "ignored")
        await until(dataset("red", "still"), "served")
        assert not ignored()
    plane.kubectl("label", "namespace", "red", "millrace.dev/watched-")
    _take_back(plane)


def _take_back(plane: ControlPlane) -> None:
    plane.kubectl("delete", "clusterrolebinding", f"millrace-operator-{HOME}")


def test_planes_give_what_the_chart_gives() -> None:
    assert {one["kind"] for one in planes.rights("operator", "ml")} == {
        "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding",
    }  # fmt: skip
