"""The resources the operator reads or writes, as the API server names them."""

from __future__ import annotations

from .base import Frozen


class ResourceType(Frozen):
    """A resource type: `path` is its REST path below the server's root."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """`group/version`, or the bare version of the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """REST path of a collection, an object or a subresource."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if namespace else ""
        return "/".join(part for part in (f"{root}{scope}/{self.plural}", name, subresource) if part)


DATASETS = ResourceType(group="millrace.dev", version="v1alpha1", plural="datasets", kind="Dataset")
TRAINING_RUNS = ResourceType(group="millrace.dev", version="v1alpha1", plural="trainingruns", kind="TrainingRun")
MODELS = ResourceType(group="millrace.dev", version="v1alpha1", plural="models", kind="Model")
DEPLOYMENTS = ResourceType(group="millrace.dev", version="v1alpha1", plural="deployments", kind="Deployment")

JOBS = ResourceType(group="batch", version="v1", plural="jobs", kind="Job")
WORKLOADS = ResourceType(group="apps", version="v1", plural="deployments", kind="Deployment")
PODS = ResourceType(group="", version="v1", plural="pods", kind="Pod")
SERVICES = ResourceType(group="", version="v1", plural="services", kind="Service")
CONFIG_MAPS = ResourceType(group="", version="v1", plural="configmaps", kind="ConfigMap")
BUDGETS = ResourceType(group="policy", version="v1", plural="poddisruptionbudgets", kind="PodDisruptionBudget")
CONTROLLER_REVISIONS = ResourceType(group="apps", version="v1", plural="controllerrevisions", kind="ControllerRevision")
EVENTS = ResourceType(group="", version="v1", plural="events", kind="Event")
LEASES = ResourceType(group="coordination.k8s.io", version="v1", plural="leases", kind="Lease")
NAMESPACES = ResourceType(group="", version="v1", plural="namespaces", kind="Namespace")
POLICIES = ResourceType(
    group="admissionregistration.k8s.io",
    version="v1",
    plural="validatingadmissionpolicies",
    kind="ValidatingAdmissionPolicy",
)
POLICY_BINDINGS = ResourceType(
    group="admissionregistration.k8s.io",
    version="v1",
    plural="validatingadmissionpolicybindings",
    kind="ValidatingAdmissionPolicyBinding",
)

WITNESSED = (POLICIES, POLICY_BINDINGS)
"""Looked at, to know whether a policy is the one that it was."""
OWN = (DATASETS, TRAINING_RUNS, MODELS, DEPLOYMENTS)
RECORDS = (CONTROLLER_REVISIONS,)
"""What is written once, belongs to no object and is never changed: a quarantine outlives whatever it is about."""
CHILDREN = (JOBS, WORKLOADS, PODS, SERVICES, CONFIG_MAPS, BUDGETS, *RECORDS)
ALL = (*OWN, *CHILDREN, EVENTS, LEASES)


def of(manifest: dict[str, object]) -> ResourceType:
    """The resource type of a manifest. Raises KeyError when the operator does not know it."""
    return _BY_KIND[str(manifest["apiVersion"]), str(manifest["kind"])]


_BY_KIND = {(resource.api_version, resource.kind): resource for resource in ALL}
