"""manifest.json: what a version consists of. Its digest is the version's identity and is checked by every reader."""

from __future__ import annotations

import hashlib
import json
import pathlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from millrace.contract import places
from millrace.contract.dataset import Field, Role, Split
from millrace.contract.reasons import Reason
from millrace.contract.record import MalformedRecord, Record
from millrace_runtime import store
from millrace_runtime.outcome import StageError, store_error

FILE = "manifest.json"
_CHUNK_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class Identity(Record):
    """Columns that tell a row from others. Where the `ids` of a row are all missing, its other columns count."""

    ids: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    salts: tuple[str, ...] = ()
    """What `ids` were called when they were first used: an Id column may be given another name."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that keys are made of."""
        return tuple(dict.fromkeys((*self.ids, *self.groups, *self.features)))


@dataclass(frozen=True)
class Ancestor(Record):
    """An earlier version."""

    uri: str
    digest: str


@dataclass(frozen=True)
class Part(Record):
    """One Parquet file of the version."""

    digest: str
    rows: int
    bytes: int


@dataclass(frozen=True)
class Manifest(Record):
    """`files` maps train, validation and test; `identity` names the columns that make a row the same row."""

    files: Mapping[str, Part]
    fields: tuple[Field, ...]
    split: Split
    identity: tuple[str, ...]
    content_digest: str
    """Over the fields and every row's content and part, whatever wrote the files."""
    source_digest: str
    spec_digest: str
    """Over everything else that decides what is frozen."""
    eras: tuple[Identity, ...] = ()
    """How rows are told apart, then how they were. Empty: an older operator divided rows, equal ones apart."""
    memory: Mapping[str, str] = field(default_factory=dict)
    """File name to digest of what `history` keeps."""
    departed: int = 0
    """Units of the memory that no row belongs to any more: the last of its file."""
    by_features: bool = True
    """Whether a unit of the memory has neither an Id nor a group."""
    erased: tuple[str, ...] = ()
    """Digests of the Ids whose rows were left out, sorted; `erased_by` is the column that they are of."""
    erased_by: str = ""
    lineage: tuple[Ancestor, ...] = ()
    """Versions before whose rows are not all in the memory under the present identity, the oldest first."""

    @property
    def digest(self) -> str:
        """The version's digest: over the files' digests, the schema and the split."""
        return of(
            {
                "files": {name: part.digest for name, part in self.files.items()},
                "schema": [field.to_dict() for field in self.fields],
                "split": self.split.to_dict(),
            }
        )

    @property
    def rows(self) -> int:
        """Rows of all parts."""
        return sum(part.rows for part in self.files.values())

    @property
    def bytes(self) -> int:
        """Bytes of all parts."""
        return sum(part.bytes for part in self.files.values())

    def names(self, *roles: Role) -> tuple[str, ...]:
        """Names of the fields with one of the roles, in schema order."""
        return tuple(field.name for field in self.fields if field.role in roles)


def of(value: Any) -> str:
    """`sha256:<hex>` of the value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def of_bytes(data: bytes) -> str:
    """`sha256:<hex>` of the bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def schema_digest(fields: Iterable[Field]) -> str:
    """`sha256:<hex>` of the fields."""
    return of([field.to_dict() for field in fields])


def location(store_uri: str, namespace: str, name: str, digest: str) -> str:
    """The folder of a version, with a trailing slash."""
    return places.version(store_uri, namespace, name, digest)


def join(folder: str, name: str) -> str:
    """The URI of a file in a folder."""
    return f"{folder.rstrip('/')}/{name}"


def load(folder: str, digest: str, missing: Reason = Reason.STORE_UNAVAILABLE) -> Manifest:
    """Read a version's manifest and check that it is the one meant. Raises StageError."""
    data = read(join(folder, FILE), missing)
    try:
        manifest = Manifest.from_json(data)
    except MalformedRecord as error:
        raise StageError(Reason.DIGEST_MISMATCH, f"{join(folder, FILE)} is damaged: {error}. Restore it.") from error
    if manifest.digest != digest:
        wrong = f"{join(folder, FILE)} is not the version with digest {digest}, but {manifest.digest}"
        raise StageError(Reason.DIGEST_MISMATCH, f"{wrong}. Restore it from a backup, or freeze the Dataset anew.")
    return manifest


def read(uri: str, missing: Reason = Reason.STORE_UNAVAILABLE) -> bytes:
    """Read one object of the store. Raises StageError; an object that is gone is never retried."""
    try:
        return store.read_bytes(uri)
    except store.StoreError as error:
        raise store_error(error, missing, "the store's Secret") from error


def download(uri: str, path: pathlib.Path, missing: Reason = Reason.STORE_UNAVAILABLE) -> str:
    """Bring one object of the store to this disk, a few megabytes at a time. Returns its digest. Raises StageError."""
    for pause in (*store.PAUSES_SECONDS, None):
        try:
            return _downloaded(uri, path)
        except store.StoreError as error:
            if pause is None or not isinstance(error, store.StoreUnavailable):
                raise store_error(error, missing, "the store's Secret") from error
            time.sleep(pause)
    raise AssertionError


def _downloaded(uri: str, path: pathlib.Path) -> str:
    total = hashlib.sha256()
    with store.open(uri) as remote, path.open("wb") as local:
        while data := remote.read(_CHUNK_BYTES):
            total.update(data)
            local.write(data)
    return f"sha256:{total.hexdigest()}"


def download_part(folder: str, name: str, part: Part, path: pathlib.Path) -> None:
    """Bring one of the version's Parquet files to this disk and check its bytes. Raises StageError."""
    uri = join(folder, f"{name}.parquet")
    if download(uri, path, Reason.SOURCE_NOT_FOUND) != part.digest:
        raise _changed(uri)


def _changed(uri: str) -> StageError:
    return StageError(Reason.DIGEST_MISMATCH, f"{uri} was changed after it was frozen. Restore it from a backup.")
