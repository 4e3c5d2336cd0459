"""The object store, by URI, through fsspec: the only module here that opens a connection to it.

URIs are `s3://bucket/key`, `file:///path` or a plain path; other fsspec protocols work where their driver is installed.
Credentials come from `AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_ENDPOINT_URL AWS_REGION`, each
with an optional prefix (`SOURCE_`): when no variable with the prefix is set, the variables without it are used.

Every failure is a `StoreError`:

    StoreError
     +-- StoreUnavailable   no answer, or an answer that says "later", after bounded retries
     +-- StoreDenied        credentials are absent, wrong or not sufficient
     +-- StoreMissing       no such object or bucket
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any, TypeVar

import fsspec

CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 60
PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0)
"""Between attempts: a store that restarts is waited for, one that is gone is reported."""

T = TypeVar("T")

_DENIED = (
    "AccessDenied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "Unauthorized",
    "Forbidden",
    "ExpiredToken",
    "XAdminUserNotFound",
)
_MISSING = ("NoSuchKey", "NoSuchBucket", "Not Found", "404")


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


@contextlib.contextmanager
def open(uri: str, mode: str = "rb", *, prefix: str = "") -> Iterator[IO[Any]]:  # noqa: A001 - read as store.open
    """Open the object as a file; what is written is visible once the block ends. Raises StoreError."""
    with _failures_named(uri):
        filesystem, path = _filesystem(uri, prefix)
        with filesystem.open(path, mode) as file:
            yield file


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
    except FileNotFoundError as error:
        raise _missing(uri, error) from error
    except PermissionError as error:
        raise StoreDenied(f"the store refused access to {uri}: {_first_line(error)}") from error
    except (OSError, ImportError, ValueError) as error:
        raise _named(uri, error) from error
    except Exception as error:
        # botocore's and aiohttp's exceptions share no base class; anything else is a defect and passes through.
        if type(error).__module__.split(".")[0] not in ("botocore", "aiobotocore", "aiohttp", "urllib3"):
            raise
        raise _named(uri, error) from error


def _named(uri: str, error: Exception) -> StoreError:
    text = f"{type(error).__name__} {error}"
    if "NoCredentials" in text or "PartialCredentials" in text:
        return StoreDenied(f"no credentials for {uri}: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set")
    if any(word in text for word in _DENIED):
        return StoreDenied(f"the store refused access to {uri}: {_first_line(error)}")
    if any(word in text for word in _MISSING):
        return _missing(uri, error)
    return StoreUnavailable(f"the store did not serve {uri}: {_first_line(error)}")


def _missing(uri: str, error: Exception) -> StoreMissing:
    bucket = "NoSuchBucket" in f"{error} {error.__cause__}"
    return StoreMissing(f"the bucket of {uri} does not exist" if bucket else f"{uri} does not exist in the store")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
