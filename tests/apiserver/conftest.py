"""One real control plane for the whole tier: our kinds, policies and roles installed, and people with tokens."""

from __future__ import annotations

import copy
import http.client
import json
import ssl
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent / "kit"))

from apiserver_kit import operators, planes

from millrace.clients import credentials
from millrace.clients.credentials import Credentials
from millrace.clients.kube import Kube
from millrace.render import roles
from millrace_cluster.control_plane import ControlPlane

Manifest = dict[str, Any]

ROOT = Path(__file__).parents[2]
NAMESPACE = "ml"
IDLE_SECONDS = 5.0
USERS = {
    "alice": ["engineers"],
    "bob": ["approvers"],
    "carol": ["engineers", "approvers"],
    "operator": [],
    planes.MAKER: ["system:masters"],
    # Cluster administrators, as GitOps controllers are unless somebody sees to it; and an account that approves.
    planes.FLUX: ["system:masters"],
    planes.ARGO: ["system:masters"],
    planes.CI: [],
}


@dataclass
class Answer:
    """What the API server said."""

    code: int
    body: Manifest

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))

    @property
    def ok(self) -> bool:
        return self.code < 300


@dataclass
class Api:
    """HTTP to the API server as any of the users: fast enough for thousands of dry runs."""

    control_plane: ControlPlane
    _connections: dict[str, http.client.HTTPSConnection] = field(default_factory=dict)
    _used: dict[str, float] = field(default_factory=dict)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        user: str = planes.MAKER,
        patch: str = "merge-patch",
        **params: str,
    ) -> Answer:
        connection = self._connections.get(user) or self._connect(user)
        if time.monotonic() - self._used.get(user, 0.0) > IDLE_SECONDS:
            connection.close()  # the server may have closed it meanwhile; the next request opens it again
        self._used[user] = time.monotonic()
        content = f"application/{patch}+json" if method == "PATCH" else "application/json"
        headers = {"Authorization": f"Bearer {self.control_plane.token(user)}", "Content-Type": content}
        target = path + (f"?{urlencode(params)}" if params else "")
        connection.request(method, target, None if body is None else json.dumps(body).encode(), headers)
        response = connection.getresponse()
        return Answer(response.status, json.loads(response.read() or b"{}"))

    def create(
        self, manifest: Manifest, *, user: str = planes.MAKER, dry_run: bool = False, unknown: str = "Strict"
    ) -> Answer:
        params = {"fieldValidation": unknown} | ({"dryRun": "All"} if dry_run else {})
        return self.call("POST", collection(manifest), manifest, user=user, **params)

    def replace(self, manifest: Manifest, *, user: str = planes.MAKER, subresource: str = "") -> Answer:
        path = f"{collection(manifest)}/{manifest['metadata']['name']}{subresource}"
        return self.call("PUT", path, manifest, user=user, fieldValidation="Strict")

    def get(self, manifest: Manifest) -> Manifest:
        return self.call("GET", f"{collection(manifest)}/{manifest['metadata']['name']}").body

    def patch(
        self,
        manifest: Manifest,
        body: Any,
        *,
        user: str = planes.MAKER,
        subresource: str = "",
        patch: str = "merge-patch",
    ) -> Answer:
        path = f"{collection(manifest)}/{manifest['metadata']['name']}{subresource}"
        return self.call("PATCH", path, body, user=user, patch=patch, fieldValidation="Strict")

    def delete(self, manifest: Manifest, *, user: str = "admin") -> Answer:
        return self.call("DELETE", f"{collection(manifest)}/{manifest['metadata']['name']}", user=user)

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()

    def _connect(self, user: str) -> http.client.HTTPSConnection:
        address = urlsplit(self.control_plane.url)
        context = ssl.create_default_context(cafile=str(self.control_plane.ca))
        self._connections[user] = http.client.HTTPSConnection(
            str(address.hostname), address.port, timeout=30, context=context
        )
        return self._connections[user]


def collection(manifest: Manifest) -> str:
    """REST path of the objects of the manifest's kind in the test namespace."""
    namespace = manifest["metadata"].get("namespace", NAMESPACE)
    return f"/apis/millrace.dev/v1alpha1/namespaces/{namespace}/{planes.PLURALS[manifest['kind']]}"


