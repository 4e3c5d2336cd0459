"""Tables for people."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from rich.table import Table

from .lanes import Outcome

LEAST_REFUSED = 0.98


def table(outcomes: Iterable[Outcome]) -> Table:
    """Counts by kind and class."""
    made = Table("kind", "class", "mutations", "refused", "accepted", "wrong", title="mutations", title_justify="left")
    for column in made.columns[2:]:
        column.justify = "right"
    counts: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for one in outcomes:
        count = counts[one.mutation.kind, one.mutation.fault]
        count.update(["all", one.answer, *(["wrong"] if one.fault else [])])
    last = ""
    for (kind, fault), count in sorted(counts.items()):
        if last and kind != last:
            made.add_section()
        made.add_row(kind if kind != last else "", fault, *(str(count[name]) for name in COLUMNS))
        last = kind
    made.add_section()
    total: Counter[str] = sum(counts.values(), Counter())
    made.add_row("all", "", *(str(total[name]) for name in COLUMNS))
    return made


COLUMNS = ("all", "refused", "accepted", "wrong")


def share(outcomes: Iterable[Outcome]) -> float:
    """Of what must be refused, how much was, and said where."""
    asked = [one for one in outcomes if one.mutation.expected == "refused"]
    good = sum(one.answer == "refused" and not one.fault for one in asked)
    return good / len(asked) if asked else 1.0


def line(outcomes: list[Outcome]) -> str:
    """The last line of a run."""
    answers = Counter(one.answer for one in outcomes)
    stuck = sum(one.fault in ("stuck", "unreadable") for one in outcomes)
    return (
        f"mutations={len(outcomes)} refused={answers['refused']} accepted={answers['accepted']} accepted-stuck={stuck}"
    )


def is_good(outcomes: list[Outcome], wrong: list[str]) -> bool:
    """Whether a run passes: nothing stuck, nothing valid refused, everything restored, and invalid refused by path."""
    bad = [one for one in outcomes if one.fault and one.mutation.expected != "refused"]
    stuck = [one for one in outcomes if one.fault in ("stuck", "unreadable", "not restored")]
    return not (bad or stuck or wrong) and share(outcomes) >= LEAST_REFUSED
