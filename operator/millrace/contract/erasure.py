r"""Ids that are to be forgotten, as digests: many may read their list, and to those without the key it says nothing.

    digest = key id "-" HMAC-SHA-256(key, "millrace.dev/erasure\0" + canonical Id)      hexadecimal
    key id = the first 8 digits of HMAC-SHA-256(key, "millrace.dev/erasure-key")

An unkeyed hash of a customer's number is no secret: all numbers are tried in a second. Whoever has the key makes the
digests; the pod that reads a source has it too. Every digest names its key, so that one made with another key is known
for what it is, instead of matching nobody.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from millrace.contract.record import Record

KEY_PREFIX = "ERASURE_"
"""Prefix of the variables that hold the values of the Secret of spec.erasure.keyRef, each of them a key."""
LEAST_KEY_BYTES = 16
PATTERN = r"[0-9a-f]{8}-[0-9a-f]{64}"
"""Of a digest."""
SHORT_DIGITS = 25
"""A digest in a report: its key id, and enough of the rest to tell it from thousands of others."""
CLEAR_DIGITS = 8
"""Of the name of a version's folder, in the list of those without these Ids."""
MOST_HELD, MOST_VERSIONS, MOST_CLEAR = 20, 32, 60
"""So much is told in a report; the account has all of it."""
_DIGEST, _KEY = b"millrace.dev/erasure\0", b"millrace.dev/erasure-key"
_WHOLE = re.compile(r"([+-]?)0*([0-9]+?)(\.0*)?")


def canonical(text: str) -> str:
    """An Id as it is compared: without blanks around it, composed (NFC), `007`, `+7` and `7.0` as `7`.

    A row keeps its part by the same rule, whatever type a later source gives the column.
    """
    plain = text.strip() if text.isascii() else unicodedata.normalize("NFC", text.strip())
    whole = _WHOLE.fullmatch(plain)
    if whole is None:
        return plain
    return whole[2] if whole[1] != "-" or whole[2] == "0" else f"-{whole[2]}"


def key_of(text: str) -> bytes:
    """The key that a variable or a file holds: without white space around it, such as the end of a line."""
    return text.strip().encode("utf-8", "surrogateescape")


def key_id(key: bytes) -> str:
    """How digests name the key."""
    return hmac.digest(key, _KEY, "sha256").hex()[:8]


def digest(key: bytes, text: str) -> str:
    """The digest of an Id."""
    return f"{key_id(key)}-{code(key, canonical(text)).hex()}"


def code(key: bytes, plain: str) -> bytes:
    """What a digest says behind the name of its key, of an Id that is canonical already: 32 bytes."""
    return hmac.digest(key, _DIGEST + plain.encode(), "sha256")


def of_list(field: str, digests: Iterable[str]) -> str:
    """`sha256:<hex>` of what is left out: the column and the digests, in no order."""
    text = json.dumps([field, sorted(digests)], separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


@dataclass(frozen=True)
class HeldId(Record):
    """An Id whose rows some version has: `trained` and `tested` are places in `ErasureReport.versions`.

    `id` is the beginning of its digest. Models learnt from the rows of `trained`, and were measured on those of
    `tested`.
    """

    id: str
    trained: tuple[int, ...] = ()
    tested: tuple[int, ...] = ()


@dataclass(frozen=True)
class ErasureReport(Record):
    """What a look found of the Ids that are to be forgotten."""

    list_digest: str
    """`of_list` of those that this is about."""
    ids: int = 0
    rows: int | None = None
    """Rows of the source that were left out; None where it was not read to its end."""
    held_ids: int = 0
    """How many of the Ids are in some version that is there."""
    versions: tuple[str, ...] = ()
    """Versions that have some, by the name of their folders: `sha256-` and 16 digits."""
    trained: tuple[int, ...] = ()
    """Places in `versions` of those whose models learnt from such rows."""
    gone: tuple[int, ...] = ()
    """Places in `versions` of those whose files are there no more: their models may be."""
    clear: tuple[str, ...] = ()
    """First digits of versions that have none, so that of a Model it can be told that it never saw any."""
    held: tuple[HeldId, ...] = ()
    """The first of the Ids."""
    unread_versions: int = 0
    """Versions that are damaged, or without an Id, so that nobody can say whom they hold."""
    account_uri: str = ""


@dataclass(frozen=True)
class HeldRows(Record):
    """How many rows of one Id each part of a version has."""

    train: int = 0
    validation: int = 0
    test: int = 0


@dataclass(frozen=True)
class Account(Record):
    """All that a report is made of: `erasures/<list digest>.json` beside the versions, for whoever has to prove it.

    `versions` maps the folder of every version to the Ids that it has or had, by digest; it keeps what it says of one
    whose files are `gone`, as models of it may be there.
    """

    list_digest: str
    references: Mapping[str, str]
    """Digest to what `spec.erasure.ids` says of it."""
    versions: Mapping[str, Mapping[str, HeldRows]]
    gone: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    unchanged: str = ""
    """Of the last reading of a source that gave no other version without these Ids: it need not be read again."""
