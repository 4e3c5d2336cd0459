"""The kernel against a real etcd and kube-apiserver: it converges, repairs, refuses strangers, and then is silent."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator

import pytest
from apiserver_kit import operators
from apiserver_kit.operators import running, until

from millrace import errors, wiring
from millrace.api import keys, resources
from millrace.clients.credentials import Credentials
from millrace.clients.kube import Kube
from millrace.clients.store import Manifest
from millrace.clients.world import World
from millrace.controller.routing import Controller
from millrace.decide.plan import Delete, Plan
from millrace_kit import widgets
from millrace_kit.network import FaultyProxy
from millrace_kit.widgets import WIDGETS, WidgetSeen

make_operator = functools.partial(operators.of_widgets, children=(resources.CONFIG_MAPS, resources.PODS))


@pytest.fixture
async def kube(cred: Credentials) -> AsyncIterator[Kube]:
    async with Kube(cred) as kube:
        yield kube


@pytest.fixture
async def namespace(kube: Kube, request: pytest.FixtureRequest) -> str:
    """A namespace of the test's own."""
    name = f"t{abs(hash(request.node.name)) % 10**8}"
    kind = resources.ResourceType(group="", version="v1", plural="namespaces", kind="Namespace")
    await kube.create(kind, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


def is_ready(operator: wiring.Operator, namespace: str, name: str) -> bool:
    found = operator.world.store.get(WIDGETS, namespace, name) or {}
    conditions = (found.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


async def test_a_child_is_made_the_status_follows_and_then_nothing_more_is_written(
    cred: Credentials, kube: Kube, namespace: str
) -> None:
    async with FaultyProxy(cred) as proxy, running(make_operator(proxy.credentials, namespace)) as _:
        operator_writes = proxy.writes
        await kube.create(WIDGETS, widgets.make_widget("w", namespace=namespace))
        await until(lambda: any("events" in path for _, path, _ in operator_writes))
        child = await kube.get(resources.CONFIG_MAPS, namespace, "w")
        assert child["data"] == {"text": "hello"}
        assert child["metadata"]["ownerReferences"][0]["controller"] is True
        await asyncio.sleep(0.5)
        before = [write for write in operator_writes if "/leases" not in write[1]]
        # Everything is looked at again: a second pass over a world that is right writes nothing.
        await kube.patch(WIDGETS, namespace, "w", {"metadata": {"labels": {"touched": "yes"}}})
        await asyncio.sleep(1.0)
        assert [write for write in operator_writes if "/leases" not in write[1]] == before
        assert [(method, path.rsplit("/", 2)[-2:]) for method, path, _ in before] == [
            ("PATCH", ["configmaps", "w"]),
            ("PATCH", ["w", "status"]),
            ("PATCH", ["w", "status"]),
            ("POST", [namespace, "events"]),
        ]


async def test_a_users_edit_and_a_users_delete_of_a_child_are_put_right(
    cred: Credentials, kube: Kube, namespace: str
) -> None:
    operator = make_operator(cred, namespace)
    async with running(operator):
        await kube.create(WIDGETS, widgets.make_widget("w", namespace=namespace))
        await until(lambda: is_ready(operator, namespace, "w"))

        await kube.patch(resources.CONFIG_MAPS, namespace, "w", {"data": {"text": "mine", "other": "kept"}})
        async with asyncio.timeout(10):
            while (found := await kube.get(resources.CONFIG_MAPS, namespace, "w"))["data"].get("text") != "hello":  # noqa: ASYNC110 - a test polls
                await asyncio.sleep(0.02)
        assert found["data"]["other"] == "kept"

        await kube.delete(resources.CONFIG_MAPS, namespace, "w", uid=found["metadata"]["uid"])
        await until(
            lambda: (
                (now := operator.world.store.get(resources.CONFIG_MAPS, namespace, "w")) is not None
                and now["metadata"]["uid"] != found["metadata"]["uid"]
            )
        )


async def test_an_object_of_the_childs_name_that_is_somebody_elses_is_left_alone(
    cred: Credentials, kube: Kube, namespace: str
) -> None:
    theirs = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "w", "namespace": namespace},
        "data": {"text": "theirs"},
    }
    await kube.create(resources.CONFIG_MAPS, theirs)
    operator = make_operator(cred, namespace)
    async with running(operator):
        await kube.create(WIDGETS, widgets.make_widget("w", namespace=namespace))

        def stalled() -> dict[str, str] | None:
            found = operator.world.store.get(WIDGETS, namespace, "w") or {}
            conditions = (found.get("status") or {}).get("conditions") or ()
            return next((one for one in conditions if one["type"] == "Stalled"), None)

        await until(stalled)
        condition = stalled()
        assert condition is not None
        assert (condition["status"], condition["reason"]) == ("True", "NameConflict")
        assert f"ConfigMap {namespace}/w exists" in condition["message"]
        found = await kube.get(resources.CONFIG_MAPS, namespace, "w")
        assert found["data"] == {"text": "theirs"}
        assert "ownerReferences" not in found["metadata"]

        await kube.delete(resources.CONFIG_MAPS, namespace, "w", uid=found["metadata"]["uid"])
        await until(lambda: is_ready(operator, namespace, "w"))


