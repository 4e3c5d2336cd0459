"""What an attack happens on: the chart as it ships, on a real API server, two teams, and people with rights in one.

alice  edit in ml            bob   approver in ml        carol  both in ml        dave  edit in fraud
admin  cluster administrator, as flux (a trusted applier) and argo (known to nobody) are
robot  a trusted applier that is no service account, and cluster administrator
ci     another trusted applier, that counts as an approver too      wanda  every verb on our kinds in ml, and no other
bot    a service account of ml with the approver's role      operator, store  the accounts of millrace-system
"""

from __future__ import annotations

import copy
import hashlib
import http.client
import itertools
import json
import ssl
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlencode, urlsplit

import yaml

import millrace_cluster
from millrace_cluster.control_plane import ControlPlane

Manifest = dict[str, Any]

ROOT: Final = Path(__file__).parents[3]
HOME, ML, FRAUD, LAB = "millrace-system", "ml", "fraud", "lab"
"""Where the operator is, the two teams that it serves, and a namespace that it does not watch."""
PREFIX: Final = "system:serviceaccount"
FLUX, ARGO = f"{PREFIX}:flux-system:kustomize-controller", f"{PREFIX}:argocd:argocd-application-controller"
CI: Final = f"{PREFIX}:ci:approver"
BOT, OPERATOR, STORE = f"{PREFIX}:{ML}:bot", f"{PREFIX}:{HOME}:millrace-operator", f"{PREFIX}:{HOME}:millrace-store"
USERS: Final = {
    "alice": [], "bob": [], "carol": [], "dave": [], "wanda": [], "robot": ["system:masters"],
    "admin": ["system:masters"], FLUX: ["system:masters"], ARGO: ["system:masters"],
    CI: ["system:masters"], OPERATOR: [], STORE: [], BOT: [],
}  # fmt: skip
BOUND: Final = (
    ("alice", "edit", ML), ("alice", "edit", LAB), ("bob", "millrace-approver", ML), ("carol", "edit", ML),
    ("carol", "millrace-approver", ML), ("dave", "edit", FRAUD), (BOT, "millrace-approver", ML),
    ("wanda", "wildcard", ML),
)  # fmt: skip
PLURALS: Final = {"Dataset": "datasets", "TrainingRun": "trainingruns", "Model": "models", "Deployment": "deployments"}
SHORT: Final = {CI: "ci", FLUX: "flux", ARGO: "argo", BOT: "bot", OPERATOR: "operator", STORE: "store"}
API: Final = "/apis/millrace.dev/v1alpha1"
VALUES: Final = (f"watchNamespaces={{{ML},{FRAUD}}}", f"admission.trustedAppliers={{{FLUX},{CI},robot}}",
                 f"admission.approvingAccounts={{{CI}}}")  # fmt: skip
PATIENCE: Final = 120.0


@dataclass(frozen=True)
class Answer:
    """What the API server said."""

    code: int
    body: Manifest

    @property
    def ok(self) -> bool:
        return self.code < 300

    @property
    def said(self) -> str:
        return str(self.body.get("message", ""))


