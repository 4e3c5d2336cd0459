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
FLUX = admission.account("flux-system", "kustomize-controller")
ARGO = admission.account("argocd", "argocd-application-controller")
CI = admission.account("ci", "approver")
MAKER = "maker"
"""Makes whatever a test begins with: a cluster administrator to whom the policies over people do not apply."""
PLURALS = {"Dataset": "datasets", "TrainingRun": "trainingruns", "Model": "models", "Deployment": "deployments"}


@contextlib.contextmanager
def of_widgets(folder: Path) -> Iterator[ControlPlane]:
    """One that serves Widgets."""
    with ControlPlane(folder) as started:
        started.kubectl("apply", "-f", "-", stdin=json.dumps(widgets.widget_definition()))
        started.kubectl("wait", "--for=condition=Established", f"crd/{widgets.WIDGETS.plural}.{widgets.WIDGETS.group}")
        yield started


@contextlib.contextmanager
def with_controllers(
    folder: Path, namespace: str, bound: Mapping[str, str] | None = None, home: str = ""
) -> Iterator[ControlPlane]:
    """One with our kinds, Kubernetes' own controllers, and in a restricted namespace the operator with its rights.

    With `bound`, user to cluster role, people and the admission policies are there too. `home` is the operator's own
    namespace; without it that is the same one.
    """
    users: dict[str, list[str]] = {"operator": [], **{user: [] for user in bound or ()}}
    with ControlPlane(folder, users=users, controller_manager=True) as started:
        define(started)
        restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
        granted: list[Manifest] = [
            *(
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": restricted}}
                for name in dict.fromkeys((namespace, home or namespace))
            ),
            *rights("operator", namespace, home),
        ]
        if bound:
            granted += [*roles.cluster_roles(), *policies()]
            granted += [bind(user, "ClusterRole", role, namespace) for user, role in bound.items()]
        started.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(granted))
        yield started


def policies() -> list[Manifest]:
    """All of them: `operator` and MAKER count as the operator, FLUX applies for others, CI may approve."""
    trusted = admission.trust(["operator", MAKER], appliers=[FLUX], approving_accounts=[CI])
    # Where the policies limit the operator, MAKER is somebody else.
    limited = {one["metadata"]["name"]: one for one in admission.manifests(admission.trust(["operator"]))
               if one["metadata"]["name"] == admission.OPERATOR_PODS and one["kind"].endswith("Policy")}  # fmt: skip
    return [
        limited.get(one["metadata"]["name"], one) if one["kind"].endswith("Policy") else one
        for one in admission.manifests(trusted)
    ]


def rights(user: str, namespace: str, home: str = "") -> list[Manifest]:
    """What an operator needs that is that user; by default it lives where its people do."""
    granted = roles.operator_grants("millrace-operator", home or namespace, [namespace])
    subject = {"kind": "User", "name": user}
    return [{**one, "subjects": [subject]} if "subjects" in one else one for one in granted]


def define(plane: ControlPlane) -> None:
    """Install our kinds and wait until they are served."""
    plane.kubectl("apply", "-k", str(ROOT / "crds"))
    names = (f"crd/{name}.millrace.dev" for name in PLURALS.values())
    plane.kubectl("wait", "--for=condition=Established", *names, "--timeout=30s")


def bind(user: str, kind: str, role: str, namespace: str) -> dict[str, Any]:
    """A RoleBinding of one user."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"{user}-{role}".replace(":", "."), "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [{"kind": "User", "name": user}],
    }
