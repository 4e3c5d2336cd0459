"""How the operator and the fault proxy reach the API server."""

from __future__ import annotations

from typing import Any

from millrace.clients.credentials import Credentials

from .proxy import Upstream


def upstream(admin: Credentials) -> Upstream:
    """The API server of an administrator's credentials; they are used only to look at objects before a write."""
    token = admin.token()
    return Upstream(
        url=admin.server,
        trust=Credentials(server=admin.server, ca=admin.ca, insecure=admin.insecure).ssl_context(),
        judge=admin.ssl_context(),
        judge_headers={"Authorization": f"Bearer {token}"} if token else {},
    )


def kubeconfig(server: str, token: str, namespace: str) -> dict[str, Any]:
    """A kubeconfig whose only user has a bearer token."""
    context = {"cluster": "sweep", "user": "operator", "namespace": namespace}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "sweep",
        "contexts": [{"name": "sweep", "context": context}],
        "clusters": [{"name": "sweep", "cluster": {"server": server}}],
        "users": [{"name": "operator", "user": {"token": token}}],
    }
