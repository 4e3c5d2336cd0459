"""What a decision may ask for. `millrace.apply` carries a Plan out, in the order of its fields."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict

from millrace.api.base import Frozen
from millrace.api.resources import ResourceType

Manifest = dict[str, Any]


class Delete(Frozen):
    """An object to delete: explicit, never by omission. `uid` is a precondition, re-read live before the delete.

    So is `resource_version`, where it is given: what was judged is what goes, and nothing that was written to since.
    """

    resource: ResourceType
    namespace: str
    name: str
    uid: str
    resource_version: str = ""


class Nudge(Frozen):
    """An annotation to set on a pod, so that its kubelet refreshes what is mounted in it."""

    namespace: str
    pod: str
    annotation: str
    value: str


class Event(Frozen):
    """A Kubernetes Event, written once the status that shows the same is written."""

    type: Literal["Normal", "Warning"] = "Normal"
    reason: str
    message: str
    made: str = ""
    """Name of the object whose creation it reports: if that is refused, the Event is not written."""


class Claim(Frozen):
    """A field of the status that is true only once the creates and deletes of these kinds are done.

    If one of them is refused, the field keeps its last value. `blocked` is a condition that is True meanwhile, with the
    message of the API server; without one the object is Stalled.
    """

    field: str
    """A top-level field of the status, by its wire name."""
    kinds: frozenset[ResourceType]
    blocked: str = ""


class Plan(Frozen):
    """What should be true after this pass.

    `records` are POSTed once, before anything else: facts that must not be lost if what comes after is.
    `children` are whole intents, server-side applied and owned; a field that is no longer stated is removed.
    `creates` are POSTed once and never applied again: one that exists already asks for another pass.
    A refused write stops neither the other writes nor the status; `claims` say which fields of the status are then not
    true yet.
    `status` is the whole status; None leaves it alone. `wake_after` is in seconds: nothing else is a timer.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    records: tuple[Manifest, ...] = ()
    children: tuple[Manifest, ...] = ()
    creates: tuple[Manifest, ...] = ()
    deletes: tuple[Delete, ...] = ()
    nudges: tuple[Nudge, ...] = ()
    status: dict[str, Any] | None = None
    claims: tuple[Claim, ...] = ()
    events: tuple[Event, ...] = ()
    wake_after: float | None = None
