"""Which versions still hold Ids that are to be forgotten: every version in the store is looked through, once.

A version is never written again, so what was found of one holds for good. It stands in `erasures/<list>.json` beside
the versions, which is made anew from them whenever it is not there, and is for people too: the whole answer, of which a
report has the first lines. A version that was frozen without these Ids is not looked through.
"""

from __future__ import annotations

import collections
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from millrace.contract import erasure, places
from millrace.contract.dataset import Role
from millrace.contract.environment import SnapshotTask
from millrace.contract.erasure import Account, ErasureReport, HeldId, HeldRows
from millrace.contract.reasons import Reason
from millrace.contract.record import MalformedRecord
from millrace_runtime import store
from millrace_runtime.outcome import StageError, say, store_error
from millrace_runtime.snapshot import erasing, manifest
from millrace_runtime.snapshot.erasing import NOBODY, Wanted
from millrace_runtime.snapshot.manifest import Manifest

Table = Any
_BATCH_ROWS = 65_536


Telling = list[tuple[Table, str]]
"""Rows of a version, as far as they tell whose they are, and the column that does."""


@dataclass
class Holding:
    """What was found: the account, and where it and the versions are."""

    account: Account
    uri: str
    wanted: Wanted
    scratch: pathlib.Path
    versions: Mapping[str, tuple[str, Manifest]]
    """Folder and manifest of those that may hold some, by what the account calls them."""
    telling: dict[str, Telling] = field(default_factory=dict)
    """Of versions that were looked through just now."""

    def report(self, rows: int | None) -> ErasureReport:
        """What there is room for; `rows` were left out of the source, if it was read to its end."""
        account = self.account
        holders = {name: ids for name, ids in sorted(account.versions.items()) if ids}
        told = tuple(holders)[: erasure.MOST_VERSIONS]
        held = sorted({digest for ids in holders.values() for digest in ids})
        clear = [name.partition("-")[2][: erasure.CLEAR_DIGITS] for name, ids in account.versions.items() if not ids]
        return ErasureReport(
            list_digest=account.list_digest,
            ids=len(account.references),
            rows=rows,
            held_ids=len({digest for name, ids in holders.items() if name not in account.gone for digest in ids}),
            versions=told,
            trained=tuple(at for at, name in enumerate(told) if any(map(_is_trained, holders[name].values()))),
            gone=tuple(at for at, name in enumerate(told) if name in account.gone),
            clear=tuple(sorted(clear)[: erasure.MOST_CLEAR]),
            held=tuple(_held(digest, [holders[one] for one in told]) for digest in held[: erasure.MOST_HELD]),
            unread_versions=len(account.unread),
            account_uri=self.uri,
        )

    def rows(self, past: Manifest | None) -> Telling:
        """Rows of these Ids in all versions, where `past`, which the next version remembers, may remember some."""
        if past is None or is_without(past, self.wanted):
            return []
        found: Telling = []
        for name, (folder, made) in self.versions.items():
            if self.account.versions.get(name) and name not in self.telling:
                self.telling[name] = _looked_through(folder, made, self.wanted, self.scratch)[1]
            found += self.telling.get(name, [])
        return found

    def gives_nothing_new(self, reading: str) -> bool:
        """Whether this very reading was found to change nothing."""
        return self.account.unchanged == reading

    def gave_nothing_new(self, reading: str) -> None:
        """Remember so: the version that stays says nothing of these Ids, as it was frozen before. Raises StageError."""
        self.account = replace(self.account, unchanged=reading)
        _write(self.uri, self.account)


def look(task: SnapshotTask, wanted: Wanted, scratch: pathlib.Path) -> Holding:
    """Look through the versions of the Dataset, and write the account. Raises StageError."""
    whose = (task.store_uri, task.namespace, task.name)
    uri = places.erasure(*whose, wanted.list_digest)
    known = _account(uri, wanted)
    before = known.versions if known is not None else {}
    holding = Holding(known or Account(wanted.list_digest, {}, {}), uri, wanted, scratch, {})
    found: dict[str, Mapping[str, HeldRows]] = {}
    versions: dict[str, tuple[str, Manifest]] = {}
    unread: list[str] = []
    for folder in _folders(places.versions(*whose)):
        try:
            made = _manifest(folder)
            name = places.short(made.digest)
            if is_without(made, wanted):
                found[name] = {}
                continue
            versions[name] = folder, made
            if name in before:
                found[name] = before[name]
            else:
                found[name], holding.telling[name] = _looked_through(folder, made, wanted, scratch)
        except StageError as error:
            if error.retry or error.reason == Reason.STORE_DENIED:
                raise
            say(f"{error.message} Whether it holds an Id that is to be forgotten cannot be told.")
            unread.append(folder.rpartition("/")[2])
    holding.versions = versions
    holding.account = replace(
        holding.account,
        references=wanted.references,
        versions={**before, **found},
        gone=tuple(sorted(set(before) - set(found))),
        unread=tuple(sorted(unread)),
    )
    if holding.account != known:
        _write(uri, holding.account)
    return holding


