"""Control planes with what a test needs already in them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from millrace.clients.store import Manifest
from millrace.render import admission, roles
from millrace_cluster.control_plane import ControlPlane
from millrace_kit import widgets

ROOT = Path(__file__).parents[4]
PLURALS = {"Dataset": "datasets", "TrainingRun": "trainingruns", "Model": "models", "Deployment": "deployments"}


@contextlib.contextmanager
def of_widgets(folder: Path) -> Iterator[ControlPlane]:
    """One that serves Widgets."""
    with ControlPlane(folder) as started:
        started.kubectl("apply", "-f", "-", stdin=json.dumps(widgets.widget_definition()))
        started.kubectl("wait", "--for=condition=Established", f"crd/{widgets.WIDGETS.plural}.{widgets.WIDGETS.group}")
        yield started


@contextlib.contextmanager
def with_controllers(folder: Path, namespace: str, bound: Mapping[str, str] | None = None) -> Iterator[ControlPlane]:
    """One with our kinds, Kubernetes' own controllers, and in a restricted namespace the operator with its rights.

    With `bound`, user to cluster role, people and the admission policies are there too.
    """
    users: dict[str, list[str]] = {"operator": [], **{user: [] for user in bound or ()}}
    with ControlPlane(folder, users=users, controller_manager=True) as started:
        define(started)
        restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
        granted: list[Manifest] = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": restricted}},
            roles.role("operator", namespace, [*roles.operator_rules(), *roles.lease_rules()]),
            bind("operator", "Role", "operator", namespace),
        ]
        if bound:
            granted += [*roles.cluster_roles(), *admission.manifests()]
            granted += [bind(user, "ClusterRole", role, namespace) for user, role in bound.items()]
        started.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(granted))
        yield started


def define(plane: ControlPlane) -> None:
    """Install our kinds and wait until they are served."""
    for crd in sorted((ROOT / "crds").glob("millrace.dev_*.yaml")):
        plane.kubectl("apply", "-f", str(crd))
    for name in PLURALS.values():
        plane.kubectl("wait", "--for=condition=Established", f"crd/{name}.millrace.dev", "--timeout=30s")


def bind(user: str, kind: str, role: str, namespace: str) -> dict[str, Any]:
    """A RoleBinding of one user."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"{user}-{role}", "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [{"kind": "User", "name": user}],
    }