def grants() -> list[Manifest]:
    """The namespace, the roles, and who has them: alice edits, bob approves, carol does both, the operator operates."""
    bound = [("alice", "millrace-edit"), ("bob", "millrace-approver"), ("carol", "millrace-edit")]
    bound += [("carol", "millrace-approver"), (planes.CI, "millrace-approver")]
    bindings = [planes.bind(user, "ClusterRole", role, NAMESPACE) for user, role in bound]
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        *roles.cluster_roles(),
        *bindings,
        *planes.rights("operator", NAMESPACE),
    ]


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("control-plane"), users=USERS) as started:
        planes.define(started)
        started.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(grants()))
        started.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(planes.policies()))
        yield started


@pytest.fixture(scope="session")
def cred(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Credentials]:
    """An admin of another control plane, one that serves Widgets."""
    with planes.of_widgets(tmp_path_factory.mktemp("widgets")) as started:
        yield credentials.from_kubeconfig(started.kubeconfig)


@pytest.fixture(scope="session")
def api(control_plane: ControlPlane, samples: dict[str, Manifest]) -> Iterator[Api]:
    """The API server, once it serves our kinds and enforces our policies."""
    client = Api(control_plane)
    try:
        until(lambda: client.create(samples["dataset"], dry_run=True).ok, "the kinds are served")
        until(lambda: in_force(client, samples), "the policies are enforced")
        made = client.create(samples["dataset"]).body
        status = {"status": {"phase": "forged"}}
        until(lambda: client.patch(made, status, user="admin", subresource="/status").code == 403, "all of them are")
        client.delete(made)
        yield client
    finally:
        client.close()


@pytest.fixture(scope="session")
def samples() -> dict[str, Manifest]:
    """File name without suffix -> manifest, of every object in manifests/samples."""
    found = {}
    for path in sorted((ROOT / "manifests" / "samples").glob("*.yaml")):
        if not path.name.endswith(".patch.yaml"):
            found[path.stem] = yaml.safe_load(path.read_text())
    return found


@pytest.fixture(autouse=True)
async def connections_end() -> AsyncIterator[None]:
    """The loop ends after the connections of its test, also of a test that failed."""
    yield
    await operators.connections_ended()


@pytest.fixture
def made(api: Api) -> Iterator[Any]:
    """Creates objects as given and deletes them afterwards."""
    objects = []

    def create(manifest: Manifest, user: str = planes.MAKER) -> Manifest:
        answer = api.create(copy.deepcopy(manifest), user=user)
        assert answer.ok, answer.message
        objects.append(answer.body)
        return answer.body

    yield create
    for manifest in objects:
        _unreject(api, manifest)
        answer = api.delete(manifest)
        assert answer.ok or answer.code == 404, f"left for the next test: {answer.message}"


def _unreject(api: Api, manifest: Manifest) -> None:
    """A Model is not deleted while a rejection of it stands."""
    said = (api.get(manifest).get("spec") or {}).get("approvals") or []
    for user, last in {entry["user"]: entry for entry in said}.items():
        if last["decision"] == "Reject":
            said = [*said, {**last, "decision": "Revoke"}]
            api.patch(manifest, {"spec": {"approvals": said}}, user=user)


def in_force(api: Api, samples: dict[str, Manifest]) -> bool:
    """Whether both alice's forged run and her forged model are refused by policy."""
    run = api.create(samples["training-run-minimal"], user="alice", dry_run=True)
    model = api.create(samples["model"], user="alice", dry_run=True)
    return "ValidatingAdmissionPolicy" in run.message and "ValidatingAdmissionPolicy" in model.message


def until(condition: Any, what: str, seconds: float = 30.0) -> None:
    """Wait for something that the API server does a moment later."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)


@pytest.fixture
async def kube(plane: ControlPlane) -> AsyncIterator[Kube]:
    """Its administrator, in a file that has a control plane of its own."""
    async with Kube(credentials.from_kubeconfig(plane.kubeconfig_for("admin"))) as kube:
        yield kube