class Ground:
    """A control plane with the chart on it, until the block ends."""

    def __init__(self, directory: Path) -> None:
        self.plane = ControlPlane(directory, users=USERS, controller_manager=True)
        self._connections: dict[str, http.client.HTTPSConnection] = {}
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        self.plane.__enter__()
        try:
            self._install()
        except BaseException:
            self.plane.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._connections.values():
            connection.close()
        self.plane.stop()

    # --- asking

    def call(
        self, method: str, path: str, body: Any = None, *, user: str, content: str = "", impersonate: str = ""
    ) -> Answer:
        """One request, as that user; `content` is what kind of patch it is."""
        media = f"application/{content or 'merge'}-patch+{'yaml' if content == 'apply' else 'json'}"
        headers = {
            "Authorization": f"Bearer {self.plane.token(user)}",
            "Content-Type": media if method == "PATCH" else "application/json",
        }
        if impersonate:
            headers["Impersonate-User"] = impersonate
        connection = self._connections.get(user) or self._connect(user)
        text = None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, path, text, headers)
            response = connection.getresponse()
        except (http.client.HTTPException, OSError):  # it was idle for too long
            connection.close()
            connection.request(method, path, text, headers)
            response = connection.getresponse()
        raw = response.read()
        try:
            return Answer(response.status, json.loads(raw or b"{}"))
        except ValueError:
            return Answer(response.status, {"message": raw.decode("utf-8", "replace")})

    def create(self, manifest: Manifest, *, user: str, **params: str) -> Answer:
        return self.call("POST", f"{collection(manifest)}?{urlencode({'fieldValidation': 'Strict', **params})}",
                         manifest, user=user)  # fmt: skip

    def patch(
        self, manifest: Manifest, body: Any, *, user: str, content: str = "", sub: str = "", **params: str
    ) -> Answer:
        query = f"?{urlencode(params)}" if params else ""
        return self.call("PATCH", f"{where(manifest)}{sub}{query}", body, user=user, content=content)

    def delete(self, manifest: Manifest, *, user: str) -> Answer:
        return self.call("DELETE", where(manifest), user=user)

    def read(self, manifest: Manifest) -> Manifest:
        return self.call("GET", where(manifest), user="admin").body

    # --- making, each time another

    def model(self, author: str = "alice", *, policy: Manifest | None = None, namespace: str = ML) -> Manifest:
        """What the operator made of a run by `author`."""
        made = model(f"m{next(self._numbers)}", author, namespace=namespace)
        made["spec"]["provenance"]["trainingRunRef"] = {"name": "run"}
        made["spec"] |= {"approvalPolicy": policy} if policy else {}
        return self._must(self.create(made, user=OPERATOR))

    def imported(self, author: str, **spec: Any) -> Manifest:
        """A manifest of a model that somebody brings along; nothing is created."""
        made = model(f"m{next(self._numbers)}", author)
        made["spec"] |= spec
        return made

    def run(self, author: str, policy: Manifest | None = None, applied_by: str = "", namespace: str = ML) -> Manifest:
        """A manifest of a run; nothing is created."""
        output: Manifest = {"modelName": "churn", **({"approvalPolicy": policy} if policy else {})}
        trainer = {"builtin": {"estimator": "sklearn.linear_model.LogisticRegression", "task": "Classification"}}
        spec: Manifest = {"author": author, "datasetRef": {"name": "churn"}, "trainer": trainer, "output": output}
        spec |= {"evaluation": {"metrics": ["roc_auc"]}, **({"appliedBy": applied_by} if applied_by else {})}
        return own("TrainingRun", f"run-{next(self._numbers)}", spec, namespace)

    def deployment(self, actions: Manifest | None = None, *, canary: str = "") -> Manifest:
        """One that alice made, with what an administrator patched in, and a canary if one is named."""
        spec: Manifest = {"modelSelector": {"modelName": "churn"}}
        made = self._must(self.create(own("Deployment", f"d{next(self._numbers)}", spec), user="alice"))
        if canary:
            served = {"revision": canary, "model": "churn-2", "version": 2, "digest": digest("2"), "weight": 5}
            status = {"status": {"canary": {**served, "since": "2026-11-21T08:00:00Z"}}}
            self._must(self.patch(made, status, user=OPERATOR, sub="/status"))
        if actions:
            self._must(self.patch(made, {"spec": {"actions": actions}}, user="bob"))
        return made

    def decided(self, made: Manifest, *said: tuple[str, str]) -> Manifest:
        """The same model after these people have said that, in order."""
        for user, decision in said:
            self._must(self.decide(made, user, entry(made, user, decision)))
        return made

    def decide(self, made: Manifest, user: str, *entries: Manifest) -> Answer:
        """Add entries at the end, as `user`."""
        so_far = self.read(made)["spec"].get("approvals", [])
        return self.patch(made, {"spec": {"approvals": [*so_far, *entries]}}, user=user)

    def _must(self, answer: Answer) -> Manifest:
        if not answer.ok:
            raise RuntimeError(f"the ground is not sound: {answer.code} {answer.said}")
        return answer.body

    # --- installing

    def _install(self) -> None:
        spaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
                  for name in (HOME, ML, FRAUD, LAB, "flux-system", "argocd")]  # fmt: skip
        self.plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(spaces))
        self.apply(charted(VALUES))
        names = [f"crd/{plural}.millrace.dev" for plural in PLURALS.values()]
        self.plane.kubectl("wait", "--for=condition=Established", *names, "--timeout=60s")
        wildcard = {"apiVersion": RBAC, "kind": "ClusterRole", "metadata": {"name": "wildcard"},
                    "rules": [{"apiGroups": ["millrace.dev"], "resources": ["*"], "verbs": ["*"]}]}  # fmt: skip
        bound = [binding(f"{number}", role, user, space) for number, (user, role, space) in enumerate(BOUND)]
        secrets = [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "millrace-store", "namespace": space},
                    "stringData": {"AWS_ACCESS_KEY_ID": space}} for space in (HOME, ML)]  # fmt: skip
        self.apply([wildcard, *bound, *secrets, *extras()])
        self.until(lambda: self.call("GET", f"/apis/millrace.dev/v1alpha1/namespaces/{ML}/models", user="alice").ok)
        self.until(self._is_guarded)

    def apply(self, manifests: list[Manifest]) -> None:
        """Kubectl apply, as an administrator."""
        self.plane.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(manifests))

    def _is_guarded(self) -> bool:
        """Whether the last of the policies that an API server loads refuses what it should."""
        token = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "type": "Opaque"}
        tries = (
            self.create(self.imported("bob"), user="alice", dryRun="All"),
            self.create(self.run("bob"), user="alice", dryRun="All"),
            self.create(own("Dataset", "x", READABLE, HOME), user="admin", dryRun="All"),
            self.call("POST", f"/api/v1/namespaces/{ML}/secrets?dryRun=All", token, user=STORE),
        )
        return all(answer.code == 403 for answer in tries)

    @staticmethod
    def until(condition: Callable[[], Any], what: str = "the awaited") -> Any:
        """What the condition answers, once that is true."""
        deadline = time.monotonic() + PATIENCE
        while not (found := condition()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {PATIENCE:.0f} s: {what}")
            time.sleep(0.1)
        return found

    def _connect(self, user: str) -> http.client.HTTPSConnection:
        address = urlsplit(self.plane.url)
        context = ssl.create_default_context(cafile=str(self.plane.ca))
        made = http.client.HTTPSConnection(str(address.hostname), address.port, timeout=30, context=context)
        self._connections[user] = made
        return made


READABLE: Final[Manifest] = {"source": {"storageUri": "s3://lake/x.parquet"}, "format": "Parquet"}
RBAC: Final = "rbac.authorization.k8s.io/v1"


def charted(values: tuple[str, ...]) -> list[Manifest]:
    """What `helm install` would apply, but for what needs a node to run on."""
    command = [str(millrace_cluster.binary("helm")), "template", "millrace", str(ROOT / "charts" / "millrace")]
    options = [word for value in values for word in ("--set", value)]
    done = subprocess.run([*command, "--namespace", HOME, "--kube-version", "v1.36.3", *options],
                          check=True, capture_output=True, text=True)  # fmt: skip
    return [one for one in yaml.safe_load_all(done.stdout) if one and one["kind"] != "StatefulSet"]


def binding(name: str, role: str, user: str, namespace: str) -> Manifest:
    return {
        "apiVersion": RBAC, "kind": "RoleBinding", "metadata": {"name": f"bound-{name}", "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
    }  # fmt: skip


def extras() -> list[Manifest]:
    """An account of the team's own, and another with the operator's name; pods of both kinds; a foreign Secret."""

    def metadata(name: str, **labels: str) -> Manifest:
        return {
            "name": name,
            "namespace": ML,
            "labels": {f"millrace.dev/{key}": value for key, value in labels.items()},
        }

    pod = {"containers": [{"name": "it", "image": "i"}]}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata("bot")},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata("millrace-operator")},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata("default")},
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata("router", component="router"), "spec": pod},
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata("server", component="server"), "spec": pod},
    ]


