"""Ids whose rows no later version of a Dataset has: what is asked for, and who still holds them."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from .base import ATOMIC, Rule, Shape
from .quantities import Count, Digest, DnsName, FieldName, Uri
from .refs import SecretRef

MOST_IDS = 2_048
"""An object of Kubernetes holds so many, and what a server keeps of who wrote each."""
IdDigest = Annotated[str, Field(pattern=r"^[0-9a-f]{8}-[0-9a-f]{64}$", max_length=73)]
Folder = Annotated[str, Field(pattern=r"^sha256-[0-9a-f]{16}$", max_length=23)]
Models = Annotated[tuple[DnsName, ...], Field(max_length=32), ATOMIC]


class Erasure(Shape):
    """Deletion requests: Ids whose rows are left out of every later version, though the source may still have them.

    The Ids themselves stand nowhere in the cluster. An entry that is there stays: who is to be forgotten must not come
    back with an older manifest.
    """

    RULES: ClassVar = (
        Rule(
            rule="self.ids.all(id, id.size() == 73 && id.matches('^[0-9a-f]{8}-[0-9a-f]{64}$'))",
            message="a key of ids is the digest of an Id, never the Id: `millrace erasure` makes it",
            field=".ids",
        ),
        Rule(
            rule="oldSelf.ids.all(id, id in self.ids)",
            message="an Id that is to be forgotten stays so: put back the entries of ids that are missing",
            field=".ids",
        ),
    )
    field: FieldName
    """The column that says whose a row is: of role Id, and type String, Category or Int64."""
    key_ref: SecretRef
    """The Secret with the key that digests are made with: 16 bytes or more under any name, or several such keys.

    Without it nobody can tell whose a digest is, nor make one. It must not be lost: with another key the Ids would come
    back, so nothing is frozen then.
    """
    ids: Annotated[dict[str, Annotated[str, Field(max_length=128)]], Field(max_length=MOST_IDS)] = Field(
        default_factory=dict
    )
    """Digest of each Id to why it is to be forgotten, such as the number of the request. No Id may stand there."""


class HeldVersion(Shape):
    """A version that has, or had, rows of Ids that are to be forgotten."""

    folder: Folder
    """The beginning of its digest, and the name of its folder."""
    version: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """Its number, as far as status.versions goes."""
    trained: bool
    """Whether its models learnt from such rows; else they were only measured on them."""
    gone: bool
    """Whether its files are there no more. Models of it may be."""


class HeldId(Shape):
    """An Id that is to be forgotten, and who has rows of it."""

    id: IdDigest
    """Its digest."""
    versions: Annotated[tuple[Folder, ...], Field(max_length=32), ATOMIC] = ()
    """The versions, by folder."""
    models: Models = ()
    """The Models that learnt from them."""


class ErasureStatus(Shape):
    """Who still holds Ids that are to be forgotten. Nothing is deleted by this: it says what is there to delete."""

    list_digest: Digest
    """Of the column and the Ids that this is about."""
    carried_out: Digest | None = None
    """The newest list that the current version is without. Until it is that of the spec, no run starts."""
    ids: Count = 0
    """How many Ids are left out."""
    rows: Count = 0
    """Rows of the source that were left out when it was last read to the end."""
    held_ids: Count = 0
    """How many of the Ids are in a version that is there."""
    versions: Annotated[tuple[HeldVersion, ...], Field(max_length=32), ATOMIC] = ()
    """The versions that have, or had, some of them, by folder; the first 32."""
    models: Models = ()
    """The Models that learnt from rows of theirs; the first 32."""
    unknown_models: Models = ()
    """Models of whose version nobody can say whom it held; the first 32."""
    held: Annotated[tuple[HeldId, ...], Field(max_length=20), ATOMIC] = ()
    """The Ids one by one; the first of them. The file at accountUri has all."""
    clear: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{8}$", max_length=8)], ...], Field(max_length=60), ATOMIC
    ] = ()
    """First digits of versions that never had any: Models of these are without them."""
    unread_versions: Count = 0
    """Versions of which nobody can say whom they hold: damaged, or without a column of role Id."""
    account_uri: Uri | None = None
    """Where the whole answer is: which parts of which version hold how many rows of which Id."""
