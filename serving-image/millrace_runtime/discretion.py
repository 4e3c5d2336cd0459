"""What may be said of a value of a row, wherever something is said: a refusal, a log, a report, an example.

A column's role decides, here and nowhere else. Values of Features, labels and event times may be said, as nobody can
correct what is not shown. Those of Ids, Sensitive and Ignore columns are people's as far as anybody knows, and never
are. Where they may hide without being meant, they are not said either:

    in the name of a folder      `gender=f/part-0.parquet` is `gender=…/part-0.parquet`
    in a header that is none     the first row of a file without one: its fields are told by their number
    in another's words           an exception of a library may quote what it could not read: its type is said, and
                                 where it was raised; what the ONNX runtime says of a run, as far as the node

A server knows no roles: of what a caller sends it says the kind and the place, never the value.
"""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Iterable, Sequence
from typing import Any

from millrace.contract.dataset import SPOKEN, Field, Role

_COVERED = "…"
_NO_MEMORY = "bad_alloc"
"""C++'s word for it."""
_KINDS: dict[type, str] = {
    type(None): "null",
    bool: "a boolean",
    int: "an integer",
    float: "a floating-point number",
    str: "a string",
    list: "a list",
    dict: "an object",
}
_HAVE_TO_BE_THERE = frozenset({Role.ID, Role.SENSITIVE})


class Discretion:
    """What may be said of the values of a table."""

    def __init__(self, fields: Iterable[Field] = ()) -> None:
        """`fields` are all that is known of the columns; of two of one name the later counts. Others may be said."""
        known = {one.name: one.role for one in fields}
        self._declared = frozenset(known)
        self._hidden = frozenset(name for name, role in known.items() if role not in SPOKEN)
        self._awaited = frozenset(name for name, role in known.items() if role in _HAVE_TO_BE_THERE)
        spelled = sorted("".join(map(_spelled, name)) for name in self._hidden)
        self._folders = re.compile(f"({'|'.join(spelled)})=[^/]*(?=/)") if spelled else None

    @property
    def hides_some(self) -> bool:
        """Whether there is a column whose values are not said."""
        return bool(self._hidden)

    def hides(self, column: str) -> bool:
        """Whether that column's values are not said."""
        return column in self._hidden

    def quoted(self, column: str, value: Any) -> str:
        """The value in quotes, or that there is one."""
        return "the value" if self.hides(column) else f'"{value}"'

    def against(self, column: str, value: str) -> str:
        """What a value was compared with, in brackets and after a blank, or nothing."""
        return "" if not value or self.hides(column) else f" ({value})"

    def place(self, path: str) -> str:
        """The name of a file, its URI, or a text that holds one, with the values that folders tell covered."""
        return self._folders.sub(rf"\1={_COVERED}", path) if self._folders is not None else path

    def named(self, column: str, header: Sequence[str]) -> str:
        """A column that stands in this header and that nobody declared: by its name, unless it may be a value."""
        return f'column "{column}"' if self._is_header(header) else f"column {header.index(column) + 1}"

    def words(self, error: Exception) -> str:
        """The first line of what a library says of a file, or what kind of complaint it is."""
        said = str(error).strip().splitlines()
        return said[0][:300] if said and not self._hidden else type(error).__name__

    def _is_header(self, header: Sequence[str]) -> bool:
        """Whether these are names: the columns that have to be there are, or at least one that was declared."""
        found = set(header)
        return not self._hidden or (self._awaited <= found and bool(self._awaited or self._declared & found))


def _spelled(letter: str) -> str:
    """A pattern of the letter as it is, and with its bytes escaped: which ones are is each writer's own choice."""
    escaped = "".join(f"%(?i:{byte:02x})" for byte in letter.encode("utf-8", "surrogateescape"))
    return f"(?:{re.escape(letter)}|{escaped})"


def of_a_run(error: BaseException) -> str:
    """Which node of a model failed on a request; of what the node itself says, which may quote the request, only that
    memory was lacking.
    """
    text = str(error)
    said = (text.partition("Status Message:")[0].strip().splitlines() or [type(error).__name__])[0]
    return f"{said[:500]}{f' {_NO_MEMORY}' if _NO_MEMORY in text and _NO_MEMORY not in said else ''}"


def kind(value: object) -> str:
    """What a value of JSON is, in place of the value."""
    return _KINDS.get(type(value), "something else")


def told(error: BaseException) -> str:
    """An exception that nobody foresaw, without its words: `ArrowInvalid at snapshot/texts.py:142`.

    The system's own word for a failed call is about no value: `OSError (No space left on device) at ...`.
    """
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/millrace_runtime/" in frame.filename] or frames
    where = f" at {_source(ours[-1])}" if ours else ""
    said = f" ({os.strerror(error.errno)})" if isinstance(error, OSError) and error.errno else ""
    return f"{type(error).__name__}{said}{where}"


def traced(error: BaseException) -> str:
    """The same with every frame, the cause first: what DEBUG shows."""
    lines = ["Traceback, without the words of libraries:"]
    for each in (*reversed(list(_causes(error))), error):
        lines += [f"{_source(frame)} in {frame.name}" for frame in traceback.extract_tb(each.__traceback__)]
        lines.append(told(each))
    return "\n".join(lines)


def _causes(error: BaseException) -> Iterable[BaseException]:
    seen = error
    for _ in range(8):
        before = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
        if before is None:
            return
        yield before
        seen = before


def _source(frame: traceback.FrameSummary) -> str:
    return f"{frame.filename.rpartition('/millrace_runtime/')[2]}:{frame.lineno}"
