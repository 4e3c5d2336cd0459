"""Brings the source's files to local disk, hashing them on the way."""

from __future__ import annotations

import functools
import hashlib
import pathlib
import re
import urllib.parse
from collections.abc import Mapping
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
_TABLES = {
    "Delta Lake": re.compile(r"(^|/)_delta_log/"),
    "Hudi": re.compile(r"(^|/)\.hoodie/"),
    "Iceberg": re.compile(r"(^|/)metadata/[^/]+\.metadata\.json$"),
}
"""What other tools keep in a folder whose files hold rows that were deleted, or are there twice."""
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

    @functools.cached_property
    def partitions(self) -> dict[str, str | None]:
        """Columns that the folders tell: `month=2026-01/part-0.parquet`, as Hive and Spark write them.

        Raises StageError(SourceMalformed) for folders that tell two things, or nothing that is text.
        """
        told: dict[str, str | None] = {}
        for folder, spoken in zip((self.key or self.name).split("/")[:-1], self.name.split("/"), strict=False):
            key, is_pair, value = folder.partition("=")
            if not key or not is_pair:
                continue
            name = self._decoded(key, spoken)
            if name in told:
                raise self._refusal(f'names column "{name}" in two of its folders')
            told[name] = None if value in ("", _NO_PARTITION) else self._decoded(value, spoken)
        return told

    def _decoded(self, text: str, spoken: str) -> str:
        try:
            return urllib.parse.unquote(text, errors="strict")
        except UnicodeDecodeError as error:
            raise self._refusal(f'has a folder "{spoken}" that is not UTF-8') from error

    def _refusal(self, why: str) -> StageError:
        return StageError(Reason.SOURCE_MALFORMED, f"{self.name} {why}. Rename its folders.")


@dataclass(frozen=True)
class Found:
    """The files in name order, and why others that stand between them are not read."""

    files: tuple[File, ...]
    left_out: Mapping[str, str]


def fetch(source: Source, kind: Format, into: pathlib.Path, discretion: Discretion) -> Found:
    """Bring the files here. Raises StageError: SourceNotFound, SourceEmpty, StoreDenied, StoreUnavailable."""
    whose = f"Secret {source.secret_ref.name}" if source.secret_ref else "the store's Secret"
    try:
        found = store.list_files(source.storage_uri, prefix=SOURCE_PREFIX)
        uris, others = matching(found, source.storage_uri, kind)
        files = tuple(
            _download(uri, key, into / f"{i:06}", discretion) for i, (key, uri) in enumerate(sorted(uris.items()))
        )
    except store.StoreError as error:
        raise store_error(type(error)(discretion.place(str(error))), Reason.SOURCE_NOT_FOUND, whose) from error
    empty = [file.name for file in files if file.path.stat().st_size == 0]
    if empty:
        raise StageError(Reason.SOURCE_EMPTY, f"{empty[0]} in {source.storage_uri} has no bytes. Upload it again.")
    return Found(files, dict.fromkeys(map(discretion.place, others), f"no {SUFFIXES[kind][0]} file"))


def matching(found: list[str], root: str, kind: Format) -> tuple[dict[str, str], list[str]]:
    """Name -> URI of the files to read, the one named, else those under the prefix with the format's suffix; others.

    Names and folders that start with `_` or `.` are other tools' own (`_SUCCESS`, `_temporary/`), never data: they are
    in neither. Raises StageError.
    """
    if len(found) == 1 and not root.endswith("/") and _tail(found[0]) == _tail(root):
        return {_tail(root): found[0]}, []
    stem = "/".join(root.rstrip("/").split("/")[3:])
    chosen, others = {}, []
    for uri in found:
        name = uri.split(stem + "/", 1)[-1] if stem else uri.split("://", 1)[-1]
        kind_of_table = next((each for each, mark in _TABLES.items() if mark.search(name)), None)
        if kind_of_table is not None:
            text = f"{root} is a table of {kind_of_table}: its files also hold rows that are no longer in it"
            raise StageError(Reason.SOURCE_MALFORMED, f"{text}. Write its rows to plain Parquet files.")
        if any(part.startswith(("_", ".")) and "=" not in part for part in name.split("/")):
            continue
        if name.lower().endswith(SUFFIXES[kind]):
            chosen[name] = uri
        else:
            others.append(name)
    if not chosen:
        beside = f"{len(found)} other file(s) are there, such as {_tail(found[0])}"
        raise StageError(
            Reason.SOURCE_NOT_FOUND, f"No {SUFFIXES[kind][0]} file under {root}; {beside}. Check format and storageUri."
        )
    return chosen, others


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
