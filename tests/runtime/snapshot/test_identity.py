"""Who a row is: by Id, else by group, else by features; as values say, not as they are stored."""

from __future__ import annotations

import datetime as dt
import hashlib
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import assume, example, given, settings

from millrace_runtime.snapshot import hashing, identity
from millrace_runtime.snapshot.hashing import Hashes
from millrace_runtime.snapshot.identity import NO_KEY, RowKeys, Units
from millrace_runtime.snapshot.manifest import Identity
from millrace_runtime.snapshot.records import spans

INSTANT = dt.datetime(2024, 1, 31, tzinfo=dt.UTC)
int64s = st.integers(-(2**63), 2**63 - 1)


def meant(values, kind=None):
    """The number of each value, whatever its type was."""
    return hashing.values(pa.array(values, kind), exact=False).tolist()


def exactly(values, kind=None):
    return hashing.values(pa.array(values, kind), exact=True).tolist()


@settings(deadline=None)
@given(int64s)
@example(-(2**63))
@example(2**63 - 1)
@example(0)
def test_a_whole_number_is_the_same_as_text_whatever_its_zeros_and_signs(number):
    spelled = [f"{number}", f" {number}.0", f"{number:+}", f"{'-' if number < 0 else ''}00{abs(number)}"]
    assert set(meant(spelled)) == set(meant([number]))


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
@example(1e300)
@example(-0.0)
@example(5e-324)
def test_a_float_is_the_same_as_text_and_as_the_integer_that_it_is(number):
    assert meant([number]) == meant([repr(number)])
    if number == int(number) and abs(number) < 2**63:
        assert meant([number]) == meant([int(number)])


@settings(deadline=None)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float_of_32_bits_is_the_float_of_64_bits_that_was_rounded_to_it(number):
    assert meant([number], pa.float32()) == meant([number])


@settings(deadline=None)
@given(int64s, int64s)
def test_different_whole_numbers_are_different(one, other):
    assume(one != other)
    assert meant([one]) != meant([other])
    assert meant([str(one)]) != meant([str(other)])


@settings(deadline=None)
@given(st.text(), st.text())
def test_exact_texts_are_equal_only_to_themselves(one, other):
    assert (exactly([one]) == exactly([other])) == (one == other)


@pytest.mark.parametrize(
    "one,other",
    [
        (meant([True, False]), meant([1, 0])),
        (meant([True, False]), meant(["true", "False"])),
        (meant(["1e3", ".5"]), meant([1000.0, 0.5])),
        (meant([INSTANT], pa.timestamp("us", tz="UTC")), meant(["2024-01-31"])),
        (meant([INSTANT], pa.timestamp("us", tz="UTC")), meant(["2024-01-31T01:00:00+01:00"])),
        (meant([INSTANT], pa.timestamp("ms", tz="UTC")), meant(["2024-01-31 00:00:00Z"])),
        (meant([INSTANT], pa.timestamp("us", tz="UTC")), meant(["2024-01-31 00:00:00+00"])),
        (meant([INSTANT], pa.timestamp("us", tz="UTC")), meant(["2024-01-31 00:00:00 UTC"])),
        (meant([INSTANT], pa.timestamp("us", tz="UTC")), meant(["2024-01-31T00"])),
        (meant([INSTANT], pa.timestamp("us", tz="UTC")), meant(["20240131T000000Z"])),
        (meant([1.5, 1000.0]), meant(["1,5", "1000,0"])),
        (meant([None] * 4, pa.int64()), meant(["NA", "null", " NaN ", "  "])),
        (meant(["10000000000000000001"]), meant(["010000000000000000001"])),
        (meant([None, float("nan")], pa.float64()), meant([None, ""], pa.string())),
        (meant(pa.array(["a", None, "b"]).dictionary_encode()), meant(["a", None, "b"])),
        (meant(["a"], pa.large_string()), meant(["a"])),
    ],
)
def test_a_value_keeps_its_number_when_its_column_gets_another_type(one, other):
    assert one == other


@pytest.mark.parametrize(
    "one,other",
    [
        ("10000000000000000001", "10000000000000000002"),
        ("12e400", "13e400"),
        ("2024-13-45", "2024-13-46"),
        ("a", "A"),
        ("a", "a\x00"),
        ("C-1", "C-01"),
        ("NA", "Na"),
        ("1,5,0", "1,5"),
        ("2024-01-31 later", "2024-01-31 now"),
    ],
)
def test_values_that_only_look_like_one_another_stay_two(one, other):
    assert meant([one]) != meant([other])


