"""Every exception Millrace raises, in one tree.

Expected trouble inside a decision is a value (a condition). Exceptions are for input and output::

    MillraceError
    ├── SettingsError            the environment of the operator is wrong
    ├── CredentialsError         no usable kubeconfig or service account
    ├── NotLeader                a write was refused here, before it was sent
    ├── NameConflict             an object of the wanted name belongs to another owner
    ├── WritesFailed             some writes of a pass failed; the others were made
    └── ApiError                 the API server, or the way to it, said no
        ├── BadRequest 400 · Unauthorized 401 · Forbidden 403 · NotFound 404
        ├── AlreadyExists 409 · Conflict 409 · Gone 410 · Invalid 422
        └── Unavailable          429, 5xx, a broken connection or a time-out: worth another try
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class MillraceError(Exception):
    """The root of the tree."""


class SettingsError(MillraceError):
    """A setting is missing or has a value that cannot be used."""


class CredentialsError(MillraceError):
    """The API server's address or credentials cannot be found or read."""


class NotLeader(MillraceError):
    """A write was refused because this replica does not hold the lease (any more)."""


class NameConflict(MillraceError):
    """An object of the wanted name exists and is controlled by somebody else."""

    def __init__(self, kind: str, namespace: str, name: str, owner: str) -> None:
        super().__init__(f"{kind} {namespace}/{name} exists and belongs to {owner}")


class WritesFailed(MillraceError):
    """Some writes of a pass failed. What does not depend on them was written, the status included.

    ``wake_after`` is when the pass wanted to be made again anyway, in seconds.
    """

    def __init__(self, failed: Sequence[MillraceError], wake_after: float | None) -> None:
        super().__init__("; ".join(dict.fromkeys(str(one) for one in failed)))
        self.wake_after = wake_after


class ApiError(MillraceError):
    """The API server refused a request, or could not be asked."""

    def __init__(self, message: str, *, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class BadRequest(ApiError):
    """400: the request makes no sense to the API server."""


class Unauthorized(ApiError):
    """401: the token was not accepted."""


class Forbidden(ApiError):
    """403: RBAC, an admission policy or Pod Security refused the request."""


class NotFound(ApiError):
    """404: no such object, or no such kind."""


class AlreadyExists(ApiError):
    """409 on create: an object of that name is there."""


class Conflict(ApiError):
    """409, or 422 about ``metadata.uid``: the object changed since it was read, or it is another one by now."""


class Gone(ApiError):
    """410: the requested resource version is too old."""


class Invalid(ApiError):
    """422: the schema, a CEL rule or an immutable field refused the object; 500: an apply does not fit the schema."""


class Unavailable(ApiError):
    """429, 5xx, a broken connection or a time-out; the request may or may not have been executed."""


UNTYPED = "failed to create typed patch object"
"""How the API server answers an apply that does not fit the kind's schema, as an InternalError (kubernetes 1.36)."""
_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    410: Gone,
    422: Invalid,
    429: Unavailable,
}


def from_status(status: int, body: Mapping[str, Any] | None, retry_after: float | None = None) -> ApiError:
    """The exception for an HTTP answer whose ``status`` is 400 or more and whose ``body`` is a ``v1/Status``."""
    answer = body or {}
    reason = str(answer.get("reason") or "")
    message = str(answer.get("message") or f"the API server answered {status}")
    if status == 422 and _is_about_another_object(answer):
        kind: type[ApiError] = Conflict
    elif status == 500 and message.startswith(UNTYPED):
        kind = Invalid
    elif status == 409:
        kind = AlreadyExists if reason == "AlreadyExists" else Conflict
    else:
        kind = _BY_STATUS.get(status, Unavailable if status >= 500 else ApiError)
    return kind(message, status=status, retry_after=retry_after)


def _is_about_another_object(answer: Mapping[str, Any]) -> bool:
    """Whether a patch named the UID of an object whose name another one has by now: the API server says Invalid."""
    causes = (answer.get("details") or {}).get("causes") or ()
    return any(cause.get("field") == "metadata.uid" for cause in causes)
