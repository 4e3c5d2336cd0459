"""The object store, by URI, through fsspec: the only module here that opens a connection to it.

URIs are `s3://bucket/key`, `file:///path` or a plain path; other fsspec protocols work where their driver is installed.
Credentials come from `AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_ENDPOINT_URL AWS_REGION`, each
with an optional prefix (`SOURCE_`): when no variable with the prefix is set, the variables without it are used.

Every failure of the store is a `StoreError`:

    StoreError
     +-- StoreUnavailable   no answer, or an answer that says "later", after bounded retries
     +-- StoreDenied        credentials are absent, wrong or not sufficient
     +-- StoreMissing       no such object or bucket

Which one is read from error codes, HTTP statuses, errno and types, never from a sentence: a name with `404` in it is a
name. A disk of ours that is full is no failure of the store and is raised as the OSError it is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any, TypeVar, cast

import fsspec

CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 60
PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0)
"""Between attempts: a store that restarts is waited for, one that is gone is reported."""

T = TypeVar("T")

_DENIED = frozenset(
    {
        "AccessDenied", "AccountProblem", "AllAccessDisabled", "ExpiredToken", "Forbidden",
        "InvalidAccessKeyId", "InvalidClientTokenId", "InvalidPayer", "InvalidSecurity", "InvalidToken",
        "NotSignedUp", "SignatureDoesNotMatch", "TokenRefreshRequired", "Unauthorized", "UnauthorizedAccess",
        "UnrecognizedClientException", "XAdminUserNotFound", "AuthenticationFailed", "AuthorizationFailure",
    }
)  # fmt: skip
_MISSING = frozenset(
    {
        "NoSuchKey", "NoSuchBucket", "NoSuchVersion", "NoSuchUpload", "NotFound", "BlobNotFound",
        "ContainerNotFound", "ResourceNotFound",
    }
)  # fmt: skip
_LATER = frozenset(
    {
        "BandwidthLimitExceeded", "IncompleteBody", "InternalError", "InternalServerError", "OperationAborted",
        "PriorRequestNotComplete", "ProvisionedThroughputExceededException", "RequestLimitExceeded",
        "RequestTimeout", "RequestTimeoutException", "RequestTimeTooSkewed", "RequestThrottled",
        "RequestThrottledException", "ServerBusy", "ServiceUnavailable", "SlowDown", "Throttling",
        "ThrottlingException", "ThrottledException", "TooManyRequestsException", "XMinioServerNotInitialized",
    }
)  # fmt: skip
"""Codes of S3 and its kin, looked at before the HTTP status: RequestTimeout comes as 400, RequestTimeTooSkewed, which
is a clock that is wrong, as 403."""
_NO_CREDENTIALS = frozenset({"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"})
_OURS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EROFS})
"""What the pod's own disk, or its own limits, say."""
_CLIENTS = frozenset(
    {
        "botocore", "aiobotocore", "aiohttp", "urllib3", "azure", "gcsfs", "google", "requests", "httpx", "ssl",
        "http", "asyncio",
    }
)  # fmt: skip
"""Whose exceptions share no base class; anything else is a defect and passes through."""


class StoreError(Exception):
    """The store did not do what was asked; the message names the URI and the reason, never a credential."""


class StoreUnavailable(StoreError):
    """The store did not answer, or answered with a server error, after bounded retries."""


class StoreDenied(StoreError):
    """The store refused the credentials, or there are none."""


class StoreMissing(StoreError):
    """There is no such object or bucket."""


