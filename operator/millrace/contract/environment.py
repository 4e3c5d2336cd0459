"""Names of the variables and paths a pod is given, and the tasks written into them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from millrace.contract.dataset import DatasetSpec
from millrace.contract.record import MalformedRecord, Record
from millrace.contract.training import TrainingSpec

SPEC = "MILLRACE_SPEC"
"""A task as JSON, SnapshotTask or TrainingTask, of a container started by hand; else see `millrace.contract.task`."""

LOG_LEVEL = "MILLRACE_LOG_LEVEL"
"""DEBUG, INFO, WARNING or ERROR, in any case: what every container of ours writes to its log."""

SOURCE_PREFIX = "SOURCE_"
"""Prefix of the AWS_* variables that open a Dataset's source, when it has a Secret of its own."""

TERMINATION_LOG = "/dev/termination-log"
TERMINATION_LOG_VARIABLE = "MILLRACE_TERMINATION_LOG"
"""Where a container writes its report; the variable moves it outside Kubernetes."""

WORK_DIR = "/work"
MODEL_DIR = "/models"
SERVER_PORT = 8080
SERVER_READY_PATH = "/v2/health/ready"
SERVER_GRACE_SECONDS = 60
"""How long a server that was told to stop may live on: terminationGracePeriodSeconds of its pod."""
GRACEFUL_SECONDS = 10
"""The end of that, for requests that are under way."""
DRAIN_SECONDS = float(SERVER_GRACE_SECONDS - GRACEFUL_SECONDS)

MODEL_FILE = "model.onnx"
GOLDEN_FILE = "golden.json"
PROFILE_FILE = "profile.json"

ROUTER_PORT = 8080
ROUTER_STATS_PORT = 9902
ROUTER_ADMIN_PORT = 9901
ROUTER_CONFIG_DIR = "/etc/millrace/router"

PROTECTIVE = {"ORT_DISABLE_TELEMETRY": "1"}
"""Set in every container that may import onnxruntime, which otherwise reports telemetry."""


@dataclass(frozen=True)
class ServerEnvironment:
    """What the server's init container and main container are told; `to_env` and `from_env` are inverse."""

    model_name: str
    """Name in the protocol's URLs: spec.modelName of the Model."""
    model_version: str
    model: str
    """Name of the Model object; label `model` of every series."""
    revision: str
    deployment: str
    digest: str
    """`sha256-<hex>` or `sha256:<hex>`: full or leading 16 digits or more."""
    model_uri: str
    golden_uri: str
    profile_uri: str
    model_dir: str = MODEL_DIR
    host: str = "0.0.0.0"  # noqa: S104 - the pod's own network namespace
    port: int = SERVER_PORT
    drain_seconds: float = DRAIN_SECONDS
    """How long requests are still answered after SIGTERM, at most: less once another server has taken over."""
    peers: str = ""
    """Names under which the servers of this revision are found, separated by commas; without any none is waited for."""
    max_body_bytes: int = 16 * 1024 * 1024
    max_requests: int = 256
    """So many requests with a body are under way at a time; further ones are answered 503."""
    max_bytes: int = 64 * 1024 * 1024
    """The same for the bytes of their bodies; one request is always taken."""
    log_level: str = "info"

    def to_env(self) -> dict[str, str]:
        """Variables for a container, defaults left out."""
        defaults = {field.name: field.default for field in fields(self)}
        return {
            _SERVER_VARIABLES[name]: _number(value) if isinstance(value, float) else str(value)
            for name, value in vars(self).items()
            if value != defaults[name]
        }

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Raises MalformedRecord naming the variable."""
        values: dict[str, Any] = {}
        for field in fields(cls):
            variable = _SERVER_VARIABLES[field.name]
            if variable not in environ:
                if field.name in _REQUIRED:
                    raise MalformedRecord(f"{variable}: required, but not set")
                continue
            convert = {"int": int, "float": float}.get(str(field.type), str)
            try:
                values[field.name] = convert(environ[variable])
            except ValueError as error:
                raise MalformedRecord(f"{variable}: {environ[variable]!r} is not a number") from error
        return cls(**values)


def _number(value: float) -> str:
    return f"{value:g}"


_SERVER_VARIABLES = {
    "model_name": "MILLRACE_MODEL_NAME",
    "model_version": "MILLRACE_MODEL_VERSION",
    "model": "MILLRACE_MODEL",
    "revision": "MILLRACE_REVISION",
    "deployment": "MILLRACE_DEPLOYMENT",
    "digest": "MILLRACE_DIGEST",
    "model_uri": "MILLRACE_MODEL_URI",
    "golden_uri": "MILLRACE_GOLDEN_URI",
    "profile_uri": "MILLRACE_PROFILE_URI",
    "model_dir": "MILLRACE_MODEL_DIR",
    "host": "MILLRACE_HOST",
    "port": "MILLRACE_PORT",
    "drain_seconds": "MILLRACE_DRAIN_SECONDS",
    "peers": "MILLRACE_PEERS",
    "max_body_bytes": "MILLRACE_MAX_BODY_BYTES",
    "max_requests": "MILLRACE_MAX_REQUESTS",
    "max_bytes": "MILLRACE_MAX_BYTES",
    "log_level": LOG_LEVEL,
}
_REQUIRED = frozenset(name for name in list(_SERVER_VARIABLES)[:9])


@dataclass(frozen=True)
class PreviousSnapshot(Record):
    """The version a new snapshot is compared with; its rows keep their split."""

    uri: str
    digest: str
    source_digest: str


class FlatRecord(Record):
    """A record whose field `spec` is a record too, with the keys of both in one object: it reads like the object of
    ours that the spec is of.
    """

    def to_dict(self) -> dict[str, Any]:
        """The spec's keys first."""
        own = super().to_dict()
        return {**own.pop("spec"), **own}

    @classmethod
    def from_dict(cls, data: object, path: str = "") -> Self:
        """Raises MalformedRecord."""
        if not isinstance(data, Mapping):
            raise MalformedRecord(f"{path or cls.__name__}: expected an object")
        return super().from_dict({**data, "spec": data}, path)


@dataclass(frozen=True)
class SnapshotTask(FlatRecord):
    """The Dataset's spec with, beside its own keys, `namespace`, `name`, `storeUri` and `previous`."""

    namespace: str
    name: str
    store_uri: str
    spec: DatasetSpec
    previous: PreviousSnapshot | None = None


@dataclass(frozen=True)
class DatasetVersion(Record):
    """One frozen snapshot: a folder with train, validation and test Parquet files, manifest.json,
    profile.json and report.json.
    """

    name: str
    version: int
    digest: str
    uri: str


@dataclass(frozen=True)
class Champion(Record):
    """The model a candidate is measured against."""

    name: str
    storage_uri: str
    digest: str


@dataclass(frozen=True)
class TrainingTask(FlatRecord):
    """What all three stages of a training run are told: the run's spec with, beside its own keys, the others here."""

    namespace: str
    run: str
    run_uid: str
    dataset: DatasetVersion
    spec: TrainingSpec
    store_uri: str
    champion: Champion | None = None
