"""Every way in which a request is made wrong; each is a function of a seeded generator and a corpus."""

from __future__ import annotations

import copy
import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from millrace_fuzz_serving.corpus import READ, Corpus, Request, with_tail

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**40, 0.5, -0.0, 1e308, 1e-320, float("nan"),
    float("inf"), "", "0", "NaN", "a" * 300, "\x00", "\ud800", "../../etc/passwd", "é" * 5, [], [[]], [[[1]]], {},
    {"a": 1}, "FP32", "BYTES", "INT64", "churn",
)  # fmt: skip
SHAPES: tuple[Any, ...] = (
    [], [0], [-1], [1], [1, 0], [0, 30], [1, -30], [2**31, 2**31], [2**62, 4], [2**64], [1] * 70, [1.0, 30], ["1", 30],
    [None], [[1]], [True, 30], [30, 1], [10**30, 1],
)  # fmt: skip
HEADERS = (
    "Content-Length", "Transfer-Encoding", "Content-Encoding", "Inference-Header-Content-Length", "Content-Type",
    "Expect", "Connection", "Upgrade", "Host", "Accept-Encoding", "X-Request-Id",
)  # fmt: skip
VALUES = (
    "", "0", "-1", "1", "99999999999999999999", "1e3", "0x10", "+5", " 7", "7 ", "5, 5", "chunked", "gzip",
    "gzip, chunked", "identity", "br", "deflate", "100-continue", "close", "upgrade", "h2c", "\x00", "\x7f", "é",
    "a" * 9000, "NaN",
)  # fmt: skip
ENCODINGS = ("gzip", "deflate", "GZIP", "x-gzip", "gzip, gzip", "br", "", "identity")
INSERTED = ("/", "..", "%2f", "%00", "%", "?", "#", ";", "//", "a" * 500, "\\", "é")
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "FUZZ", "get", "")


@dataclass(frozen=True)
class Case:
    """What is sent on a connection, and what may be expected."""

    kind: str
    wire: bytes
    framed: bool = True
    """Ends where it says it ends, so an answer must come."""
    valid: bool = False
    """Must be answered 200."""


def case(kind: str, number: int, seed: int, corpora: Mapping[str, Corpus], model: str) -> Case:
    """The same for the same arguments."""
    random = Random(f"{seed}/{kind}/{number}")
    return KINDS[kind](random, corpora[model])


def _valid(random: Random, corpus: Corpus) -> Case:
    request = corpus.as_json(random.randrange(50), random.choice((1, 1, 2, 7)))
    form = random.randrange(5)
    if form == 1:
        request = with_tail(*corpus.parts(random.randrange(50), random.choice((1, 3))))
    elif form == 2:
        request.framing, request.chunks = "chunked", tuple(random.randrange(1, 40) for _ in range(5))
    elif form == 3:
        request.body = _gzip(request.body)
        request.header("Content-Encoding", "gzip")
    elif form == 4:
        request.body = zlib.compress(request.body)
        request.header("Content-Encoding", "deflate")
    return Case("valid", request.wire(), valid=True)


def _elements(random: Random, corpus: Corpus) -> Case:
    """One to three places of the JSON object hold something else."""
    found = corpus.objects(random.randrange(50), random.choice((1, 2)))
    if random.random() < 0.5:
        as_bytes = {"binary_data_output": random.random() < 0.5}
        found |= {"id": "f", "parameters": as_bytes, "outputs": [{"name": "label"}]}
    for _ in range(random.randrange(1, 4)):
        _spoil(random, found)
    return Case("elements", _posted(corpus, found))


def _odd(random: Random) -> Any:
    """A value of its own: lists and objects are spoiled further."""
    return copy.deepcopy(random.choice(ODD))


def _spoil(random: Random, found: Any) -> None:
    """Go down by chance, then change, drop or add."""
    at = found
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return
        key = random.choice(keys)
        if isinstance(at[key], dict | list) and at[key] and random.random() < 0.75:
            at = at[key]
            continue
        action = random.randrange(4)
        if action == 0:
            del at[key]
        elif action == 1 and isinstance(at, dict):
            at[random.choice(("data", "shape", "datatype", "name", "parameters", "inputs", "x"))] = _odd(random)
        elif action == 2 and isinstance(at, list):
            at.insert(key, _odd(random))
        else:
            at[key] = _odd(random)
        return


def _shapes(random: Random, corpus: Corpus) -> Case:
    found = corpus.objects(random.randrange(50))
    tensor = random.choice(found["inputs"])
    tensor["shape"] = list(random.choice(SHAPES))
    if random.random() < 0.3:
        tensor["data"] = tensor["data"] * random.randrange(4)
    return Case("shapes", _posted(corpus, found))


def _texts(random: Random, corpus: Corpus) -> Case:
    """Bytes of a JSON body are flipped, cut, doubled, or the body is nested beyond all measure."""
    request = corpus.as_json(random.randrange(50))
    body = bytearray(request.body)
    if random.random() < 0.1:
        depth = random.choice((100, 1023, 1025, 50_000))
        body = bytearray(b'{"inputs": ' + b"[" * depth + b"]" * random.choice((depth, 0)) + b"}")
    else:
        _damage(random, body)
    request.body = bytes(body)
    return Case("texts", request.wire())


