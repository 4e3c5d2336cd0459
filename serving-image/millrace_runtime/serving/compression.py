"""Bodies that came compressed (RFC 9110, section 8.4.1), inflated no further than a limit."""

from __future__ import annotations

import zlib

from millrace_runtime.serving.failure import RequestFailed

_WINDOWS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
"""zlib's `wbits`: 16 more for gzip's header; deflate is the zlib format (RFC 1950)."""


def inflate(body: bytes, encoding: bytes, limit: int) -> bytes:
    """The body as it was. Raises RequestFailed: 400 when damaged, 413 over the limit, 415 for another encoding."""
    coding = encoding.strip().lower()
    if coding in (b"", b"identity"):
        return body
    if coding not in _WINDOWS:
        shown = coding[:40].decode("ascii", "replace")
        raise RequestFailed(415, f"expected a body encoded as gzip, deflate or identity, got {shown!r}")
    stream = zlib.decompressobj(_WINDOWS[coding])
    try:
        inflated = stream.decompress(body, limit + 1)
    except zlib.error as error:
        raise RequestFailed(400, f"expected a body encoded as {coding.decode()}, got bytes that are not") from error
    if len(inflated) > limit:
        raise RequestFailed(413, f"expected a body of at most {limit} bytes, got one that inflates to more")
    if not stream.eof or stream.unused_data:
        raise RequestFailed(400, f"expected one whole {coding.decode()} stream, got {_amiss(stream.eof)}")
    return inflated


def _amiss(ended: bool) -> str:
    return "bytes behind its end" if ended else "a part of one"
