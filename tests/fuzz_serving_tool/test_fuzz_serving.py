"""Requests are the same for the same seed, end where they say, and a server that does wrong is found out."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import h11
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "runtime" / "serving" / "kit"))

from serving_kit import models

from millrace_fuzz_serving import mutations, run, verdict
from millrace_fuzz_serving.corpus import Corpus
from millrace_fuzz_serving.lanes import Heard
from millrace_fuzz_serving.mutations import Case
from millrace_fuzz_serving.run import Id

NUMBERS = range(30)


@pytest.fixture(scope="session")
def corpora():
    return {"words": Corpus(models.mixed_classifier())}


def test_every_kind_has_its_weight():
    assert set(mutations.WEIGHTS) == set(mutations.KINDS)


@pytest.mark.parametrize("kind", sorted(mutations.KINDS))
def test_a_request_is_the_same_for_its_id_and_another_for_another_seed(corpora, kind):
    def wires(seed):
        return [mutations.case(kind, number, seed, corpora, "words").wire for number in NUMBERS]

    assert wires(0) == wires(0)
    assert wires(0) != wires(1)


@pytest.mark.parametrize("kind", ["valid", "elements", "shapes", "texts", "tails", "bare", "encodings", "chunks"])
def test_a_framed_request_ends_where_it_says(corpora, kind):
    """By another HTTP parser than the server's."""
    for number in NUMBERS:
        case = mutations.case(kind, number, 0, corpora, "words")
        assert case.framed
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(case.wire)
        events = iter(connection.next_event, h11.NEED_DATA)
        assert any(isinstance(event, h11.EndOfMessage) for event in events)
        assert connection.trailing_data[0] == b""


def test_ids_can_be_written_and_read():
    wanted = list(run.ids("words", 500, 0))
    assert len({str(one) for one in wanted}) == 500
    assert [Id.parse(str(one)) for one in wanted] == wanted
    with pytest.raises(ValueError, match="no kind other"):
        Id.parse("words/other/1")


def answer(status, body=b'{"error": "no"}'):
    head = b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
    return Heard((status,), head + body)


GET = b"GET /v2 HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    "case,heard,found",
    [
        (Case("paths", GET), answer(200), ""),
        (Case("paths", GET), answer(404), ""),
        (Case("paths", GET), answer(503), ""),
        (Case("paths", GET), Heard((), b"", refused=True), "crash"),
        (Case("paths", GET), answer(500), "unexpected-5xx"),
        (Case("lines", GET, framed=False), Heard((200, 200, 500), b""), "unexpected-5xx"),
        (Case("paths", GET), Heard((), b""), "no-answer"),
        (Case("heads", GET, framed=False), Heard((), b""), ""),
        (Case("valid", GET, valid=True), answer(400), "refused"),
        (Case("paths", GET), answer(400, b'{"error": "File serve.py"}'), "internals"),
        (Case("paths", GET), answer(400, b'{"detail": "no"}'), "no-error-object"),
        (Case("paths", GET), answer(400, b"Invalid HTTP request received."), ""),
    ],
)
def test_an_answer_may_stand_or_not(case, heard, found):
    assert verdict.fault(case, heard) == found


async def found_by(corpora, answering):
    """The faults of sixty requests to a server of one's own."""
    server = await asyncio.start_server(answering, "127.0.0.1", 0)
    wanted = list(run.ids("words", 60, 0))
    port = server.sockets[0].getsockname()[1]
    try:
        findings = await run.against(port, 0, wanted, 0, corpora, lambda: None)
    finally:
        server.close()
        await server.wait_closed()
    assert findings.requests == 60
    return {fault for _, fault, _ in findings.faults}


@pytest.mark.parametrize(
    "said,found",
    [
        (answer(500).data, {"unexpected-5xx"}),
        (answer(400).data, {"refused"}),
        (b"", {"no-answer"}),
        (answer(400, b"Traceback").data, {"refused", "internals"}),
    ],
)
async def test_a_server_that_does_wrong_is_found_out(corpora, said, found):
    async def answering(reader, writer):
        await reader.read(65536)
        writer.write(said)
        writer.close()

    assert await found_by(corpora, answering) == found