async def test_a_decision_that_fails_does_not_stop_the_others_and_the_status_says_so(
    cred: Credentials, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millrace.controller.reconciler.PATIENCE", 2)

    def decide(seen: WidgetSeen) -> Plan:
        if seen.widget["metadata"]["name"] == "bad":
            raise ZeroDivisionError("a bug")
        return widgets.decide_widget(seen)

    operator = make_operator(cred, namespace, Controller(WIDGETS, widgets.observe_widget, decide))
    async with running(operator):
        await kube.create(WIDGETS, widgets.make_widget("bad", namespace=namespace))
        await kube.create(WIDGETS, widgets.make_widget("good", namespace=namespace))
        await until(lambda: is_ready(operator, namespace, "good"))
        async with asyncio.timeout(15):
            while not (await kube.get(WIDGETS, namespace, "bad")).get("status"):  # noqa: ASYNC110 - a test polls
                await asyncio.sleep(0.05)
        (condition,) = (await kube.get(WIDGETS, namespace, "bad"))["status"]["conditions"]
        assert (condition["type"], condition["reason"]) == ("Reconciling", "InternalError")
        assert f"kubectl -n {namespace} logs deployment/millrace-operator" in condition["message"]
        assert "ZeroDivisionError" not in condition["message"]


async def test_a_doomed_object_goes_and_its_successor_of_the_same_name_does_not(
    cred: Credentials, kube: Kube, namespace: str
) -> None:
    victim = {"apiVersion": "v1", "kind": "ConfigMap", "data": {}}
    labels = {keys.MANAGED_BY: keys.MANAGED_BY_VALUE}
    first = await kube.create(
        resources.CONFIG_MAPS, {**victim, "metadata": {"name": "v", "namespace": namespace, "labels": labels}}
    )

    def decide(seen: WidgetSeen) -> Plan:
        uid = first["metadata"]["uid"]
        return Plan(deletes=(Delete(resource=resources.CONFIG_MAPS, namespace=namespace, name="v", uid=uid),))

    operator = make_operator(cred, namespace, Controller(WIDGETS, widgets.observe_widget, decide))
    async with running(operator):
        await kube.create(WIDGETS, widgets.make_widget("w", namespace=namespace))
        await until(lambda: operator.world.store.get(resources.CONFIG_MAPS, namespace, "v") is None)
        await kube.create(
            resources.CONFIG_MAPS, {**victim, "metadata": {"name": "v", "namespace": namespace, "labels": labels}}
        )
        await kube.patch(WIDGETS, namespace, "w", {"spec": {"text": "again"}})
        await asyncio.sleep(0.7)
        assert (await kube.get(resources.CONFIG_MAPS, namespace, "v"))["metadata"]["uid"] != first["metadata"]["uid"]


async def test_a_create_that_exists_already_asks_for_another_pass_and_is_no_failure(
    cred: Credentials, kube: Kube, namespace: str
) -> None:
    passes: list[float] = []
    taken = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "taken", "namespace": namespace}}
    await kube.create(resources.CONFIG_MAPS, taken)

    def decide(seen: WidgetSeen) -> Plan:
        passes.append(time.monotonic())
        return Plan(creates=(taken,) if len(passes) < 4 else ())

    operator = make_operator(cred, namespace, Controller(WIDGETS, widgets.observe_widget, decide))
    async with running(operator):
        await kube.create(WIDGETS, widgets.make_widget("w", namespace=namespace))
        await until(lambda: len(passes) >= 4)
        failures = operator.series.reconcile_errors.labels(controller="widget")._value.get()
        assert failures == 0


