"""Digests of Ids: the same for all who write an Id their own way, and for no other Id, key or list."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contract import erasure

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
