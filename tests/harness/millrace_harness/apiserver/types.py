"""How values merge: which lists are maps by key, which are sets, what is replaced as a whole.

What is not described is *deduced*, as the API server does it: objects merge field by field, lists are replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Shape = Literal["deduced", "atomic", "keyed", "set"]


@dataclass(frozen=True, eq=False)
class Type:
    """A value's type, as far as merging goes."""

    shape: Shape = "deduced"
    fields: Mapping[str, Type] = field(default_factory=dict)
    extra: Type | None = None
    """Of the values of a map of any keys."""
    items: Type | None = None
    keys: tuple[str, ...] = ()
    """Of a keyed list's items."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Of keys that may be left out."""

    def child(self, name: str) -> Type:
        return self.fields.get(name) or self.extra or ANY

    @property
    def item(self) -> Type:
        return self.items or ANY

    def key(self, item: Any) -> tuple[Any, ...]:
        """What identifies an item of this list."""
        if self.shape == "set":
            return ("=", item)
        return ("#", *(item.get(name, self.defaults.get(name)) for name in self.keys))


ANY: Final = Type()
ATOMIC: Final = Type("atomic")


def keyed(*keys: str, items: Mapping[str, Type] | None = None, **defaults: Any) -> Type:
    """A list that is a map by these fields of its items."""
    return Type("keyed", items=Type(fields=items or {}), keys=keys, defaults=defaults)


def struct(**fields: Type) -> Type:
    return Type(fields=fields)


METADATA: Final = struct(ownerReferences=Type("keyed", items=ATOMIC, keys=("uid",)), finalizers=Type("set"))
CONDITIONS: Final = keyed("type")
SELECTOR: Final = ATOMIC
CONTAINER: Final = {
    "ports": keyed("containerPort", "protocol", protocol="TCP"),
    "env": keyed("name", items={"valueFrom": struct(fieldRef=ATOMIC, secretKeyRef=ATOMIC, configMapKeyRef=ATOMIC)}),
    "volumeMounts": keyed("mountPath"),
    "resources": struct(claims=keyed("name")),
}
CONTAINERS: Final = keyed("name", items=CONTAINER)
POD_SPEC: Final = struct(
    containers=CONTAINERS,
    initContainers=CONTAINERS,
    volumes=keyed("name"),
    imagePullSecrets=keyed("name"),
    hostAliases=keyed("ip"),
    nodeSelector=ATOMIC,
    topologySpreadConstraints=keyed("topologyKey", "whenUnsatisfiable", items={"labelSelector": ATOMIC}),
)
POD_STATUS: Final = struct(conditions=CONDITIONS, podIPs=keyed("ip"))
TEMPLATE: Final = struct(metadata=METADATA, spec=POD_SPEC)
CONDITIONED: Final = struct(conditions=CONDITIONS)


def _kind(spec: Type = ANY, status: Type = CONDITIONED) -> Type:
    return struct(metadata=METADATA, spec=spec, status=status)


_WORKLOAD: Final = _kind(struct(template=TEMPLATE, selector=SELECTOR))

BUILTIN: Final[Mapping[str, Type]] = {
    "Pod": _kind(POD_SPEC, POD_STATUS),
    "Job": _kind(
        struct(
            template=TEMPLATE,
            selector=SELECTOR,
            podFailurePolicy=struct(rules=ATOMIC),
        )
    ),
    "Deployment": _WORKLOAD,
    "ReplicaSet": _WORKLOAD,
    "PodDisruptionBudget": _kind(struct(selector=ATOMIC)),
    "Service": _kind(struct(ports=keyed("port", "protocol", protocol="TCP"), selector=ATOMIC)),
}
"""By kind; others (ConfigMap, Event, Lease) are `OTHER`."""

OTHER: Final = _kind()


def from_schema(schema: Mapping[str, Any]) -> Type:
    """The merge type of a structural OpenAPI v3 schema with `x-kubernetes-list-type` and its like."""
    kind = schema.get("type")
    if kind == "object":
        if schema.get("x-kubernetes-map-type") == "atomic":
            return ATOMIC
        extra = schema.get("additionalProperties")
        return Type(
            fields={name: from_schema(one) for name, one in (schema.get("properties") or {}).items()},
            extra=from_schema(extra) if isinstance(extra, Mapping) else None,
        )
    if kind == "array":
        return _list(schema)
    return ANY


def _list(schema: Mapping[str, Any]) -> Type:
    shape = schema.get("x-kubernetes-list-type", "atomic")
    if shape == "map":
        items = schema["items"]
        keys = tuple(schema["x-kubernetes-list-map-keys"])
        known = items.get("properties") or {}
        defaults = {key: known[key]["default"] for key in keys if "default" in known.get(key, {})}
        return Type("keyed", items=from_schema(items), keys=keys, defaults=defaults)
    return Type("set") if shape == "set" else ATOMIC
