"""How a CSV file is written: what spec.csv says, and the rest found out by looking, or refused.

Compression is told by the first bytes, the encoding by a byte order mark (else it is UTF-8, checked throughout), the
delimiter by giving every record the same number of fields, two or more, with the header's names known to the schema
where two delimiters would do. Nothing is chosen between two readings that both fit.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from millrace.contract.dataset import Compression, Csv, Quote
from millrace.contract.reasons import Reason
from millrace_runtime.discretion import Discretion
from millrace_runtime.outcome import StageError
from millrace_runtime.snapshot import streams, structure
from millrace_runtime.snapshot.source import File

SAMPLE_BYTES = 1024 * 1024
DELIMITERS = (",", ";", "\t", "|")
RARE = (" ", ":", "^", "~", "#", "!", "*", "=")
"""Found nowhere by looking: where they divide every line alike, nothing is assumed."""
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "blank"}
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+([eE][+-]?[0-9]+)?")
_DECIMAL_POINT = re.compile(r"[+-]?[0-9]*\.[0-9]+([eE][+-]?[0-9]+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}[.,][0-9]{3}")
_DECLARATION = re.compile(rb"(?i)sep=(.)\r?(\n|\r|$)")
_HEADER = re.compile(rb'(?:"(?:[^"]|"")*"|[^"\r\n])*')
_WRAPPED = re.compile(r"'[^']*'")


@dataclass(frozen=True)
class Dialect:
    """How one file is written. `skipped` bytes come before the header (after decoding), `first_line` is its line."""

    delimiter: str
    quote: str
    decimal: str
    encoding: str
    compression: Compression
    newline: bytes = b"\n"
    skipped: int = 0
    first_line: int = 1
    names: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """The dialect in words: what the version's report and the status say."""
        mark = _NAMES.get(self.delimiter, f'"{self.delimiter}"')
        quoted = f"quote {self.quote}" if self.quote else "no quotes"
        packed = "" if self.compression is Compression.NONE else f", {self.compression}"
        comma = ", decimal comma" if self.decimal == "," else ""
        return f"{mark}-separated, {quoted}{comma}, {self.encoding}{packed}"


def detect(file: File, asked: Csv, known: Collection[str], discretion: Discretion) -> Dialect:
    """Return the file's dialect; `known` are column names that the header is expected to have.

    Raises StageError(SourceMalformed) where the file can be read in two ways, or in none.
    """
    compression = streams.compression(file, asked.compression)
    encoding = streams.encoding(file, compression, asked.encoding)
    sample, whole = _sample(file, compression, encoding)
    skipped, declared = _preamble(sample)
    body = sample[skipped:]
    newline = _newline(body)
    found = _Sample(file.name, body, newline, whole, discretion.hides_some)
    if not body.strip():
        raise refusal(file.name, "it has no header. Write the columns' names into the first line")
    quote = _quote(found, asked)
    marks = [one for one in DELIMITERS if one != asked.decimal]
    delimiter = asked.delimiter or declared or found.delimiter(marks, quote, known)
    decimal = asked.decimal or found.decimal(delimiter, quote)
    first = structure.line(sample, skipped) + 1
    names = found.names(delimiter, quote, first, known)
    return Dialect(delimiter, quote, decimal, encoding, compression, newline, skipped, first, names)


def refusal(file: str, why: str) -> StageError:
    """A file that is not CSV, and what to do."""
    return StageError(Reason.SOURCE_MALFORMED, f"{file} is not CSV: {why}.")


def _sample(file: File, compression: Compression, encoding: str) -> tuple[bytes, bool]:
    """The first bytes as UTF-8, and whether they are all there is."""
    held = b""
    for chunk in streams.decoded(file, compression, encoding):
        held += chunk
        if len(held) > SAMPLE_BYTES:
            return held[:SAMPLE_BYTES], False
    return held, True


def _newline(body: bytes) -> bytes:
    """What ends the header's line: a carriage return where no line feed follows, else a line feed, after one or not."""
    header = _HEADER.match(body)
    at = header.end() if header is not None else 0
    if body[at : at + 1] in (b"\r", b"\n"):
        return b"\r" if body[at : at + 1] == b"\r" and body[at + 1 : at + 2] != b"\n" else b"\n"
    return b"\n" if b"\n" in body or b"\r" not in body else b"\r"


def _preamble(sample: bytes) -> tuple[int, str]:
    """Bytes of blank lines before the header, and of Excel's own `sep=;`; the delimiter that it names."""
    at = _blank(sample, 0)
    declared = _DECLARATION.match(sample, at)
    if declared is None:
        return at, ""
    return _blank(sample, declared.end()), declared[1].decode("latin-1")


def _blank(sample: bytes, at: int) -> int:
    while (found := re.compile(rb"[ \t]*(\r\n|\n|\r)").match(sample, at)) is not None:
        at = found.end()
    return at