@dataclass(frozen=True)
class Credentials:
    """S3 credentials; `None` leaves the choice to the SDK's own chain (workload identity)."""

    key: str | None = None
    secret: str | None = None
    token: str | None = None
    endpoint: str | None = None
    region: str | None = None

    def __repr__(self) -> str:
        return f"Credentials(endpoint={self.endpoint!r}, region={self.region!r})"

    @classmethod
    def from_environment(cls, prefix: str = "") -> Credentials:
        """Read `<prefix>AWS_*`; with a prefix of which no variable is set, read `AWS_*`."""
        if prefix and not any(name.startswith(f"{prefix}AWS_") for name in os.environ):
            prefix = ""

        def variable(name: str) -> str | None:
            return os.environ.get(prefix + name) or None

        return cls(
            key=variable("AWS_ACCESS_KEY_ID"),
            secret=variable("AWS_SECRET_ACCESS_KEY"),
            token=variable("AWS_SESSION_TOKEN"),
            endpoint=variable("AWS_ENDPOINT_URL"),
            region=variable("AWS_REGION"),
        )


def read_bytes(uri: str, *, prefix: str = "") -> bytes:
    """Return the whole object. Raises StoreError."""
    return _patiently(uri, prefix, lambda filesystem, path: bytes(filesystem.cat_file(path)))


def size(uri: str, *, prefix: str = "") -> int:
    """Return how many bytes the object has. Raises StoreError."""
    return _patiently(uri, prefix, lambda filesystem, path: int(filesystem.size(path) or 0))


def write_bytes(uri: str, data: bytes, *, prefix: str = "") -> None:
    """Write the whole object, replacing one that is there. Raises StoreError."""
    _patiently(uri, prefix, lambda filesystem, path: filesystem.pipe_file(path, data))


def list_files(uri: str, *, prefix: str = "") -> list[str]:
    """The URIs of all objects under `uri` (one object: itself), sorted. Raises StoreMissing when there is none."""

    def find(filesystem: Any, path: str) -> list[str]:
        found = sorted(filesystem.find(path))
        if not found:
            raise FileNotFoundError(path)
        return [filesystem.unstrip_protocol(name) for name in found]

    return _patiently(uri, prefix, find)


def sizes(uri: str, *, prefix: str = "") -> dict[str, int]:
    """The bytes of every object under `uri`, by its URI; nothing where there is none. Raises StoreError."""

    def find(filesystem: Any, path: str) -> dict[str, int]:
        found = filesystem.find(path, detail=True)
        return {filesystem.unstrip_protocol(name): int(about.get("size") or 0) for name, about in found.items()}

    try:
        return _patiently(uri, prefix, find)
    except StoreMissing:
        return {}


def erase(uri: str, *, prefix: str = "") -> None:
    """Erase one object. One that is not there is no failure. Raises StoreError."""
    with contextlib.suppress(StoreMissing):
        _patiently(uri, prefix, lambda filesystem, path: filesystem.rm_file(path))


@contextlib.contextmanager
def open(uri: str, mode: str = "rb", *, prefix: str = "") -> Iterator[IO[Any]]:  # noqa: A001 - read as store.open
    """Open the object as a file; what is written is visible once the block ends, and not if it fails.

    Raises StoreError for what the store does; what the block itself raises passes through.
    """
    with _failures_named(uri):
        filesystem, path = _filesystem(uri, prefix)
        file = filesystem.open(path, mode)
    try:
        yield cast("IO[Any]", _Named(file, uri))
    except BaseException:
        _abandon(file, written="w" in mode)
        raise
    with _failures_named(uri):
        file.close()


def _abandon(file: Any, *, written: bool) -> None:
    """Close it without making what was written so far an object."""
    with contextlib.suppress(Exception):
        if written:
            file.discard()
            file.closed = True
    with contextlib.suppress(Exception):
        file.close()


class _Named:
    """A file whose own failures are named, wherever they happen."""

    def __init__(self, file: Any, uri: str) -> None:
        self._file = file
        self._uri = uri

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._file, name)
        if not callable(found):
            return found

        def named(*arguments: Any, **options: Any) -> Any:
            with _failures_named(self._uri):
                return found(*arguments, **options)

        return named

    def __iter__(self) -> Iterator[Any]:
        while line := self.readline():
            yield line


