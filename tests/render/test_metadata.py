"""Labels and pods that several kinds share."""

from __future__ import annotations

from millrace.api.base import ObjectMeta
from millrace.render import metadata, pod
from millrace_kit.simulation import PLATFORM


def test_annotations_are_there_only_when_asked_for() -> None:
    owner = ObjectMeta(name="churn", namespace="ml", uid="u")
    assert "annotations" not in metadata.child("Dataset", owner, "c", {})
    assert metadata.child("Dataset", owner, "c", {}, {"a": "b"})["annotations"] == {"a": "b"}


def test_a_container_keeps_the_fields_it_is_given() -> None:
    part = pod.container("server", "server:1", ("python",), platform=PLATFORM, ports=[{"containerPort": 8080}])
    assert part["ports"] == [{"containerPort": 8080}]
    assert "envFrom" not in part


def test_a_pod_without_init_containers_has_none() -> None:
    part = pod.spec([], configured=[{"name": "config", "configMap": {"name": "c"}}])
    assert "initContainers" not in part
    assert [volume["name"] for volume in part["volumes"]] == ["tmp", "config"]
