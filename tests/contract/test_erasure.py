"""Digests of Ids: the same for all who write an Id their own way, and for no other Id, key or list."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contract import erasure
from millrace.contract.quality import LeakageSuspect, Quality
from millrace.contract.reading import InferredColumn, ReadingSummary
from millrace.contract.report import SnapshotOutcome, SnapshotReport, termination_message

KEY = b"a key of sixteen bytes"


@pytest.mark.parametrize(
    "text, plain",
    [
        ("4711", "4711"), (" 4711 \n", "4711"), ("004711", "4711"), ("+4711", "4711"), ("4711.0", "4711"),
        ("4711.", "4711"), ("-7", "-7"), ("-007.00", "-7"), ("0", "0"), ("-0", "0"), ("000", "0"), ("7.5", "7.5"),
        ("1e5", "1e5"), ("eve", "eve"), ("Eve", "Eve"), ("e\u0301ve", "\u00e9ve"), ("\uff17", "\uff17"), ("1 2", "1 2"),
        ("", ""),
    ],
)  # fmt: skip
def test_an_id_is_compared_by_what_it_says(text: str, plain: str) -> None:
    assert erasure.canonical(text) == plain
    assert erasure.digest(KEY, text) == erasure.digest(KEY, plain)


@given(st.text(max_size=30))
def test_what_is_canonical_stays_so(text: str) -> None:
    assert erasure.canonical(erasure.canonical(text)) == erasure.canonical(text)


def test_a_digest_is_one_that_openssl_makes_too() -> None:
    made = hmac.new(KEY, b"millrace.dev/erasure\0" + b"4711", hashlib.sha256).hexdigest()
    assert erasure.digest(KEY, "4711") == f"{erasure.key_id(KEY)}-{made}"
    assert len(erasure.digest(KEY, "4711")) == 73


def test_a_digest_tells_neither_the_id_nor_the_key_and_names_its_key() -> None:
    one, other = (erasure.digest(key, "4711") for key in (KEY, b"another key of 16 bytes"))
    assert one.partition("-")[0] == erasure.key_id(KEY) != other.partition("-")[0]
    assert one.partition("-")[2] != other.partition("-")[2]
    assert "4711" not in (one[:8], one[9:])


def test_a_list_is_named_by_its_column_and_ids_in_any_order() -> None:
    assert erasure.of_list("a", ["x", "y"]) == erasure.of_list("a", ["y", "x"])
    lists = {erasure.of_list(field, ids) for field, ids in (("a", "xy"), ("b", "xy"), ("a", "x"), ("a", ""))}
    assert len(lists) == 4


def test_a_key_is_the_same_with_the_end_of_a_line() -> None:
    assert erasure.key_of(f"{KEY.decode()}\n") == KEY


def test_the_longest_report_fits_into_a_termination_message_and_keeps_what_models_are_judged_by() -> None:
    everywhere = tuple(range(erasure.MOST_VERSIONS))
    found = erasure.ErasureReport(
        f"sha256:{'a' * 64}",
        ids=2048,
        rows=10**9,
        held_ids=2048,
        versions=tuple(f"sha256-{at:016x}" for at in everywhere),
        trained=everywhere,
        gone=everywhere,
        clear=tuple(f"{at:08x}" for at in range(erasure.MOST_CLEAR)),
        held=tuple(erasure.HeldId(f"0f7a41c2-{at:016x}", trained=everywhere) for at in range(erasure.MOST_HELD)),
        unread_versions=99,
        account_uri=f"s3://{'b' * 200}",
    )
    columns = tuple(InferredColumn("n" * 128, "Timestamp", 10**9, "w" * 200) for _ in range(20))
    suspects = tuple(LeakageSuspect("f" * 128, "AUC", "0.9999") for _ in range(5))
    made = SnapshotReport(
        SnapshotOutcome.FROZEN,
        message="m" * 2000,
        digest=f"sha256:{'c' * 64}",
        source_digest=f"sha256:{'d' * 64}",
        uri=f"s3://{'u' * 200}",
        schema_digest=f"sha256:{'e' * 64}",
        profile_uri=f"s3://{'p' * 200}",
        reading=ReadingSummary("d" * 200, 20, columns, "l" * 200),
        quality=Quality(*(10**9,) * 8, suspects),
        erasure=found,
    )
    told = SnapshotReport.from_json(termination_message(made)).erasure
    assert told is not None
    assert (told.versions, told.trained, told.gone, told.clear) == (
        found.versions, found.trained, found.gone, found.clear
    )  # fmt: skip
    assert len(told.held) >= 1
