"""Which namespaces are an operator's business."""

from __future__ import annotations

from typing import Any, cast

import pytest

from millrace import errors
from millrace.api import resources
from millrace.clients.kube import Kube
from millrace.clients.store import Store
from millrace.clients.territory import EVERYWHERE, Territory
from millrace.settings import Settings


def of(watch: str, others: str = "") -> Territory:
    return Territory(
        Settings(namespace="home", trainer_image="t", server_image="s", router_image="r", watch=watch, others=others)
    )


class Lists:
    """An API server that lets some namespaces be listed."""

    def __init__(self, *allowed: str) -> None:
        self.allowed = set(allowed)
        self.is_down = False

    async def list_metadata(self, resource: object, namespace: str = "", selector: str = "") -> tuple[list[Any], str]:
        if self.is_down:
            raise errors.Unavailable("down")
        if namespace not in self.allowed:
            raise errors.Forbidden("no")
        return [], "1"


@pytest.mark.parametrize(
    ("watch", "held", "asked"),
    [
        ("", ["home"], ("home",)),
        ("ml", ["ml"], ("ml",)),
        ("*", ["ml", "other"], ("home",)),
        ("team=ml", ["ml"], ("home",)),
    ],
    ids=["its own", "one", "all but its own", "labelled"],
)
def test_what_is_watched_and_where_the_policies_are_tried(watch: str, held: list[str], asked: tuple[str, ...]) -> None:
    territory, store = of(watch), Store()
    store.put(resources.NAMESPACES, {"metadata": {"name": "ml", "uid": "1", "resourceVersion": "1"}})
    assert [name for name in ("home", "ml", "other") if territory.holds(store, name)] == held
    assert territory.asked == asked


@pytest.mark.parametrize("watch", ["*", "team=ml"])
def test_a_namespace_of_another_operators_is_left_out_whatever_its_labels(watch: str) -> None:
    territory, store = of(watch, others="fraud, lab"), Store()
    for name in ("ml", "fraud", "lab"):
        store.put(resources.NAMESPACES, {"metadata": {"name": name, "uid": name, "resourceVersion": "1"}})
    assert [name for name in ("fraud", "lab", "ml") if territory.holds(store, name)] == ["ml"]
    assert of("ml,fraud", others="fraud").holds(store, "fraud"), "who names it means it"


async def test_of_several_namespaces_those_that_cannot_be_listed_are_left_out_until_they_can() -> None:
    territory, lists = of("ml, fraud,lab"), Lists("ml", "fraud")
    kube = cast("Kube", lists)
    assert territory.open == ()
    assert await territory.survey(kube) == ()
    assert territory.open == ("ml", "fraud")
    await territory.moved()
    lists.allowed = {"ml", "lab"}
    assert await territory.survey(kube) == ("fraud",)
    assert territory.open == ("ml", "lab")
    lists.is_down = True
    assert await territory.survey(kube) == (), "an API server that does not answer says nothing about a namespace"
    assert territory.open == ("ml", "lab")


@pytest.mark.parametrize("watch", ["", "ml", "*", "team=ml"])
async def test_where_there_is_nothing_else_to_go_on_with_nothing_is_surveyed(watch: str) -> None:
    territory = of(watch)
    before = territory.open
    assert await territory.survey(cast("Kube", None)) == ()
    assert territory.open == before
    assert (territory.open == (EVERYWHERE,)) is (watch in ("*", "team=ml"))
