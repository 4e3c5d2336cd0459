"""What only the operator writes, and how little its rights are worth elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
from apiserver_kit.planes import FLUX

from .test_admission import accepted, decide, deployment, entry, imported, refused

__all__ = ["deployment"]

Manifest = dict[str, Any]


@pytest.mark.parametrize("user", ["alice", "bob", "carol"])
@pytest.mark.parametrize("kind", ["dataset", "training-run", "model", "deployment"])
def test_nobody_but_the_operator_writes_a_status(
    user: str, kind: str, api: Any, made: Any, samples: dict[str, Manifest]
) -> None:
    stored = made(samples[kind])
    status = {"status": {"phase": "Approved"}}
    assert api.patch(stored, status, user=user, subresource="/status").code == 403
    refused(api.patch(stored, status, user="admin", subresource="/status"), "written by the operator alone")
    accepted(api.patch(stored, status, user="operator", subresource="/status"))


def test_a_model_whose_rejection_stands_is_not_deleted(api: Any, made: Any, samples: dict[str, Manifest]) -> None:
    model = made(imported(samples, "alice"), user="alice")
    accepted(decide(api, model, "bob", entry(model, "bob", "Reject")))
    accepted(decide(api, model, "carol", entry(model, "carol")))
    for user in ("admin", FLUX):
        refused(api.delete(model, user=user), "was rejected by bob", "let bob add a Revoke entry")
    every = api.call("DELETE", "/apis/millrace.dev/v1alpha1/namespaces/ml/models", user="admin")
    refused(every, "was rejected by bob")
    accepted(decide(api, model, "bob", entry(model, "bob", "Revoke")))
    assert api.delete(model, user="alice").code == 403, "an editor deletes no model"
    accepted(api.delete(model, user="admin"))


def test_the_operator_deletes_only_models_that_a_run_made_and_that_nobody_approves_or_serves(
    api: Any, made: Any, samples: dict[str, Manifest]
) -> None:
    """What retention may never do, whatever it decides."""
    brought = made(imported(samples, "alice"), user="alice")
    refused(api.delete(brought, user="operator"), "the operator deletes no Model that was imported")
    model = made(samples["model"], user="operator")
    accepted(decide(api, model, "bob", entry(model, "bob")))
    refused(api.delete(model, user="operator"), "that a person approved")
    accepted(decide(api, model, "bob", entry(model, "bob", "Revoke")))
    served = {"status": {"deployedIn": [{"name": "churn", "role": "Stable", "weight": 100}]}}
    accepted(api.patch(model, served, user="operator", subresource="/status"))
    refused(api.delete(model, user="operator"), "or that a Deployment serves")
    accepted(api.patch(model, {"status": {"deployedIn": []}}, user="operator", subresource="/status"))
    accepted(api.delete(model, user="operator"))


def test_the_operator_touches_an_annotation_of_router_pods_and_nothing_else(api: Any) -> None:
    def pod(name: str, component: str) -> Manifest:
        labels = {"millrace.dev/component": component}
        spec = {"containers": [{"name": "it", "image": "i"}]}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}

    pods = "/api/v1/namespaces/ml/pods"
    for one in (pod("router", "router"), pod("server", "server")):
        accepted(api.call("POST", pods, one))
    touch = {"metadata": {"annotations": {"millrace.dev/config-hash": "2"}}}
    accepted(api.call("PATCH", f"{pods}/router", touch, user="operator"))
    refused(api.call("PATCH", f"{pods}/server", touch, user="operator"), "of a router pod, and no other pod")
    image = {"spec": {"containers": [{"name": "it", "image": "evil"}]}}
    for change in (
        image,
        {"metadata": {"annotations": {"other": "1"}}},
        {"metadata": {"labels": {"millrace.dev/component": "server"}}},
        {"metadata": {"labels": {"app": "other"}}},
        {"metadata": {"finalizers": ["millrace.dev/stay"]}},
    ):
        refused(api.call("PATCH", f"{pods}/router", change, user="operator", patch="strategic-merge-patch"))
    accepted(api.call("PATCH", f"{pods}/router", {"metadata": {"annotations": {"other": "1"}}}, user="admin"))
    removed = {"metadata": {"annotations": {"millrace.dev/config-hash": None}}}
    accepted(api.call("PATCH", f"{pods}/router", removed, user="operator"))
    for name in ("router", "server"):
        api.call("DELETE", f"{pods}/{name}", {"gracePeriodSeconds": 0})


def test_an_editor_scales(control_plane: Any, deployment: Manifest, api: Any) -> None:
    control_plane.kubectl("-n", "ml", "scale", "mdep/readings", "--replicas=2", user="alice")
    assert api.get(deployment)["spec"]["replicas"] == 2
