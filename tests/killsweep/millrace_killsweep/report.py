"""Tables for people."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from rich.table import Table

from .points import Point


def listing(points: Iterable[Point]) -> Table:
    """Every effective write in order."""
    table = Table(
        "at", "verb", "resource", "object", "n-th", "operator", title="effective writes", title_justify="left"
    )
    table.columns[0].justify = table.columns[4].justify = "right"
    for one in points:
        target = one.write.target
        table.add_row(f"{one.at:.1f} s", one.write.verb, target.kind, target.name, str(one.ordinal), one.fate)
    return table


def summary(points: Iterable[Point]) -> Table:
    """How many writes of each verb on each kind there were, and what became of the operator."""
    table = Table("verb", "resource", "objects", "writes", "kills", "repeated", "spared", title="kill points",
                  title_justify="left")  # fmt: skip
    for column in table.columns[2:]:
        column.justify = "right"
    fates: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    objects: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for one in points:
        key = one.write.verb, one.write.target.kind
        fates[key][one.fate] += 1
        objects[key].add(one.write.target.name)
    for key, found in sorted(fates.items(), key=lambda item: (item[0][1], item[0][0])):
        counts = (len(objects[key]), found.total(), found["killed"], found["repeated"], found["spared"])
        table.add_row(*key, *map(str, counts))
    total: Counter[str] = sum(fates.values(), Counter())
    names = sum(map(len, objects.values()))
    table.add_section()
    last = (names, total.total(), total["killed"], total["repeated"], total["spared"])
    table.add_row("all", "", *map(str, last))
    return table
