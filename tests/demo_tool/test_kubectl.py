"""What the story waits for, on a real API server: one that ends every watch within two seconds."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from millrace_cluster import binaries
from millrace_cluster.control_plane import ControlPlane
from millrace_demo.kubectl import CommandFailed, Kubectl, TimedOut

pytestmark = pytest.mark.apiserver

NAME = "one"


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    with ControlPlane(tmp_path_factory.mktemp("plane"), apiserver_flags=["--min-request-timeout=1"]) as plane:
        yield Kubectl(binaries.path_of("kubectl"), plane.kubeconfig_for("admin"), "default")


@pytest.fixture(autouse=True)
def nothing_there(kubectl: Kubectl) -> None:
    kubectl.run("delete", "configmap", "--all")


def make(kubectl: Kubectl, word: str) -> None:
    kubectl.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, "data": {"word": word}})


def waited(kubectl: Kubectl, wanted: Callable[[dict[str, Any]], bool], *actions: Callable[[], object]) -> Any:
    """What `until` returns while somebody else does one thing after another."""
    other = threading.Thread(target=lambda: [action() for action in actions])
    other.start()
    try:
        return kubectl.until("configmap", NAME, wanted, 60)
    finally:
        other.join()


def test_what_is_there_already_is_enough(kubectl: Kubectl) -> None:
    make(kubectl, "here")
    assert kubectl.until("configmap", NAME, lambda item: item["data"]["word"] == "here", 30)["metadata"]["name"] == NAME


def test_what_comes_later_is_waited_for_although_watches_end(kubectl: Kubectl) -> None:
    make(kubectl, "other")
    seen: list[str] = []
    third = threading.Event()

    def wanted(item: dict[str, Any]) -> bool:
        seen.append(item["data"]["word"])
        if len(seen) == 3:  # nothing has changed, but a watch begins with what is there
            third.set()
        return seen[-1] == "here"

    patch = ("patch", "configmap", NAME, "--type=merge", "-p", json.dumps({"data": {"word": "here"}}))
    waited(kubectl, wanted, lambda: third.wait(60), lambda: kubectl.run(*patch))
    assert seen[:3] == ["other"] * 3


def test_an_object_that_is_not_there_yet_is_waited_for(kubectl: Kubectl) -> None:
    made = waited(kubectl, lambda _: True, lambda: make(kubectl, "here"))
    assert made["data"] == {"word": "here"}


def test_an_object_that_was_deleted_is_not_taken_for_one_that_is_there(kubectl: Kubectl) -> None:
    make(kubectl, "old")
    seen: list[str] = []
    begun = threading.Event()

    def wanted(item: dict[str, Any]) -> bool:
        seen.append(item["metadata"]["uid"])
        begun.set()
        return len(set(seen)) == 2

    gone = lambda: kubectl.delete("configmap", NAME)  # noqa: E731
    assert waited(kubectl, wanted, lambda: begun.wait(60), gone, lambda: make(kubectl, "new"))["data"] == {
        "word": "new"
    }


def test_what_does_not_come_is_told_with_the_last_status(kubectl: Kubectl) -> None:
    with pytest.raises(TimedOut, match=r"namespace/default: a word not within 3 s; last status: (?s:.*)Active"):
        kubectl.until("namespace", "default", lambda _: False, 3, "a word")


def test_what_kubectl_refuses_is_told_in_its_words_at_once(kubectl: Kubectl) -> None:
    with pytest.raises(CommandFailed, match='the server doesn\'t have a resource type "nokind"'):
        kubectl.until("nokind", NAME, lambda _: True, 600)
