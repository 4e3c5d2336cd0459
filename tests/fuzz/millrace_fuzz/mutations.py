"""Every mutation of a run, each with an id and what the API server must answer, decided before it is asked.

The same seed number gives the same mutations under the same ids, in the same order.
"""

from __future__ import annotations

import copy
import json
import random
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from . import agreements, identity, nonsense, oracle, schema, seeds, values, violations
from .schema import Manifest, Node, Place

Expected = Literal["refused", "accepted", "either"]

VALID_EACH, WHOLE_EACH = 4, 2
"""Valid values a leaf, and an object or list; leaving it out comes on top."""
SPARE = 2
"""How many times more are drawn, because CEL rules refuse some."""
MOST_PODS = 3
UPDATED = ("Dataset", "Deployment")
"""Kinds whose spec may change; the others are created anew."""


@dataclass(frozen=True)
class Mutation:
    """One thing that is asked of the API server."""

    id: str
    kind: str
    seed: str
    fault: str
    """The class: what is wrong, or what is done."""
    place: str
    spec: Any
    expected: Expected
    paths: tuple[str, ...] = ()
    """A refusal must name one of these."""
    old: Manifest | None = None
    """The spec of the object that is changed; None: an object is created."""
    name: str = ""
    """metadata.name, where it matters."""
    user: str = ""
    """Who asks, if not the administrator."""
    change: tuple[Place, Any] | None = None
    """The one place that differs from the seed, and what stands there."""

    @property
    def is_valid(self) -> bool:
        return self.expected == "accepted"


class Book:
    """Numbers mutations, and drops those that were written down before."""

    def __init__(self) -> None:
        self._count: Counter[str] = Counter()
        self._seen: set[str] = set()

    def write(self, kind: str, seed: str, fault: str, place: str, spec: Any, **more: Any) -> Iterator[Mutation]:
        """The mutation, unless the same thing is asked already."""
        asked = json.dumps([kind, fault == "immutable", spec, more.get("name"), more.get("user")], sort_keys=True)
        if asked in self._seen:
            return
        self._seen.add(asked)
        stem = f"{kind}/{place}/{fault.replace(' ', '-')}"
        self._count[stem] += 1
        yield Mutation(f"{stem}-{self._count[stem]}", kind, seed, fault, place, spec, **more)


def everything(number: int) -> list[Mutation]:
    """All mutations but those of walks."""
    found: list[Mutation] = []
    for kind in schema.KINDS:
        book = Book()
        found += together(kind, book)
        found += valid(kind, number, book)
        found += invalid(kind, book)
        found += meaningless(kind, book)
        found += broken(kind, book)
        found += immutable(kind, number, book)
        found += odd(kind, book)
        found += misnamed(kind, book)
    found += forged(Book())
    return found


def places(kind: str) -> Iterator[tuple[str, Place, Node, Any]]:
    """(seed, place, schema, value) of every place of every seed, once for each of the place's spellings."""
    known = set()
    for seed, spec in seeds.SPECS[kind].items():
        for place, node, value in schema.walk(schema.spec(kind), spec):
            told = (seed, schema.generic(("spec", *place)))
            if told not in known:
                known.add(told)
                yield seed, place, node, value


def valid(kind: str, number: int, book: Book) -> Iterator[Mutation]:
    """Leaves with other values that everything allows, leaves left out, and whole objects and lists drawn anew."""
    count: Counter[str] = Counter()
    for seed, place, node, value in places(kind):
        if not place:
            continue
        where = schema.generic(("spec", *place))
        wanted = VALID_EACH if schema.is_leaf(node) else WHOLE_EACH
        if count[where] >= wanted:
            continue
        for new in _candidates(node, wanted * SPARE, number + zlib.crc32(f"{kind}{where}".encode())):
            if count[where] >= wanted:
                break
            spec = schema.with_value(seeds.SPECS[kind][seed], place, new)
            for mutation in _accepted(kind, seed, place, where, spec, new, book) if new != value else ():
                count[where] += 1
                yield mutation
        yield from _left_out(kind, seed, place, where, book)


def _candidates(node: Node, count: int, salt: int) -> Iterator[Any]:
    """The edges of a leaf, then values by chance: only when they are asked for, and where the edges are not all."""
    if schema.is_leaf(node):
        yield from values.edges(node)
    if not values.is_closed(node):
        yield from values.draw(values.strategy(node), count, salt)


