"""A real control plane for many plans at once: our kinds, policies and roles installed, a namespace for each plan.

etcd, kube-apiserver and kube-controller-manager run; nothing runs pods. Namespaces are left when a plan ends: to empty
one costs more than a plan does, and the whole plane is thrown away.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import yaml

from millrace import errors
from millrace.api import resources
from millrace.api.resources import ResourceType
from millrace.clients import credentials
from millrace.clients.credentials import Credentials
from millrace.clients.kube import Kube
from millrace.clients.store import Manifest
from millrace.observe import policy
from millrace.render import admission, roles
from millrace_cluster.control_plane import ADMIN, ControlPlane

ROOT: Final = Path(__file__).parents[3]
OPERATOR: Final = "operator"
PEOPLE: Final[Mapping[str, tuple[str, ...]]] = {
    "alice": ("edit",),
    "bob": ("approver",),
    "carol": ("edit", "approver"),
}
"""Users and the roles that they have everywhere."""

CONTROLLERS: Final = (
    "deployment-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "replicaset-controller",
    "serviceaccount-controller",
    "validatingadmissionpolicy-status-controller",
)
"""What a plan needs; the others would only take time from it."""
MANAGER_FLAGS: Final = (
    f"--controllers={','.join(CONTROLLERS)}",
    # Plans run side by side; 20 requests a second, the default, are for one cluster.
    "--kube-api-qps=1000",
    "--kube-api-burst=2000",
)
APISERVER_FLAGS: Final = ("--max-requests-inflight=2000", "--max-mutating-requests-inflight=1000")

SERVICE_ACCOUNTS: Final = ResourceType(group="", version="v1", plural="serviceaccounts", kind="ServiceAccount")
NAMESPACES: Final = ResourceType(group="", version="v1", plural="namespaces", kind="Namespace")
BINDINGS: Final = ResourceType(
    group="rbac.authorization.k8s.io", version="v1", plural="rolebindings", kind="RoleBinding"
)
START_SECONDS: Final = 60.0


class Plane:
    """A control plane that is ready for plans, stopped when the block ends."""

    def __init__(self, directory: Path, *, exempt: Sequence[str] = ()) -> None:
        """`exempt` users may write what only the operator may."""
        self._exempt = tuple(exempt)
        self.control = ControlPlane(
            directory,
            users={OPERATOR: [], **dict.fromkeys(PEOPLE, ())},
            controller_manager=True,
            apiserver_flags=APISERVER_FLAGS,
            environment={"GOGC": "400"},  # garbage is collected less often: memory is there, time is not
        )

    def __enter__(self) -> Self:
        self.control.__enter__()
        try:
            self._install()
            asyncio.run(self._until_ready())
        except BaseException:
            self.control.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.control.stop()

    def access(self, user: str = ADMIN) -> Credentials:
        """How to be `user`; picklable, for worker processes."""
        return credentials.from_kubeconfig(self.control.kubeconfig_for(user))

    @property
    def tokens(self) -> dict[str, str]:
        """By user."""
        return {user: self.control.token(user) for user in (ADMIN, OPERATOR, *PEOPLE)}

    def _install(self) -> None:
        for crd in sorted((ROOT / "crds").glob("millrace.dev_*.yaml")):
            self.control.kubectl("apply", "--server-side", "-f", str(crd))
        granted = [
            *roles.cluster_roles(),
            _cluster_role(OPERATOR, [*roles.operator_rules(), *roles.lease_rules()]),
            _cluster_role("witness", roles.witness_rules()),
            _cluster_binding(OPERATOR, "witness"),
            *(_cluster_binding(user, f"millrace-{role}") for user, held in PEOPLE.items() for role in held),
            *self._policies(),
        ]
        self.control.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(granted))
        names = [f"crd/{one.plural}.millrace.dev" for one in resources.OWN]
        self.control.kubectl("wait", "--for=condition=Established", *names, "--timeout=30s")
        self.control.restart_controller_manager(*MANAGER_FLAGS)

    def _policies(self) -> list[Manifest]:
        made = admission.manifests(admission.trust([OPERATOR, *self._exempt]))
        # The controllers, which change pods, have the administrator's name here.
        return [one for one in made if not self._exempt or one["metadata"]["name"] != admission.OPERATOR_PODS]

    async def _until_ready(self) -> None:
        """The policies refuse, and the garbage collector knows our kinds."""
        async with Kube(self.access()) as kube, Kube(self.access("alice")) as alice:
            await make_namespace(kube, "ready")
            await _until(lambda: _is_refused(alice), "the admission policies are enforced")
            await _until_garbage_is_collected(kube, "ready")


async def make_namespace(kube: Kube, name: str) -> None:
    """A namespace under the restricted Pod Security Standard in which the operator may work and pods can be made.

    Raises ApiError.
    """
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": restricted}}
    await kube.create(NAMESPACES, space)
    await kube.create(BINDINGS, _binding(OPERATOR, OPERATOR, name))

    async def has_account() -> bool:
        try:
            await kube.get(SERVICE_ACCOUNTS, name, "default")
        except errors.NotFound:
            return False
        return True

    await _until(has_account, f"namespace {name} has its ServiceAccount")


async def _is_refused(kube: Kube) -> bool:
    forgeries = (
        (resources.MODELS, policy.forged_model("ready", "nobody")),
        (resources.TRAINING_RUNS, policy.forged_run("ready")),
    )
    for resource, forged in forgeries:
        try:
            await kube.create(resource, forged, dry_run=True)
        except errors.Forbidden as refusal:
            if "ValidatingAdmissionPolicy" not in str(refusal):
                return False
        except errors.ApiError:
            return False
        else:
            return False
    return True


async def _until_garbage_is_collected(kube: Kube, namespace: str) -> None:
    """An object that one of ours owns goes with it: from then on nobody waits for the collector to learn our kinds."""
    for resource in resources.OWN:
        await _make_orphan(kube, resource, namespace)

    async def is_collected() -> bool:
        return not await kube.list(resources.CONFIG_MAPS, namespace, {"harness": "orphan"})

    await _until(is_collected, "the garbage collector knows our kinds")


async def _make_orphan(kube: Kube, resource: ResourceType, namespace: str) -> None:
    """A ConfigMap whose owner, of this kind, has never been."""
    uid = f"00000000-0000-4000-8000-{resources.OWN.index(resource):012d}"
    reference = {"apiVersion": resource.api_version, "kind": resource.kind, "name": "never-been", "uid": uid}
    metadata = {
        "name": f"orphan-{resource.plural}",
        "namespace": namespace,
        "labels": {"harness": "orphan"},
        "ownerReferences": [reference],
    }
    await kube.create(resources.CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})


async def _until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not await condition():
        if time.monotonic() >= deadline:
            raise TimeoutError(f"not within {START_SECONDS:.0f} s: {what}")
        await asyncio.sleep(0.05)


def _cluster_role(name: str, rules: list[Manifest]) -> Manifest:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": rules,
    }


def _binding(user: str, role: str, namespace: str) -> Manifest:
    bound = _cluster_binding(user, role)
    return {**bound, "kind": "RoleBinding", "metadata": {"name": f"{user}-{role}", "namespace": namespace}}


def _cluster_binding(user: str, role: str) -> Manifest:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"{user}-{role}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "User", "name": user}],
    }
