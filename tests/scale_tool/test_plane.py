"""Whom the benchmark's control plane gives which rights."""

from __future__ import annotations

from millrace.render import roles
from millrace_scale import plane


def test_the_operator_that_is_measured_may_look_at_the_policies_like_the_one_that_is_installed() -> None:
    role, binding = plane.witness()
    assert role["rules"] == roles.witness_rules()
    assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "witness"}
    assert [(one["kind"], one["name"]) for one in binding["subjects"]] == [("User", plane.OURS)]
    assert role["metadata"]["name"] == binding["roleRef"]["name"]
