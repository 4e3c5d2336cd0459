"""The API server's errors: `metav1.Status`."""

from __future__ import annotations

from typing import Any

from millrace.api.resources import ResourceType
from millrace_harness.wire import Response


class Refused(Exception):
    """A request is answered with an error."""

    def __init__(self, code: int, reason: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.details = details

    def response(self) -> Response:
        """The answer."""
        return Response(self.code, failure(self.code, self.reason, str(self), **self.details))


def failure(code: int, reason: str, message: str, **details: Any) -> dict[str, Any]:
    """A `metav1.Status` of a failure; also the object of a watch's ERROR event."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "details": details,
        "code": code,
    }


def qualified(resource: ResourceType) -> str:
    """`models.millrace.dev`, or `pods`."""
    return f"{resource.plural}.{resource.group}" if resource.group else resource.plural


def _about(resource: ResourceType, name: str) -> dict[str, Any]:
    return {"name": name, "group": resource.group, "kind": resource.plural}


def not_found(resource: ResourceType, name: str) -> Refused:
    return Refused(404, "NotFound", f'{qualified(resource)} "{name}" not found', **_about(resource, name))


def no_such_path() -> Refused:
    return Refused(404, "NotFound", "the server could not find the requested resource")


def already_exists(resource: ResourceType, name: str) -> Refused:
    message = f'{qualified(resource)} "{name}" already exists'
    return Refused(409, "AlreadyExists", message, **_about(resource, name))


def conflict(resource: ResourceType, name: str, why: str = "") -> Refused:
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {qualified(resource)} "{name}": {why}'
    return Refused(409, "Conflict", message, **_about(resource, name))


def invalid(resource: ResourceType, name: str, causes: list[str]) -> Refused:
    """`causes` are `path: why`."""
    listed = [{"field": one.split(":")[0], "message": one} for one in causes]
    message = f'{resource.kind} "{name}" is invalid: {"; ".join(causes)}'
    return Refused(422, "Invalid", message, **_about(resource, name), causes=listed)


def bad(message: str) -> Refused:
    return Refused(400, "BadRequest", message)


def forbidden(resource: ResourceType, name: str, why: str) -> Refused:
    message = f'{qualified(resource)} "{name}" is forbidden: {why}'
    return Refused(403, "Forbidden", message, **_about(resource, name))


def expired() -> Refused:
    return Refused(410, "Expired", "too old resource version")
