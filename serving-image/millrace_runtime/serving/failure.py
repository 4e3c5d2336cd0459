"""Two kinds of failure: of one request, which the caller is told, and of the server, which its Deployment is told."""

from __future__ import annotations

from millrace.contract.reasons import Reason


class RequestFailed(Exception):
    """This request cannot be answered with a prediction: `status` and one sentence for the caller."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class ServerFailed(Exception):
    """The server cannot take traffic, and trying again with the same files would not help."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