def together(kind: str, book: Book) -> Iterator[Mutation]:
    """Values that are valid only together."""
    for its, seed, place, spec in agreements.known():
        if its == kind:
            yield from _accepted(kind, seed, place, schema.generic(("spec", *place)), spec, None, book)


def _accepted(
    kind: str, seed: str, place: Place, where: str, spec: Manifest, new: Any, book: Book
) -> Iterator[Mutation]:
    if oracle.findings(kind, spec):
        return
    user = ""
    if kind == "Model":
        users = {one["user"] for one in spec.get("approvals", ())}
        if users != {"admin"} and users:
            if len(users) > 1 or not all(name.isascii() and name.isprintable() and name.strip() for name in users):
                return
            user = users.pop()
        if _own_approval(spec, user or "admin"):
            return
    change = (place, new) if new is not None else None
    yield from book.write(kind, seed, "valid", where, spec, expected="accepted", user=user, change=change)


def _own_approval(spec: Manifest, user: str) -> bool:
    """Whether an author approves, which the admission policy refuses."""
    policy = schema.defaulted(schema.spec("Model"), spec)["approvalPolicy"]
    author = spec.get("provenance", {}).get("author")
    return policy["distinctFromAuthor"] and author == user and bool(spec.get("approvals"))


def is_crowded(kind: str, spec: Manifest) -> bool:
    """A thousand pods are refused by nobody, and too many for a test: those are asked for and never made."""
    return bool(kind == "Deployment" and spec.get("replicas", 1) > MOST_PODS)


def comes_back(kind: str, seed: str, spec: Any) -> bool:
    """Whether the seed's object may be changed to it, and back: who is to be forgotten stays on the list."""
    home = seeds.SPECS[kind][seed]
    return kind not in UPDATED or not (oracle.findings(kind, spec, home) or oracle.findings(kind, home, spec))


def _left_out(kind: str, seed: str, place: Place, where: str, book: Book) -> Iterator[Mutation]:
    if isinstance(place[-1], int):
        return
    spec = schema.without(seeds.SPECS[kind][seed], place)
    if not oracle.findings(kind, spec):
        yield from book.write(kind, seed, "left out", where, spec, expected="accepted")


def invalid(kind: str, book: Book) -> Iterator[Mutation]:
    """Every place with every fault that its schema knows."""
    for seed, place, node, value in places(kind):
        for fault, bad in values.wrong(node, value):
            yield from _refused(kind, seed, place, node, fault, bad, book)


def _refused(kind: str, seed: str, place: Place, node: Node, fault: str, bad: Any, book: Book) -> Iterator[Mutation]:
    where = schema.generic(("spec", *place))
    spec = schema.with_value({"spec": seeds.SPECS[kind][seed]}, ("spec", *place), bad)["spec"]
    found = oracle.findings(kind, spec)
    paths = tuple(path for path, _ in found) or (schema.spelled(("spec", *place)),)
    if node.get("format") == "date-time" and isinstance(bad, list):
        # API servers do not check the type of a string with a format; the rule around it does, and names itself.
        paths += (schema.spelled(("spec", *place[:-1])),)
    yield from book.write(kind, seed, fault, where, spec, expected="refused", paths=paths)


def meaningless(kind: str, book: Book) -> Iterator[Mutation]:
    """Values that mean nothing at a place; whether the schema knows that is the question."""
    for seed, place, _, _ in places(kind):
        where = schema.generic(("spec", *place))
        for bad in nonsense.at(where):
            spec = schema.with_value({"spec": seeds.SPECS[kind][seed]}, ("spec", *place), bad)["spec"]
            paths = (schema.spelled(("spec", *place)), *(path for path, _ in oracle.findings(kind, spec)))
            yield from book.write(kind, seed, "nonsense", where, spec, expected="refused", paths=paths)


def broken(kind: str, book: Book) -> Iterator[Mutation]:
    """Fields that are fine one by one and wrong together."""
    for one in violations.known():
        if one.kind == kind:
            spec = one.spec()
            found = oracle.findings(kind, spec)
            place = schema.generic(("spec", *next(iter(one.changes))))
            paths = tuple(path for path, _ in found)
            yield from book.write(kind, one.seed, "cross-field", place, spec, expected="refused", paths=paths)


