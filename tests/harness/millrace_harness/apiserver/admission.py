"""What the API server makes of an object before it is stored: defaults, and what it refuses.

Of the built-in kinds as much as the operator and the controllers rely on. Of the admission policies just what the
operator asks them to find out whether they are in force; who may do what is for the real API server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from millrace.api.resources import ResourceType
from millrace.render import admission as policies
from millrace_harness.wire import Request

from . import answers, schema
from .storage import Manifest

NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?\Z")
LABEL: Final = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?\Z")

POD_DEFAULTS: Final = {
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "schedulerName": "default-scheduler",
}
IMMUTABLE: Final[Mapping[str, tuple[str, ...]]] = {
    "Job": ("selector", "template", "completions", "completionMode", "podFailurePolicy"),
    "Deployment": ("selector",),
    "ReplicaSet": ("selector",),
    "Service": ("clusterIP",),
    "Pod": ("containers", "initContainers", "volumes", "nodeName", "restartPolicy"),
}
MODEL_FIELDS: Final = (
    "modelName", "version", "artifact", "signature", "provenance", "goldenSetUri", "referenceProfileUri",
)  # fmt: skip


def with_defaults(resource: ResourceType, made: Manifest, *, checked: bool) -> Manifest:
    """The manifest, defaulted: in place for built-in kinds, as a copy for ours, without the fields that are not known
    unless it was `checked` that there are none.
    """
    if resource.group == "millrace.dev":
        known = schema.definitions()[resource.kind].schema
        filled: Manifest = schema.with_defaults(made if checked else schema.pruned(made, known), known)
        return filled
    spec = made.get("spec")
    if isinstance(spec, dict) and resource.plural in _BUILTIN:
        _BUILTIN[resource.plural](made, spec)
    return made


def check_fields(resource: ResourceType, body: Manifest, *, applied: bool) -> None:
    """Strict field validation, of our kinds. Raises Refused."""
    if resource.group == "millrace.dev":
        found = list(schema.unknown(body, schema.definitions()[resource.kind].schema))
        if found and applied:
            raise answers.Refused(
                500, "", f"failed to create typed patch object: .{found[0]}: field not declared in schema"
            )
        if found:
            listed = ", ".join(f'unknown field "{one}"' for one in found)
            raise answers.bad(f"{resource.kind} in version {resource.version} cannot be handled: strict decoding "
                              f"error: {listed}")  # fmt: skip


def check_patched(resource: ResourceType, made: Manifest) -> None:
    """Strict field validation of what a patch makes of an object of ours. Raises Refused."""
    if resource.group == "millrace.dev":
        found = [
            f'patch: unknown field "{one}"' for one in schema.unknown(made, schema.definitions()[resource.kind].schema)
        ]
        if found:
            raise answers.invalid(resource, made["metadata"]["name"], found)


def check(resource: ResourceType, made: Manifest, live: Manifest | None, request: Request) -> None:
    """Raises Refused for what validation, immutability or a policy refuses."""
    name = made["metadata"]["name"]
    causes = list(_metadata_refusals(resource, made["metadata"]))
    ours = resource.group == "millrace.dev"
    if ours:
        causes += schema.refusals(made, schema.definitions()[resource.kind].schema)
        causes += _transition_refusals(resource, made, live)
    else:
        causes += _builtin_refusals(resource, made, live)
    if causes:
        raise answers.invalid(resource, name, causes)
    if ours:
        _apply_policies(resource, made, live, request)


def _metadata_refusals(resource: ResourceType, metadata: Mapping[str, Any]) -> Iterator[str]:
    name = metadata["name"]
    longest = 63 if resource.plural == "services" else 253
    if len(name) > longest or not NAME.match(name):
        yield f'metadata.name: Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of ...'
    for label, value in (metadata.get("labels") or {}).items():
        if not isinstance(value, str) or len(value) > 63 or not LABEL.match(value):
            yield f'metadata.labels: Invalid value: "{value}" of {label}: must be no more than 63 characters'
    if sum(bool(one.get("controller")) for one in metadata.get("ownerReferences") or ()) > 1:
        yield "metadata.ownerReferences: Invalid value: Only one reference can have Controller set to true."


def _transition_refusals(resource: ResourceType, made: Manifest, live: Manifest | None) -> Iterator[str]:
    if live is None:
        return
    before, after = live["spec"], made.get("spec") or {}
    if resource.kind == "TrainingRun" and before != after:
        yield 'spec: Invalid value: "object": a TrainingRun is immutable: create a new one'
    if resource.kind == "Model":
        for field in MODEL_FIELDS:
            if before.get(field) != after.get(field):
                yield f"spec.{field}: Invalid value: {field} is immutable: create a new version"
        old, new = before.get("approvals") or [], after.get("approvals") or []
        if new[: len(old)] != old:
            yield "spec.approvals: Invalid value: approvals are append-only"


def _builtin_refusals(resource: ResourceType, made: Manifest, live: Manifest | None) -> Iterator[str]:
    spec = made.get("spec") or {}
    if live is not None:
        before = live.get("spec") or {}
        for field in IMMUTABLE.get(resource.kind, ()):
            if before.get(field) != spec.get(field):
                yield f"spec.{field}: Invalid value: field is immutable"
    if resource.plural == "deployments":
        wanted = (spec.get("selector") or {}).get("matchLabels") or {}
        labels = spec.get("template", {}).get("metadata", {}).get("labels") or {}
        if any(labels.get(label) != value for label, value in wanted.items()):
            yield "spec.template.metadata.labels: Invalid value: `selector` does not match template `labels`"
    frozen = resource.plural == "configmaps" and live is not None and live.get("immutable")
    if frozen and (live or {}).get("data") != made.get("data"):
        yield "data: Forbidden: field is immutable when `immutable` is set"


def guard(resource: ResourceType, name: str) -> Manifest:
    """A policy, or its binding: there since before everything, and touched by nobody."""
    metadata = {"name": name, "uid": f"{resource.plural}-{name}", "resourceVersion": "1", "generation": 1}
    return {"metadata": {**metadata, "creationTimestamp": "2000-01-01T00:00:00Z"}}


def _apply_policies(resource: ResourceType, made: Manifest, live: Manifest | None, request: Request) -> None:
    """What the operator tries, to see whether it is refused; it has not the verb `approve`."""
    name, spec = made["metadata"]["name"], made.get("spec") or {}
    if live is None and name.startswith(policies.PROBE):
        policy = policies.RUNS if resource.kind == "TrainingRun" else policies.APPROVALS
        raise _denied(resource, name, policy, f"{name} is reserved (rules {policies.RULES})")
    if resource.kind == "Model" and request.sender.startswith("operator"):
        known = len((live or {}).get("spec", {}).get("approvals") or ())
        if len(spec.get("approvals") or ()) > known:
            raise _denied(resource, name, policies.APPROVALS, f"{request.sender} lacks the verb approve on models")


def _denied(resource: ResourceType, name: str, policy: str, why: str) -> answers.Refused:
    words = f"ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request: {why}"
    return answers.forbidden(resource, name, words)


def _default(target: dict[str, Any], **values: Any) -> None:
    for name, value in values.items():
        target.setdefault(name, value)


def _pod_spec(spec: dict[str, Any]) -> None:
    _default(spec, **POD_DEFAULTS)
    spec.setdefault("securityContext", {})
    for part in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        _default(part, terminationMessagePath="/dev/termination-log", terminationMessagePolicy="File")
        part.setdefault("resources", {})
        for port in part.get("ports") or ():
            port.setdefault("protocol", "TCP")


def _template(spec: dict[str, Any]) -> None:
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    _pod_spec(template.setdefault("spec", {}))


def _pod(made: Manifest, spec: dict[str, Any]) -> None:
    _pod_spec(spec)


def _job(made: Manifest, spec: dict[str, Any]) -> None:
    _default(spec, parallelism=1, completions=1, backoffLimit=6, completionMode="NonIndexed", suspend=False)
    _template(spec)
    _default(spec, manualSelector=False)
    _default(spec, podReplacementPolicy="Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed")
    uid, name = made["metadata"]["uid"], made["metadata"]["name"]
    if "selector" not in spec:
        spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
        labels = spec["template"]["metadata"].setdefault("labels", {})
        _default(labels, **{"batch.kubernetes.io/controller-uid": uid, "controller-uid": uid})
        _default(labels, **{"batch.kubernetes.io/job-name": name, "job-name": name})
        if not made["metadata"].get("labels"):
            made["metadata"]["labels"] = dict(labels)


def _workload(made: Manifest, spec: dict[str, Any]) -> None:
    _default(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}
    _default(spec, strategy=rolling)
    _template(spec)


def _service(made: Manifest, spec: dict[str, Any]) -> None:
    _default(spec, type="ClusterIP", sessionAffinity="None", internalTrafficPolicy="Cluster")
    number = int(made["metadata"]["uid"][-4:], 16)
    spec.setdefault("clusterIP", f"10.96.{number // 256}.{number % 256}")
    for port in spec.get("ports") or ():
        _default(port, protocol="TCP", targetPort=port["port"])


_BUILTIN: Final[Mapping[str, Any]] = {
    "pods": _pod,
    "jobs": _job,
    "deployments": _workload,
    "services": _service,
}
