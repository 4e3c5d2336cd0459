"""A case: one question to a server, with the reason why it is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from millrace.conformance.subject import Subject


class Level(Enum):
    """Who asks."""

    SPEC = "spec"
    """The protocol requires it."""
    CLIENT = "client"
    """A client that is widely used depends on it: tritonclient, the KServe client."""
    EXTENSION = "extension"
    """An extension requires it; asked of servers that announce the extension."""
    ROBUST = "robust"
    """The protocol leaves the status open; a request that can never succeed should be a 4xx with an error object."""


class Failed(Exception):
    """The answer was wrong; the text says what was expected and what came."""


class NotApplicable(Exception):
    """The case asks for something that this model or server has not got."""


@dataclass(frozen=True)
class Case:
    """One question."""

    name: str
    level: Level
    source: str
    """Where the requirement is written."""
    ask: Callable[[Subject], None]

    @property
    def about(self) -> str:
        """One line: what is required."""
        return (self.ask.__doc__ or "").strip().splitlines()[0]


class Cases:
    """The cases of one module, in the order in which they are written."""

    def __init__(self, level: Level, source: str) -> None:
        self.all: list[Case] = []
        self._level = level
        self._source = source

    def case(
        self, level: Level | None = None, source: str = ""
    ) -> Callable[[Callable[[Subject], None]], Callable[[Subject], None]]:
        """Decorator: the function's name is the case's, its docstring the requirement."""

        def add(ask: Callable[[Subject], None]) -> Callable[[Subject], None]:
            name = ask.__name__.replace("_", "-")
            self.all.append(Case(name, level or self._level, source or self._source, ask))
            return ask

        return add


def expect(holds: object, message: str) -> None:
    """Raises Failed with the message unless it holds."""
    if not holds:
        raise Failed(message)
