"""A file's bytes, unpacked and as UTF-8, a chunk at a time: however large the file, a few megabytes are held."""

from __future__ import annotations

import bz2
import codecs
import gzip
import itertools
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any

import pyarrow as pa

from millrace.contract.dataset import Compression
from millrace.contract.reasons import Reason
from millrace_runtime.outcome import StageError
from millrace_runtime.snapshot.source import File

CHUNK_BYTES = 4 * 1024 * 1024
_LOOKED_AT = 4096


_MAGIC = {
    b"\x1f\x8b": Compression.GZIP,
    b"BZh": Compression.BZIP2,
    b"\xfd7zXZ\x00": Compression.XZ,
    b"\x28\xb5\x2f\xfd": Compression.ZSTD,
}
_MARKS = (
    (codecs.BOM_UTF8, "UTF-8"),
    (codecs.BOM_UTF32_LE, "UTF-32"),  # begins as the mark of UTF-16 does
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_FAILURES = (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException)


def compression(file: File, asked: Compression | None) -> Compression:
    """What spec.csv.compression says, else what the first bytes say. Raises StageError(SourceMalformed)."""
    with file.path.open("rb") as held:
        first = held.read(8)
    if asked is not None:
        return asked
    if first.startswith(b"PK\x03\x04"):
        raise _refusal(file, "it is a zip archive. Unpack it, or pack its files with gzip")
    return next((kind for magic, kind in _MAGIC.items() if first.startswith(magic)), Compression.NONE)


def encoding(file: File, packed: Compression, asked: str | None) -> str:
    """What spec.csv.encoding says, else what a byte order mark says, else UTF-8. Raises StageError(SourceMalformed)."""
    if asked is not None:
        return asked
    first = _start(_unpacked(file, packed), _LOOKED_AT)
    for mark, name in _MARKS:
        if first.startswith(mark):
            return name
    if b"\0" in first[:_LOOKED_AT]:  # the same however much comes at a time
        raise _refusal(file, "it has bytes of zero, as UTF-16 has. Set spec.csv.encoding")
    return "UTF-8"


def decoded(file: File, packed: Compression, named: str) -> Iterator[bytes]:
    """Yield the text as UTF-8 without a byte order mark.

    UTF-8 is passed on as it is, to be checked where whole lines are at hand. Raises StageError(SourceMalformed).
    """
    if named == "UTF-8":
        chunks = _unpacked(file, packed)
        yield _start(chunks, len(codecs.BOM_UTF8)).removeprefix(codecs.BOM_UTF8)
        yield from chunks
        return
    yield from _transcoded(file, _unpacked(file, packed), named)


def _start(chunks: Iterator[bytes], size: int) -> bytes:
    """The first bytes: at least so many, if there are."""
    first = b""
    while len(first) < size and (more := next(chunks, b"")):
        first += more
    return first


def _transcoded(file: File, chunks: Iterator[bytes], named: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(named)()
    lines, fresh = 1, True
    for chunk in itertools.chain(chunks, [b""]):
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            lines += error.object[: error.start].decode(named, "replace").count("\n")
            raise _refusal(file, f"line {lines} is not {named}. Set spec.csv.encoding") from error
        lines += text.count("\n")
        if text:
            yield (text.removeprefix("\ufeff") if fresh else text).encode("utf-8", "surrogatepass")
            fresh = False


def _unpacked(file: File, packed: Compression) -> Iterator[bytes]:
    try:
        if packed in _JOINED:
            yield from _one_after_another(file, _JOINED[packed])
            return
        with _opened(file, packed) as held:
            while chunk := held.read(CHUNK_BYTES):
                yield bytes(chunk)
    except MemoryError:
        raise
    except _FAILURES as error:
        if packed is Compression.NONE:
            raise
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise _refusal(
            file, f"it cannot be unpacked as {packed}: {said}. Upload it again, or set spec.csv.compression"
        ) from error


def _opened(file: File, packed: Compression) -> IO[bytes] | Any:
    if packed is Compression.GZIP:
        return gzip.open(file.path, "rb")
    if packed is Compression.ZSTD:
        return pa.CompressedInputStream(pa.OSFile(str(file.path)), "zstd")
    return file.path.open("rb")


_JOINED: dict[Compression, Callable[[], Any]] = {
    Compression.BZIP2: bz2.BZ2Decompressor,
    Compression.XZ: lzma.LZMADecompressor,
}


def _one_after_another(file: File, fresh: Callable[[], Any]) -> Iterator[bytes]:
    """What several streams in a row hold. The files of bz2 and lzma end without a word at one that is damaged."""
    with file.path.open("rb") as held:
        packed = held.read(CHUNK_BYTES)
        while packed:
            stream = fresh()
            while not stream.eof:
                if data := stream.decompress(packed, CHUNK_BYTES):
                    yield data
                packed = b"" if stream.eof or not stream.needs_input else held.read(CHUNK_BYTES)
                if not packed and not stream.eof and stream.needs_input:
                    raise EOFError("it ends within a stream")
            packed = _beyond_zeros(stream.unused_data, held)


def _beyond_zeros(packed: bytes, held: IO[bytes]) -> bytes:
    """The next stream's first bytes: zeros fill up what is written in blocks."""
    while not (rest := packed.lstrip(b"\0")):
        packed = held.read(CHUNK_BYTES)
        if not packed:
            return b""
    return rest


def _refusal(file: File, why: str) -> StageError:
    return StageError(Reason.SOURCE_MALFORMED, f"{file.name} is not CSV: {why}.")