async def test_events_are_counted_not_repeated(cred: Credentials, kube: Kube, namespace: str) -> None:
    operator = make_operator(cred, namespace)
    async with running(operator):
        await kube.create(WIDGETS, widgets.make_widget("w", namespace=namespace))
        for text in ("one", "hello", "one", "hello"):
            await until(lambda: is_ready(operator, namespace, "w"))
            await kube.patch(WIDGETS, namespace, "w", {"spec": {"text": text}})
            await until(functools.partial(_says, operator, namespace, "w", text))

        async def counts() -> dict[str, int]:
            found = await kube.list(resources.EVENTS, namespace)
            return {one["message"]: one["count"] for one in found if one["involvedObject"]["name"] == "w"}

        async with asyncio.timeout(10):
            while await counts() != {"said hello": 3, "said one": 2}:  # noqa: ASYNC110 - a test polls
                await asyncio.sleep(0.05)


def _says(operator: wiring.Operator, namespace: str, name: str, text: str) -> bool:
    found: Manifest = operator.world.store.get(WIDGETS, namespace, name) or {}
    return bool((found.get("status") or {}).get("said") == text and is_ready(operator, namespace, name))


async def test_a_status_decided_on_an_old_version_is_not_written(cred: Credentials, kube: Kube, namespace: str) -> None:
    made = await kube.create(WIDGETS, widgets.make_widget("w", namespace=namespace))
    await kube.patch(WIDGETS, namespace, "w", {"spec": {"text": "newer"}})
    with pytest.raises(errors.Conflict):
        await kube.patch_status(
            WIDGETS, namespace, "w", {"said": "old"}, resource_version=made["metadata"]["resourceVersion"]
        )


async def test_an_apply_for_another_object_of_the_name_is_a_conflict(
    cred: Credentials, kube: Kube, namespace: str
) -> None:
    metadata = {"name": "c", "namespace": namespace}
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"text": "here"}}
    await kube.apply(resources.CONFIG_MAPS, manifest)
    stranger = "11111111-2222-3333-4444-555555555555"
    other = {**manifest, "metadata": {**metadata, "uid": stranger}}
    for attempt in (
        lambda: kube.apply(resources.CONFIG_MAPS, other),
        lambda: kube.patch(resources.CONFIG_MAPS, namespace, "c", {"metadata": {"uid": stranger}}),
    ):
        with pytest.raises(errors.Conflict):
            await attempt()


async def test_a_missing_kind_ends_the_start_with_the_command_that_installs_it(
    cred: Credentials, namespace: str
) -> None:
    async def observe(world: World, namespace: str, name: str) -> None: ...

    operator = make_operator(cred, namespace, Controller(resources.MODELS, observe, lambda _: Plan()))
    with pytest.raises(errors.SettingsError, match=r"does not serve models of millrace.dev/v1alpha1; .*kubectl apply"):
        await operator.run(signals=False)