def test_a_group_called_na_is_a_group_for_na_may_be_namibia():
    rows = pa.table({"land": ["NA", "NA", None, "DE"], "x": [1, 2, 3, 4]})
    keys = identity.keys(Hashes(rows, ["land"]), Identity(groups=("land",), features=("x",))).kinds[0].tolist()
    other = identity.keys(Hashes(rows, ["land"]), Identity(features=("x",))).kinds[0].tolist()
    assert keys[0] == keys[1]
    assert keys[2] == other[2]
    assert len(set(keys)) == 3


WORD = 2**64 - 1


def finaliser(z):
    """SplitMix64's, as published."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & WORD
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & WORD
    return z ^ (z >> 31)


def texthash(text):
    """As `texthash` says, a text at a time."""
    data = text.encode()
    if len(data) > 128:
        return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
    found = finaliser(len(data))
    for at in range(0, len(data) or 1, 8):
        found = finaliser(found ^ int.from_bytes(data[at : at + 8], "little"))
    return found


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.text(max_size=40), st.text("aé", max_size=300)), max_size=20), st.integers(0, 3)
)
def test_a_text_is_hashed_by_the_published_algorithms_whatever_the_library_is(texts, start):
    """A version in a store is read by later ones: another library must not change what a key means."""
    block = pa.array(texts, pa.string()).slice(start)
    wanted = [finaliser(texthash(text) ^ (3 * 0x9E3779B97F4A7C15 & WORD)) if text else 0 for text in block.to_pylist()]
    assert hashing.values(block, exact=True).tolist() == wanted


@settings(deadline=None)
@given(int64s)
def test_a_number_is_hashed_by_the_published_algorithm(number):
    assert exactly([number]) == [finaliser((number & WORD) ^ 0x9E3779B97F4A7C15)]


def test_a_row_is_the_sum_of_its_values_each_mixed_with_its_columns_name():
    table = pa.table({"id": pa.array([7]), "x": pa.array(["a"])})
    names = {name: texthash(name) for name in ("id", "x", "features")}
    cells = [finaliser((exactly(table[name].to_pylist())[0] + names[name]) & WORD) for name in ("id", "x")]
    wanted = finaliser((sum(cells) + names["features"]) & WORD)
    assert identity.keys(Hashes(table), Identity(features=("id", "x"))).kinds[0].tolist() == [wanted]


tables = st.lists(
    st.tuples(st.sampled_from([None, 1, 2]), st.sampled_from([None, "a", "b"]), st.integers(0, 2)),
    min_size=1,
    max_size=30,
)


def table_of(rows):
    held = list(zip(*rows, strict=True))
    kinds = {"id": pa.int64(), "group": pa.string(), "x": pa.int64()}
    return pa.table({name: pa.array(column, kind) for (name, kind), column in zip(kinds.items(), held, strict=True)})


def units_of(row_keys, pieces=2):
    """Each row's unit, and every unit's own key, of rows that come a few at a time."""
    count = len(row_keys.kinds[0])
    if len(row_keys.kinds) == 1:
        distinct, codes = np.unique(row_keys.kinds[0], return_inverse=True)
        return codes, distinct
    with tempfile.TemporaryDirectory() as scratch:
        units = Units(Path(scratch))
        for rows in np.array_split(np.arange(count), pieces):
            units.see(RowKeys(tuple(each[rows] for each in row_keys.kinds), row_keys.by_features), rows)
        own = np.zeros(count, "u8")
        for held in (piece for (span,) in spans(units.found()) for piece in span):
            own[held["row"]] = held["key"]
    distinct, codes = np.unique(own, return_inverse=True)
    return codes, distinct


@settings(deadline=None)
@given(tables, st.booleans(), st.booleans())
def test_rows_are_one_unit_exactly_where_a_chain_of_shared_ids_groups_or_features_joins_them(rows, has_id, has_group):
    how = Identity(
        ids=("id",) if has_id else (), groups=("group",) if has_group else (), features=("x",), salts=("id",) * has_id
    )
    codes, own = units_of(identity.keys(Hashes(table_of(rows)), how))
    wanted = list(range(len(rows)))
    for at, (who, group, x) in enumerate(rows):
        for other, (whose, theirs, y) in enumerate(rows):
            bare = not (has_id and who is not None) and not (has_group and group is not None)
            bare_too = not (has_id and whose is not None) and not (has_group and theirs is not None)
            same_id = has_id and who is not None and who == whose
            same_group = has_group and group is not None and group == theirs
            if same_id or same_group or (bare and bare_too and x == y):
                low, high = sorted((wanted[at], wanted[other]))
                wanted = [low if one == high else one for one in wanted]
    assert len(set(codes.tolist())) == len(set(wanted)) == len(own)
    assert len(set(zip(codes.tolist(), wanted, strict=True))) == len(own)


@settings(deadline=None)
@given(tables, st.randoms(use_true_random=False))
def test_a_rows_key_depends_on_no_other_row_nor_on_the_order_of_columns(rows, chance):
    table, how = table_of(rows), Identity(ids=("id",), groups=("group",), features=("x",), salts=("id",))
    every = identity.keys(Hashes(table), how).kinds
    at = chance.randrange(len(rows))
    alone = identity.keys(Hashes(table.slice(at, 1).select(["x", "group", "id"])), how).kinds
    assert [kind[at] for kind in every] == [kind[0] for kind in alone]


def test_a_row_without_an_id_goes_by_its_features_and_not_by_what_others_lack():
    table = pa.table({"id": pa.array([None, None, None, 5]), "x": [1, 1, 2, 1]})
    keys = identity.keys(Hashes(table), Identity(ids=("id",), features=("x",), salts=("id",)))
    assert keys.by_features
    first, same, other, named = keys.kinds[0].tolist()
    assert first == same
    assert len({first, other, named}) == 3


def test_part_of_a_composite_id_may_be_missing():
    table = pa.table({"a": pa.array([1, 1, None]), "b": pa.array([None, 2, 1])})
    assert len(set(identity.keys(Hashes(table), Identity(ids=("a", "b"), salts=("a", "b"))).kinds[0].tolist())) == 3


def test_columns_that_swap_their_values_are_not_the_same_row():
    table = pa.table({"a": [1, 2], "b": [2, 1]})
    assert len(set(identity.keys(Hashes(table), Identity(features=("a", "b"))).kinds[0].tolist())) == 2


def test_a_feature_without_a_value_is_as_if_the_column_were_not_there():
    wide = pa.table({"a": [1, 2], "b": pa.array([None, None], pa.int64())})
    keys = [identity.keys(Hashes(wide), Identity(features=names)).kinds[0].tolist() for names in (("a",), ("a", "b"))]
    assert keys[0] == keys[1]
    assert int(NO_KEY) not in keys[0]


def test_keys_spread_evenly_also_over_ids_in_a_row():
    keys = identity.keys(Hashes(pa.table({"id": np.arange(40_000)})), Identity(ids=("id",), salts=("id",))).kinds[0]
    assert len(np.unique(keys)) == 40_000
    counts = np.bincount((keys >> np.uint64(60)).astype(int), minlength=16)
    assert abs(counts - 2500).max() < 250


def test_blocks_and_chunks_make_no_difference():
    values = pd.Series(range(200_000)).map(str)
    whole = hashing.values(pa.array(values), exact=False)
    pieces = pa.chunked_array([pa.array(values[:70_001]), pa.array(values[70_001:])])
    assert np.array_equal(whole, hashing.values(pieces, exact=False))


TEXTS = (
    "", None, "a", "é", "7", "007", "12345678", "123456789", "-7.50", "+7", "1e3", "1,5", "true", "FALSE", " NA ",
    "2024-01-31", "2024-01-31T10:00:00Z", "20240131T100000", "x" * 8, "x" * 9, "x" * 128, "x" * 129,
    "9223372036854775808",
)  # fmt: skip
FLOATS = (0.0, -0.0, 1.0, 1.5, -2.25, 1e300, 5e-324, None, float("nan"), 0.1, 2.0**63, 2.0**53 + 2)


def every_type():
    sevenths = [number / 7 for number in range(len(TEXTS))]
    return pa.table(
        {
            "text": pa.array(TEXTS),
            "digits": pa.array([f"{number * 37 % 1000:03}" for number in range(len(TEXTS))]),
            "float": pa.array([*FLOATS, *sevenths[:11]]),
            "narrow": pa.array(sevenths, pa.float32()),
            "whole": pa.array([None, 0, -1, 2**63 - 1, -(2**63), *range(18)]),
            "truth": pa.array([None, True, False] + [True] * 20),
            "time": pa.array(
                [None, *(INSTANT + dt.timedelta(hours=hour) for hour in range(22))], pa.timestamp("us", tz="UTC")
            ),
        }
    )


def test_what_tells_rows_apart_is_the_same_number_in_every_release():
    # Versions that people froze hold these numbers: others would divide their rows anew.
    table = every_type()
    hashes = Hashes(table, ["text"])
    made = [hashes.rows(table.column_names, exact=exact) for exact in (True, False)]
    made.append(hashes.contents(table.column_names))
    assert [hashlib.sha256(numbers.tobytes()).hexdigest()[:16] for numbers in made] == [
        "d0e3bd999bbfa68d",
        "a6a7f1314860f81d",
        "cdfe50740378fb26",
    ]
