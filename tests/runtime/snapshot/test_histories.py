"""Whatever becomes of a Dataset, no row that was once trained on is ever tested on: whole versions, in any sequence."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from data_kit import tasks, versions
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

FEATURES = ("a", "b", "c")
FRACTIONS = [
    {"train": 0.8, "validation": 0.1, "test": 0.1},
    {"train": 0.4, "validation": 0.2, "test": 0.4},
    {"train": 0.6, "validation": 0.0, "test": 0.4},
]
rows_ = st.fixed_dictionaries(
    {
        "a": st.integers(0, 12),
        "b": st.sampled_from(["", *"0123456789"]),
        "c": st.sampled_from(["x", "y", "07", "1.5"]),
        "t": st.integers(0, 30),
        "truth": st.booleans(),
    }
)


class History(RuleBasedStateMachine):
    """A source that people edit, and a spec that they change. Subclasses say what a row goes by."""

    has_id = False

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.dataset = tasks.Dataset(Path(self.folder.name))
        self.rows: dict[int, dict[str, Any]] = {}
        self.gone: dict[int, dict[str, Any]] = {}
        self.columns = {"a": "Int64", "b": "String", "c": "Category"}
        self.ignored: set[str] = set()
        self.id_name, self.id_type = "id", "Int64"
        self.split: dict[str, Any] = {"method": "Random", "seed": 0, "fractions": FRACTIONS[0]}
        self.trained: list[dict[str, str]] = []

    def teardown(self) -> None:
        self.folder.cleanup()

    @initialize(rows=st.lists(rows_, min_size=10, max_size=30))
    def begin(self, rows: list[dict[str, Any]]) -> None:
        self.rows = dict(enumerate(rows))
        self.look()

    @rule(rows=st.lists(rows_, min_size=1, max_size=10))
    def rows_are_added(self, rows: list[dict[str, Any]]) -> None:
        first = 1 + max([*self.rows, *self.gone])
        self.rows |= {first + number: row for number, row in enumerate(rows)}

    @rule(chance=st.randoms(use_true_random=False))
    def rows_leave(self, chance: Any) -> None:
        for who in [who for who in self.rows if chance.random() < 0.3][: len(self.rows) - 5]:
            self.gone[who] = self.rows.pop(who)

    @rule()
    def rows_come_back(self) -> None:
        self.rows |= self.gone
        self.gone = {}

    @rule(chance=st.randoms(use_true_random=False), column=st.sampled_from(["a", "truth", "t"]))
    def values_are_edited(self, chance: Any, column: str) -> None:
        self.rows = {
            who: row
            | ({column: not row[column] if column == "truth" else row[column] + 1} if chance.random() < 0.5 else {})
            for who, row in self.rows.items()
        }

    @rule(column=st.sampled_from(FEATURES))
    def a_column_is_ignored_or_no_longer_so(self, column: str) -> None:
        self.ignored ^= {column}
        if len(self.ignored & set(self.columns)) == len(self.columns):
            self.ignored.clear()

    @rule()
    def a_column_is_added(self) -> None:
        self.columns["d"] = "Int64"

    @rule(kind=st.sampled_from(["Int64", "Float64", "String", "Category"]))
    def a_column_gets_another_type(self, kind: str) -> None:
        self.columns["a"] = kind

    @rule(
        fractions=st.sampled_from(FRACTIONS),
        seed=st.integers(0, 2),
        method=st.sampled_from(["Random", "Stratified", "Time"]),
    )
    def the_split_changes(self, fractions: dict[str, float], seed: int, method: str) -> None:
        field = {"Random": None, "Stratified": "truth", "Time": "t"}[method]
        self.split = {"method": method, "seed": seed, "fractions": fractions, "field": field}

    @rule()
    def the_source_is_looked_at(self) -> None:
        self.look()

    def look(self) -> None:
        names = [*self.columns, "t", "truth", *([self.id_name] if self.has_id else [])]
        text = io.StringIO()
        table = csv.DictWriter(text, names, extrasaction="ignore")
        table.writeheader()
        for who, row in self.rows.items():
            table.writerow(row | {self.id_name: who, "d": who * 7, "truth": str(row["truth"]).lower()})
        self.dataset.write("a.csv", text.getvalue())
        fields: list[dict[str, Any]] = [
            {"name": name, "type": kind, "role": "Ignore" if name in self.ignored else "Feature"}
            for name, kind in self.columns.items()
        ]
        fields += [
            {"name": "t", "type": "Int64", "role": "EventTime"},
            {"name": "truth", "type": "Bool", "role": "Label"},
        ]
        if self.has_id:
            fields.append({"name": self.id_name, "type": self.id_type, "role": "Id"})
        report = self.dataset.look(schema={"mode": "Strict", "fields": fields}, split=self.split)
        assert report.outcome in ("Frozen", "Unchanged"), report.message

    @invariant()
    @precondition(lambda self: self.dataset.previous is not None)
    def no_row_that_was_trained_on_is_tested_on(self) -> None:
        held = versions.parts(self.dataset.previous)
        for row in self.known(held["test"]):
            twin = next((other for other in self.trained if self.is_same(row, other)), None)
            assert twin is None, f"{row} is tested on; {twin} was trained on"
        self.trained += [row for row in self.known(held["train"]) if row not in self.trained]

    def known(self, rows: Any) -> list[dict[str, str]]:
        raise NotImplementedError

    def is_same(self, one: dict[str, str], other: dict[str, str]) -> bool:
        raise NotImplementedError


class ById(History):
    has_id = True

    @rule(kind=st.sampled_from(["Int64", "Float64", "String"]))
    def the_id_gets_another_type(self, kind: str) -> None:
        self.id_type = kind

    @rule(name=st.sampled_from(["id", "customer"]))
    def the_id_gets_another_name(self, name: str) -> None:
        self.id_name = name

    def known(self, rows: Any) -> list[dict[str, str]]:
        name = next(name for name in ("id", "customer") if name in rows)
        return [{"id": str(int(float(who)))} for who in rows[name]]

    def is_same(self, one: dict[str, str], other: dict[str, str]) -> bool:
        return one == other


class ByFeatures(History):
    def known(self, rows: Any) -> list[dict[str, str]]:
        names = [name for name in (*FEATURES, "d") if name in rows]
        return [
            {
                name: f"{value:g}" if isinstance(value, float) else str(value).removesuffix(".0")
                for name, value in row.items()
            }
            for row in rows[names].to_dict("records")
        ]

    def is_same(self, one: dict[str, str], other: dict[str, str]) -> bool:
        common = one.keys() & other.keys()
        return bool(common) and all(one[name] == other[name] for name in common)


TestById = ById.TestCase
TestByFeatures = ByFeatures.TestCase
TestById.settings = TestByFeatures.settings = settings(max_examples=20, stateful_step_count=12, deadline=None)
