"""What a decision may ask for. `millrace.apply` carries a Plan out, in the order of its fields."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict

from millrace.api.base import Frozen
from millrace.api.resources import ResourceType

Manifest = dict[str, Any]


class Delete(Frozen):
    """An object to delete: explicit, never by omission. `uid` is a precondition, re-read live before the delete."""

    resource: ResourceType
    namespace: str
    name: str
    uid: str


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


class Plan(Frozen):
    """What should be true after this pass.

    `children` are whole intents, server-side applied and owned; a field that is no longer stated is removed.
    `creates` are POSTed once and never applied again: one that exists already asks for another pass.
    `status` is the whole status; None leaves it alone. `wake_after` is in seconds: nothing else is a timer.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    children: tuple[Manifest, ...] = ()
    creates: tuple[Manifest, ...] = ()
    deletes: tuple[Delete, ...] = ()
    nudges: tuple[Nudge, ...] = ()
    status: dict[str, Any] | None = None
    events: tuple[Event, ...] = ()
    wake_after: float | None = None