def immutable(kind: str, number: int, book: Book) -> Iterator[Mutation]:
    """Changes of what may not change, each to a value that would be fine in a new object."""
    if kind in UPDATED:
        return
    for seed, place, node, value in places(kind):
        if not schema.is_leaf(node):
            continue
        old, where = seeds.SPECS[kind][seed], schema.generic(("spec", *place))
        salt = number + zlib.crc32(f"immutable{kind}{where}".encode())
        fixed = [*values.edges(node)] if values.is_closed(node) else values.draw(values.strategy(node), 3, salt)
        for new in [one for one in fixed if one != value][:2]:
            spec = schema.with_value(old, place, new)
            found = oracle.findings(kind, spec, old)
            if found and not oracle.findings(kind, spec):
                yield from book.write(
                    kind, seed, "immutable", where, spec, expected="refused", paths=tuple(p for p, _ in found), old=old
                )
    if kind == "Model":
        yield from _history(book)


def _history(book: Book) -> Iterator[Mutation]:
    """What would change who decided last."""
    old = seeds.SPECS["Model"]["full"]
    first, last = old["approvals"]
    for approvals in ([], [first], [last], [last, first], [first, last, last][1:], [first, {**last, "comment": "no"}]):
        spec = {**copy.deepcopy(old), "approvals": copy.deepcopy(approvals)}
        paths = tuple(path for path, _ in oracle.findings("Model", spec, old))
        yield from book.write(
            "Model", "full", "immutable", "spec.approvals", spec, expected="refused", paths=paths, old=old
        )


def misnamed(kind: str, book: Book) -> Iterator[Mutation]:
    """Good specs under names of which the names of children cannot be made."""
    spec = seeds.SPECS[kind]["full"]
    for name in identity.names(kind):
        yield from book.write(
            kind, "full", "name", "metadata.name", spec, expected="refused", paths=("metadata.name",), name=name
        )


def forged(book: Book) -> Iterator[Mutation]:
    """Decisions that the admission policies refuse: everybody here may approve, but in one's own name."""
    for kind, spec, user, place in identity.forgeries():
        yield from book.write(
            kind, "full", "policy", "spec.approvals", spec, expected="refused", paths=(place,), user=user
        )


def odd(kind: str, book: Book) -> Iterator[Mutation]:
    """What JSON writers do: nulls, and whole numbers with a fraction of zero. Refused or obeyed, never half of both."""
    for seed, place, node, value in places(kind):
        if not place or isinstance(place[-1], int):
            continue
        where, spec = schema.generic(("spec", *place)), seeds.SPECS[kind][seed]
        tried: list[Any] = [None]
        if node["type"] == "integer" and not isinstance(value, bool) and value is not None:
            tried.append(float(value))
        for new in tried:
            changed = schema.with_value(spec, place, new)
            paths = (schema.spelled(("spec", *place)), "spec")
            yield from book.write(kind, seed, "odd", where, changed, expected="either", paths=paths)


def walks(found: list[Mutation], number: int, count: int, steps: int) -> Iterator[list[Mutation]]:
    """Chains of changes that add up, made of valid ones for one place each; every step is valid by the oracle."""
    changes: defaultdict[tuple[str, str], list[tuple[Place, Any]]] = defaultdict(list)
    for one in found:
        if one.is_valid and one.change is not None and not one.user and one.change[0][0] != "approvals":
            changes[one.kind, one.seed].append(one.change)
    for (kind, seed), offered in changes.items():
        for position in range(count):
            chance = random.Random(f"{number} {kind} {seed} {position}")
            specs = _steps(kind, seed, chance, offered, steps)
            yield [
                Mutation(f"{kind}/walk-{seed}-{position}/{step}", kind, seed, "walk", "spec", spec, "accepted")
                for step, spec in enumerate(specs, 1)
            ]


def _steps(kind: str, seed: str, chance: random.Random, offered: list[tuple[Place, Any]], steps: int) -> list[Manifest]:
    found: list[Manifest] = []
    spec = seeds.SPECS[kind][seed]
    for place, value in chance.sample(offered, len(offered)):
        try:
            changed = schema.with_value(spec, place, value)
        except (KeyError, IndexError, TypeError):
            continue
        is_valid = changed != spec and not oracle.findings(kind, changed) and comes_back(kind, seed, changed)
        if is_valid and not is_crowded(kind, changed):
            spec = changed
            found.append(spec)
        if len(found) == steps:
            break
    return found