def _patiently(uri: str, prefix: str, act: Callable[[Any, str], T]) -> T:
    """Do it, again after a pause where the store was unavailable; every act here may be repeated."""
    for pause in (*PAUSES_SECONDS, None):
        try:
            with _failures_named(uri):
                return act(*_filesystem(uri, prefix))
        except StoreUnavailable:
            if pause is None:
                raise
            time.sleep(pause)
    raise AssertionError


def _filesystem(uri: str, prefix: str) -> tuple[Any, str]:
    protocol = uri.split("://", 1)[0] if "://" in uri else "file"
    options = _s3_options(Credentials.from_environment(prefix)) if protocol in ("s3", "s3a") else {}
    if protocol == "file":
        options = {"auto_mkdir": True}
    filesystem, path = fsspec.url_to_fs(uri, **options)
    if hasattr(filesystem, "retries"):
        # The driver's own patience would multiply with ours and with the SDK's.
        filesystem.retries = 1
    return filesystem, path


def _s3_options(credentials: Credentials) -> dict[str, Any]:
    return {
        "key": credentials.key,
        "secret": credentials.secret,
        "token": credentials.token,
        "endpoint_url": credentials.endpoint,
        "client_kwargs": {"region_name": credentials.region or "us-east-1"},
        "use_listings_cache": False,
        "config_kwargs": {
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "read_timeout": READ_TIMEOUT_SECONDS,
            "retries": {"total_max_attempts": 2, "mode": "standard"},
            # A self-hosted store has no wildcard DNS name for its buckets.
            "s3": {"addressing_style": "path" if credentials.endpoint else "auto"},
        },
    }


@contextlib.contextmanager
def _failures_named(uri: str) -> Iterator[None]:
    try:
        yield
    except StoreError:
        raise
    except (OSError, ImportError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in _OURS and _answer(error) is None:
            raise
        raise _named(uri, error) from error
    except Exception as error:
        if type(error).__module__.split(".")[0] not in _CLIENTS:
            raise
        raise _named(uri, error) from error


def _named(uri: str, error: Exception) -> StoreError:
    if any(type(each).__name__ in _NO_CREDENTIALS for each in _chain(error)):
        return StoreDenied(f"no credentials for {uri}: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set")
    answer = _answer(error)
    kind, code = (_kind_of_answer(*answer), answer[0]) if answer is not None else (_kind_of_error(error), "")
    if kind is StoreDenied:
        return StoreDenied(f"the store refused access to {uri}: {_first_line(error)}")
    if kind is StoreMissing:
        is_bucket = code in ("NoSuchBucket", "ContainerNotFound")
        text = f"the bucket of {uri} does not exist" if is_bucket else f"{uri} does not exist in the store"
        return StoreMissing(text)
    return StoreUnavailable(f"the store did not serve {uri}: {_first_line(error)}")


def _kind_of_answer(code: str, status: int) -> type[StoreError]:
    if code in _LATER:
        return StoreUnavailable
    if code in _DENIED or (code not in _MISSING and status in (401, 403)):
        return StoreDenied
    return StoreMissing if code in _MISSING or status == 404 else StoreUnavailable


def _kind_of_error(error: Exception) -> type[StoreError]:
    if isinstance(error, PermissionError):
        return StoreDenied
    return (
        StoreMissing
        if isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError)
        else StoreUnavailable
    )


def _answer(error: BaseException) -> tuple[str, int] | None:
    """Error code and HTTP status of what the store answered; None when it did not, or this is no HTTP at all."""
    for each in _chain(error):
        response = getattr(each, "response", None)
        if isinstance(response, dict):  # botocore's ClientError
            status = _number(response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
            code = str(response.get("Error", {}).get("Code", ""))
            return code, status or _number(code)
        status = max(_number(getattr(each, name, None)) for name in ("status_code", "status", "code"))
        if status:
            return str(getattr(each, "error_code", "") or ""), status
    return None


def _number(value: object) -> int:
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) == 3 else 0


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was made of."""
    seen: BaseException | None = error
    for _ in range(8):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