@dataclass(frozen=True)
class _Sample:
    file: str
    data: bytes
    newline: bytes
    whole: bool
    is_discreet: bool
    """Of whose column a field is, is not known yet: none is quoted."""

    def delimiter(self, marks: Sequence[str], quote: str, known: Collection[str]) -> str:
        """The one of the marks that fits. Raises StageError where none or several do."""
        readings = {one: self._counts(one, quote) for one in marks}
        found = [one for one, counts in readings.items() if counts and counts[0] > 1]
        if known:
            named = [one for one in found if set(known) <= set(self._header(one, quote))]
            found = named if len(named) == 1 else found
        if not found:
            self._check_single(readings, quote, known)
            return marks[0]
        if len(found) == 1:
            return found[0]
        fitting = [one for one in found if len(set(readings[one])) == 1]
        if len(fitting) == 1:
            return fitting[0]
        ways = " or ".join(f"{_NAMES[one]} ({readings[one][0]} columns)" for one in fitting or found)
        raise refusal(self.file, f"its delimiter may be {ways}. Set spec.csv.delimiter")

    def _check_single(self, readings: dict[str, list[int]], quote: str, known: Collection[str]) -> None:
        """No delimiter in the header: one column. Raises StageError where lines may well be divided otherwise."""
        hidden = [one for one, counts in readings.items() if len(counts) > 1 and min(counts[1:]) > 1]
        if hidden:
            ways = " or ".join(_NAMES[one] for one in hidden)
            why = f"its first line is one name, but every line below has several fields, separated by {ways}"
            raise refusal(self.file, f"{why}. Name every column, or set spec.csv.delimiter")
        if set(self._header(next(iter(readings)), quote)) <= set(known):
            return
        for mark in RARE:
            counts = self._words() if mark == " " and quote.encode() not in self.data else self._counts(mark, quote)
            if len(counts) > 1 and len(set(counts)) == 1 and counts[0] > 1:
                name = f'"{mark}"' if mark != " " else "blanks"
                why = f"every line may be one field, or {counts[0]} of them, separated by {name}"
                raise refusal(self.file, f'{why}. Set spec.csv.delimiter to {name}, or to "," for one field')

    def _counts(self, delimiter: str, quote: str) -> list[int]:
        """Fields per record that is not blank; of a sample that was cut, the last record is left out."""
        held = structure.of(self.data, quote=quote, delimiter=delimiter, newline=self.newline)
        data = self.data if self.whole or not len(held.ends) else self.data[: int(held.ends[-1]) + 1]
        marks = held.outside(structure.find(data, delimiter))
        return [int(count) for count in structure.records(data, held.ends).fields(marks)]

    def _words(self) -> list[int]:
        """Words per line: columns may be filled up with blanks."""
        data = self.data if self.whole else self.data[: self.data.rfind(self.newline) + 1]
        return [len(line.split()) for line in data.split(self.newline) if line.strip()]

    def _rows(self, delimiter: str, quote: str) -> Iterator[list[str]]:
        text = io.StringIO(self.data.decode("utf-8", "replace"), newline="")
        if quote:
            reader = csv.reader(text, delimiter=delimiter, quotechar=quote)
        else:
            reader = csv.reader(text, delimiter=delimiter, quoting=csv.QUOTE_NONE)
        try:
            yield from reader
        except csv.Error:
            return

    def _header(self, delimiter: str, quote: str) -> list[str]:
        return next(self._rows(delimiter, quote), [])

    def decimal(self, delimiter: str, quote: str) -> str:
        """A comma where it separates neither fields nor thousands, else a point. Raises StageError where unsure."""
        if delimiter == ",":
            return "."
        some_comma, comma = self._fraction(",", _DECIMAL_COMMA, delimiter, quote)
        some_point, point = self._fraction(".", _DECIMAL_POINT, delimiter, quote)
        if (comma and some_point) or (some_point and not point and delimiter == ";"):
            shown = " and ".join(f'"{some}"' for some in (point or some_point, comma or some_comma) if some)
            examples = "" if self.is_discreet else f" ({shown})"
            raise refusal(self.file, f"its decimal mark may be a point or a comma{examples}. Set spec.csv.decimal")
        return "," if comma else "."

    def _fraction(self, mark: str, pattern: re.Pattern[str], delimiter: str, quote: str) -> tuple[str, str]:
        """A field with the mark that may be a number, and one that can be nothing but a fraction; empty: none.

        1,234 may be a thousand and more: only another number of digits, or a leading zero, tells.
        """
        some = ""
        for row in self._rows(delimiter, quote) if mark.encode() in self.data else ():
            for field in row:
                if mark in field and pattern.fullmatch(field.strip()):
                    some = some or field.strip()
                    if not _THOUSANDS.fullmatch(field.strip()):
                        return some, field.strip()
        return some, ""

    def names(self, delimiter: str, quote: str, line: int, known: Collection[str]) -> tuple[str, ...]:
        """The header's fields. Raises StageError for one that looks like a row of data."""
        held = structure.of(self.data, quote=quote, delimiter=delimiter, newline=self.newline)
        if not self.whole and not len(held.ends):
            why = f"line {line}, its header, is longer than {SAMPLE_BYTES >> 20} MiB"
            raise refusal(self.file, f"{why}. Name fewer columns, or set spec.csv.quote")
        names = self._header(delimiter, quote)
        if not names:
            raise refusal(self.file, f"line {line}, its header, cannot be read")
        numbers = all(re.fullmatch(r"[+-]?[0-9]+([.,][0-9]*)?([eE][+-]?[0-9]+)?", name.strip()) for name in names)
        counted = names == [str(number) for number in range(len(names))]
        if numbers and not counted and not set(names) <= set(known):
            why = f"line {line} should name the columns, but holds numbers"
            raise refusal(self.file, f"{why}. Write a line of names above it, or declare these in spec.schema.fields")
        return tuple(names)


def _quote(sample: _Sample, asked: Csv) -> str:
    if asked.quote is not None:
        return "" if asked.quote is Quote.NONE else str(asked.quote)
    header = sample.data.split(sample.newline, 1)[0].decode("utf-8", "replace").strip()
    for delimiter in DELIMITERS:
        if header and all(_WRAPPED.fullmatch(name) for name in header.split(delimiter)):
            return "'"
    return '"'
