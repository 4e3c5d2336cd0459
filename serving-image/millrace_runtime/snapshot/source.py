"""Brings the source's files to local disk, hashing them on the way."""

from __future__ import annotations

import hashlib
import pathlib
import urllib.parse
from dataclasses import dataclass

from millrace.contract.dataset import Format, Source
from millrace.contract.environment import SOURCE_PREFIX
from millrace.contract.reasons import Reason
from millrace_runtime import store
from millrace_runtime.discretion import Discretion
from millrace_runtime.outcome import StageError, store_error
from millrace_runtime.snapshot.ahead import ahead

CHUNK_BYTES = 8 * 1024 * 1024
_PACKED = ("", ".gz", ".bz2", ".xz", ".zst")
SUFFIXES = {
    Format.CSV: tuple(f"{kind}{packed}" for kind in (".csv", ".tsv") for packed in _PACKED),
    Format.PARQUET: (".parquet",),
}
_NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class File:
    """One file of the source: its local copy, and how it is called below the source's URI.

    `key` is all of its name; `name` is what may be said of it.
    """

    name: str
    path: pathlib.Path
    digest: str
    key: str = ""

    @property
    def partitions(self) -> dict[str, str | None]:
        """Columns that the folders tell: `month=2026-01/part-0.parquet`, as Hive and Spark write them."""
        pairs = [folder.split("=", 1) for folder in (self.key or self.name).split("/")[:-1] if "=" in folder.strip("=")]
        return {
            urllib.parse.unquote(key): None if value == _NO_PARTITION else urllib.parse.unquote(value)
            for key, value in pairs
            if key
        }


def fetch(source: Source, kind: Format, into: pathlib.Path, discretion: Discretion) -> tuple[File, ...]:
    """Return the files in name order. Raises StageError: SourceNotFound, SourceEmpty, StoreDenied, StoreUnavailable."""
    whose = f"Secret {source.secret_ref.name}" if source.secret_ref else "the store's Secret"
    try:
        uris = matching(store.list_files(source.storage_uri, prefix=SOURCE_PREFIX), source.storage_uri, kind)
        files = tuple(
            _download(uri, key, into / f"{i:06}", discretion) for i, (key, uri) in enumerate(sorted(uris.items()))
        )
    except store.StoreError as error:
        raise store_error(type(error)(discretion.place(str(error))), Reason.SOURCE_NOT_FOUND, whose) from error
    empty = [file.name for file in files if file.path.stat().st_size == 0]
    if empty:
        raise StageError(Reason.SOURCE_EMPTY, f"{empty[0]} in {source.storage_uri} has no bytes. Upload it again.")
    return files


def matching(found: list[str], root: str, kind: Format) -> dict[str, str]:
    """Name -> URI of the files to read: the one named, else those under the prefix with the format's suffix.

    Names that start with `_` or `.` are markers of other tools (`_SUCCESS`), never data. Raises StageError.
    """
    if len(found) == 1 and not root.endswith("/") and _tail(found[0]) == _tail(root):
        return {_tail(root): found[0]}
    stem = "/".join(root.rstrip("/").split("/")[3:])
    chosen = {}
    for uri in found:
        name = uri.split(stem + "/", 1)[-1] if stem else uri.split("://", 1)[-1]
        if name.lower().endswith(SUFFIXES[kind]) and not _tail(name).startswith(("_", ".")):
            chosen[name] = uri
    if not chosen:
        others = f"{len(found)} other file(s) are there, such as {_tail(found[0])}"
        raise StageError(
            Reason.SOURCE_NOT_FOUND, f"No {SUFFIXES[kind][0]} file under {root}; {others}. Check format and storageUri."
        )
    return chosen


def digest(files: tuple[File, ...]) -> str:
    """`sha256:<hex>` over the names and bytes of all files."""
    total = hashlib.sha256()
    for file in files:
        key = file.key or file.name
        total.update(f"{len(key.encode())}:{key}{file.digest}\n".encode())
    return f"sha256:{total.hexdigest()}"


def _download(uri: str, key: str, path: pathlib.Path, discretion: Discretion) -> File:
    content = hashlib.sha256()
    with store.open(uri, "rb", prefix=SOURCE_PREFIX) as remote, path.open("wb") as local:
        for chunk in ahead(iter(lambda: remote.read(CHUNK_BYTES), b"")):
            content.update(chunk)
            local.write(chunk)
    return File(discretion.place(key), path, content.hexdigest(), key)


def _tail(uri: str) -> str:
    return uri.rstrip("/").rsplit("/", 1)[-1]
