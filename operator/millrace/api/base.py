"""What every API type shares: frozen values, camelCase on the wire, unknown fields ignored when reading.

Unknown fields are ignored so that an older operator survives a newer custom resource; the API server is what refuses
them when a user applies one (structural schema with strict field validation).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel


class Frozen(BaseModel):
    """A value: immutable, compared by content, camelCase on the wire."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


class Rule(Frozen):
    """One CEL rule (`x-kubernetes-validations`); `message` says what to change, never only what is wrong.

    `field` is the path reported, below the object that carries the rule, such as `.fractions`; empty: the object.
    """

    rule: str
    message: str
    field: str = ""


@dataclass(frozen=True)
class ListType:
    """How server-side apply merges a list, and what may not be in it twice: stands in the list's `Annotated`."""

    kind: Literal["atomic", "set", "map"]
    keys: tuple[str, ...] = ()


ATOMIC = ListType("atomic")
SET = ListType("set")
BY_NAME = ListType("map", ("name",))
BY_TYPE = ListType("map", ("type",))


class Shape(Frozen):
    """An object in a custom resource. `RULES` are its CEL rules, in the order they are reported."""

    RULES: ClassVar[tuple[Rule, ...]] = ()

    def wire(self) -> dict[str, Any]:
        """The JSON form: aliases, no nulls, times as RFC 3339 with a Z."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Status(Shape):
    """What the operator writes of an object: without empty lists, which `kubectl describe` shows as bare headings."""

    def wire(self) -> dict[str, Any]:
        """The JSON form of a shape, but for lists that are empty, at any depth."""
        return {name: _pruned(value) for name, value in super().wire().items() if value != []}


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _pruned(one) for name, one in value.items() if one != []}
    return [_pruned(one) for one in value] if isinstance(value, list) else value


def rfc3339(value: datetime) -> str:
    """Kubernetes' form of a time: UTC, whole seconds, a Z."""
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")


Time = Annotated[datetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]


class ObjectMeta(Shape):
    """The part of metadata that decisions read."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


SpecT = TypeVar("SpecT", bound=Shape)
StatusT = TypeVar("StatusT", bound=Shape)


class Resource(Shape, Generic[SpecT, StatusT]):
    """A custom resource as read from the API server. Raises pydantic.ValidationError on a malformed one."""

    api_version: str = "millrace.dev/v1alpha1"
    kind: str
    metadata: ObjectMeta
    spec: SpecT
    status: StatusT