def digest(content: str) -> str:
    return f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"


def own(kind: str, name: str, spec: Manifest, namespace: str = ML) -> Manifest:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "millrace.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def model(name: str, author: str, *, version: str = "1", namespace: str = ML) -> Manifest:
    """The manifest of a Model, of bytes that no other has."""
    tensor, uri = {"name": "x", "datatype": "FP32", "shape": [-1, 1]}, "s3://millrace/models/ml/x"
    spec: Manifest = {
        "modelName": name, "version": version, "artifact": {"storageUri": uri, "digest": digest(name)},
        "signature": {"inputs": [tensor], "outputs": [tensor]}, "goldenSetUri": uri, "referenceProfileUri": uri,
        "provenance": {"author": author} if author else {},
    }  # fmt: skip
    return own("Model", f"{name}-{version}", spec, namespace)


def entry(made: Manifest, user: str, decision: str = "Approve") -> Manifest:
    return {"user": user, "decision": decision, "digest": made["spec"]["artifact"]["digest"]}


def collection(manifest: Mapping[str, Any]) -> str:
    return f"{API}/namespaces/{manifest['metadata']['namespace']}/{PLURALS[manifest['kind']]}"


def where(manifest: Mapping[str, Any]) -> str:
    return f"{collection(manifest)}/{manifest['metadata']['name']}"


@dataclass(frozen=True)
class Attack:
    """Who tries what, and how the refusal begins to read."""

    who: str
    does: str
    act: Callable[[Ground], Answer]
    says: str
    codes: tuple[int, ...] = (403,)

    @property
    def name(self) -> str:
        """For a person."""
        return f"{SHORT.get(self.who, self.who)} {self.does}"

    def verdict(self, answer: Answer) -> str:
        """Empty when it was refused by what should refuse it; else what is wrong."""
        if answer.ok:
            return "it was let through"
        if answer.code not in self.codes:
            return f"it was refused with {answer.code}: {answer.said}"
        return "" if self.says in answer.said else f"something else refused it: {answer.said}"


@dataclass
class Catalogue:
    """Attacks, in the order in which they were written down."""

    attacks: list[Attack] = field(default_factory=list)

    def add(
        self, who: str, does: str, says: str, codes: tuple[int, ...] = (403,)
    ) -> Callable[[Callable[[Ground], Answer]], Callable[[Ground], Answer]]:
        """Write down what the function tries."""

        def written(act: Callable[[Ground], Answer]) -> Callable[[Ground], Answer]:
            self.attacks.append(Attack(who, does, act, says, codes))
            return act

        return written


def stripped(manifest: Manifest) -> Manifest:
    """The manifest without what only the API server writes."""
    kept = copy.deepcopy(manifest)
    kept["metadata"] = {name: kept["metadata"][name] for name in ("name", "namespace")}
    kept.pop("status", None)
    return kept