def _tails(random: Random, corpus: Corpus) -> Case:
    """Tensors as bytes whose sizes, order, length or bytes are not what they say."""
    head, tail = corpus.parts(random.randrange(50), random.choice((1, 2)))
    length: int | str | None = None
    action = random.randrange(6)
    sizes = [tensor["parameters"] for tensor in head["inputs"]]
    if action == 0:
        random.choice(sizes)["binary_data_size"] = random.choice((*ODD, len(tail) - 1, len(tail) + 1))
    elif action == 1:
        length = random.choice((-1, 0, 1, 10**6, 10**30, "x", "", "1.5", "+1", 40))
    elif action == 2:
        spoiled = bytearray(tail)
        _damage(random, spoiled)
        tail = bytes(spoiled)
    elif action == 3:
        head["inputs"].reverse()
    elif action == 4:
        random.choice(head["inputs"])["shape"] = list(random.choice(SHAPES))
    else:
        _spoil(random, head)
    return Case("tails", with_tail(head, tail, length).wire())


def _bare(random: Random, corpus: Corpus) -> Case:
    """A body that is nothing but bytes, of any number."""
    request = Request(headers=[("Inference-Header-Content-Length", "0")])
    request.body = random.randbytes(random.choice((0, 1, 119, 120, 121, 240, 1000)))
    return Case("bare", request.wire())


def _encodings(random: Random, corpus: Corpus) -> Case:
    """Compressed bodies that are damaged, cut, nested, far too large, or not compressed at all."""
    request = corpus.as_json(random.randrange(50))
    pack = random.choice((_gzip, zlib.compress))
    body = bytearray(pack(request.body if random.random() < 0.9 else bytes(20 * 1024 * 1024)))
    if random.random() < 0.7:
        _damage(random, body)
    request.body = bytes(body)
    request.header("Content-Encoding", random.choice(ENCODINGS))
    return Case("encodings", request.wire())


def _paths(random: Random, corpus: Corpus) -> Case:
    """Any method on any path, near to those that are there."""
    target = random.choice(READ) if random.random() < 0.8 else corpus.as_json(0).target
    for _ in range(random.randrange(3)):
        at = random.randrange(len(target) + 1)
        target = target[:at] + random.choice(INSERTED) + target[at:]
    request = Request(method=random.choice(METHODS[:8]), target=target, body=b"" if random.random() < 0.6 else b"{}")
    return Case("paths", request.wire(), framed=request.method != "CONNECT")


def _heads(random: Random, corpus: Corpus) -> Case:
    """Headers that lie, repeat, contradict each other or are none."""
    request = corpus.as_json(random.randrange(50))
    request.framing = random.choice(("length", "length", "chunked", "none"))
    for _ in range(random.randrange(1, 4)):
        name = random.choice((*HEADERS, "", "a b", "x" * 9000, "é"))
        request.headers.append((name, random.choice(VALUES)))
    if random.random() < 0.1:
        request.headers += [(f"x-{number}", "y") for number in range(random.choice((50, 500)))]
    if random.random() < 0.2:
        request.method = random.choice(METHODS)
    if random.random() < 0.1:
        request.version = random.choice(("HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/9.9", "HTP/1.1", ""))
    return Case("heads", request.wire(), framed=False)


def _wires(random: Random, corpus: Corpus) -> Case:
    """Bytes anywhere in a request are flipped, cut or doubled."""
    request = corpus.as_json(random.randrange(50)) if random.random() < 0.7 else with_tail(*corpus.parts(0))
    if random.random() < 0.4:
        request.framing, request.chunks = "chunked", (random.choice((1, 7, 100)),)
    wire = bytearray(request.wire())
    _damage(random, wire)
    return Case("wires", bytes(wire), framed=False)


def _lines(random: Random, corpus: Corpus) -> Case:
    """Several requests in one go, the last of them cut off or wrong."""
    first = corpus.as_json(random.randrange(50)).wire()
    spoiled = bytearray(corpus.as_json(random.randrange(50)).wire())
    _damage(random, spoiled)
    return Case("lines", first * random.randrange(1, 5) + bytes(spoiled), framed=False)


def _chunks(random: Random, corpus: Corpus) -> Case:
    """A body of a thousand chunks and more, of one byte each."""
    request = corpus.as_json(random.randrange(50), 9)
    request.framing, request.chunks = "chunked", (1,)
    return Case("chunks", request.wire(), valid=True)


def _gzip(data: bytes) -> bytes:
    """Without the time of day."""
    return gzip.compress(data, mtime=0)


def _damage(random: Random, data: bytearray) -> None:
    for _ in range(random.randrange(1, 5)):
        if not data:
            data += random.randbytes(3)
        at = random.randrange(len(data))
        action = random.randrange(5)
        if action == 0:
            data[at] = random.randrange(256)
        elif action == 1:
            del data[at : at + random.randrange(1, 20)]
        elif action == 2:
            data[at:at] = random.randbytes(random.randrange(1, 20))
        elif action == 3:
            data[at:at] = data[at : at + random.randrange(1, 40)]
        else:
            del data[at:]


def _posted(corpus: Corpus, found: Any) -> bytes:
    request = corpus.as_json(0)
    request.body = json.dumps(found).encode("utf-8", "surrogatepass")
    return request.wire()


KINDS: Mapping[str, Callable[[Random, Corpus], Case]] = {
    "valid": _valid,
    "elements": _elements,
    "shapes": _shapes,
    "texts": _texts,
    "tails": _tails,
    "bare": _bare,
    "encodings": _encodings,
    "paths": _paths,
    "heads": _heads,
    "wires": _wires,
    "lines": _lines,
    "chunks": _chunks,
}
WEIGHTS = {"valid": 10, "elements": 25, "shapes": 8, "texts": 10, "tails": 14, "bare": 3, "encodings": 5, "paths": 8,
           "heads": 10, "wires": 10, "lines": 5, "chunks": 1}  # fmt: skip
"""How many of a hundred, about."""