def is_without(made: Manifest, wanted: Wanted) -> bool:
    """Whether the version was frozen without all of these Ids."""
    return made.erased_by == wanted.field and set(wanted.digests) <= set(made.erased)


def _held(digest: str, holders: Sequence[Mapping[str, HeldRows]]) -> HeldId:
    found = [(place, ids[digest]) for place, ids in enumerate(holders) if digest in ids]
    return HeldId(
        id=digest[: erasure.SHORT_DIGITS],
        trained=tuple(place for place, rows in found if _is_trained(rows)),
        tested=tuple(place for place, rows in found if not _is_trained(rows)),
    )


def _is_trained(rows: HeldRows) -> bool:
    return bool(rows.train or rows.validation)


def _folders(home: str) -> Iterator[str]:
    """URIs of the folders that a version was finished in."""
    try:
        files = store.list_files(home)
    except store.StoreMissing:
        return
    except store.StoreError as error:
        raise store_error(error, Reason.STORE_UNAVAILABLE, "the store's Secret") from error
    for uri in files:
        folder, _, file = uri.rpartition("/")
        if file == manifest.FILE:
            yield folder


def _manifest(folder: str) -> Manifest:
    uri = manifest.join(folder, manifest.FILE)
    try:
        return Manifest.from_json(manifest.read(uri, Reason.SOURCE_NOT_FOUND))
    except MalformedRecord as error:
        raise StageError(Reason.DIGEST_MISMATCH, f"{uri} is damaged.") from error


def _looked_through(
    folder: str, made: Manifest, wanted: Wanted, scratch: pathlib.Path
) -> tuple[Mapping[str, HeldRows], Telling]:
    """Rows of each Id in the parts of a version, and what tells whose they are."""
    columns = _columns(made, wanted)
    if not columns:
        raise StageError(Reason.SOURCE_NOT_FOUND, f"{folder} has no column of role Id.")
    counted: dict[str, collections.Counter[str]] = {}
    telling: Telling = []
    names = sorted({*erasing.naming(made.fields, made.split.group_by or ()), *columns})
    for part, file in made.files.items():
        path = scratch / f"{part}.held.parquet"
        manifest.download_part(folder, part, file, path)
        with pyarrow.parquet.ParquetFile(path, pre_buffer=False) as held:
            for batch in held.iter_batches(_BATCH_ROWS, columns=names):
                table = pa.Table.from_batches([batch])
                for column in columns:
                    found = wanted.find(table[column])
                    if (found != NOBODY).any():
                        telling.append((erasing.distinct(table.filter(pa.array(found != NOBODY)), names), column))
                        for place, rows in zip(*np.unique(found[found != NOBODY], return_counts=True), strict=True):
                            counts = counted.setdefault(wanted.digests[int(place)], collections.Counter())
                            counts[part] += int(rows)
        path.unlink()
    say(f"looked through {made.rows} rows of {folder}: {len(counted)} of {len(wanted.digests)} Ids are in it")
    return {digest: HeldRows(**counts) for digest, counts in sorted(counted.items())}, telling


def _columns(made: Manifest, wanted: Wanted) -> tuple[str, ...]:
    """The column in this version; where it had another name then, or another role, every Id that it has."""
    return (wanted.field,) if wanted.field in {one.name for one in made.fields} else made.names(Role.ID)


def _account(uri: str, wanted: Wanted) -> Account | None:
    """What was found before, if anything was for this list."""
    try:
        found = Account.from_json(store.read_bytes(uri))
    except (store.StoreMissing, MalformedRecord):
        return None
    except store.StoreError as error:
        raise store_error(error, Reason.STORE_UNAVAILABLE, "the store's Secret") from error
    return found if found.list_digest == wanted.list_digest else None


def _write(uri: str, found: Account) -> None:
    try:
        store.write_bytes(uri, found.to_json().encode())
    except store.StoreMissing as error:
        raise StageError(Reason.STORE_UNAVAILABLE, f"{error}. Create the bucket.", retry=True) from error
    except store.StoreError as error:
        raise store_error(error, Reason.STORE_UNAVAILABLE, "the store's Secret") from error
