"""What a caller sends comes back in no refusal, and stands in no log and no metric: a server knows no roles."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving_kit import models, process

TEXT, NUMBER = "zq7marked", 7319462
MARKERS = (TEXT, str(NUMBER)[:6], f"{NUMBER:e}"[:6])
INFER = "/v2/models/churn/infer"
Request = dict[str, Any]


def with_value(request: Request, value: Any, at: int = 0) -> Request:
    """The same with another value of the first row."""
    changed: Request = json.loads(json.dumps(request))
    changed["inputs"][at]["data"][0] = value
    return changed


def with_data(request: Request, data: Any, at: int = 0) -> Request:
    changed: Request = json.loads(json.dumps(request))
    changed["inputs"][at]["data"] = data
    return changed


def searched(server: process.Server, *answers: process.Answer) -> None:
    pages = [server.get(path).body.decode() for path in ("/metrics", "/v2/models/churn", "/v2/models/stats")]
    outputs = [*(answer.body.decode() for answer in answers), *pages, server.log()]
    assert [(marker, text[:200]) for text in outputs for marker in MARKERS if marker in text] == []


@pytest.mark.parametrize("value", [TEXT, [TEXT], {"is": TEXT}, True, None])
def test_a_value_of_the_wrong_kind_is_told_by_kind_and_place(
    mixed_server: process.Server, mixed: models.Model, value: Any
) -> None:
    answer = mixed_server.infer(with_value(mixed.rows(0, 1), value))
    assert answer.status == (200 if value is None else 400)
    searched(mixed_server, answer)


@pytest.mark.parametrize("value", [NUMBER, NUMBER + 0.5, {"is": TEXT}, True, None])
def test_a_text_of_the_wrong_kind_is_told_by_kind_and_place(
    mixed_server: process.Server, mixed: models.Model, value: Any
) -> None:
    answer = mixed_server.infer(with_value(mixed.rows(0, 1), value, at=1))
    assert answer.status == 400
    assert " at element 0" in answer.json()["error"]
    searched(mixed_server, answer)


@pytest.mark.parametrize("data", [TEXT, {"is": TEXT}, [TEXT] * 99, [[TEXT], [TEXT]], [[[TEXT]]]])
def test_data_of_the_wrong_shape_are_told_by_their_shape(
    mixed_server: process.Server, mixed: models.Model, data: Any
) -> None:
    answer = mixed_server.infer(with_data(mixed.rows(0, 1), data, at=1))
    assert answer.status == 400
    searched(mixed_server, answer)


@pytest.mark.parametrize(
    "body", [f'{{"inputs": {TEXT}', f'"{TEXT}"', f'["{TEXT}"]', f'{{"inputs": [NaN, {TEXT}]}}', TEXT]
)
def test_a_body_that_is_no_request_is_told_by_where_it_ends_to_be_one(mixed_server: process.Server, body: str) -> None:
    answer = mixed_server.infer(body.encode())
    assert answer.status == 400
    searched(mixed_server, answer)


def test_bytes_of_a_text_are_not_shown(mixed_server: process.Server, mixed: models.Model) -> None:
    request = mixed.rows(0, 1)
    data = TEXT.encode() + b"\xff"
    request["inputs"][1] = {**request["inputs"][1], "parameters": {"binary_data_size": 4 + len(data)}}
    del request["inputs"][1]["data"]
    head = json.dumps(request).encode()
    length = {"inference-header-content-length": str(len(head))}
    answer = mixed_server.call("POST", INFER, head + len(data).to_bytes(4, "little") + data, length)
    assert answer.status == 400
    searched(mixed_server, answer)


def test_a_text_never_seen_in_training_is_answered_and_counted_without_a_word(
    mixed_server: process.Server, mixed: models.Model
) -> None:
    answer = mixed_server.infer(with_value(mixed.rows(0, 1), TEXT, at=1))
    assert answer.status == 200
    searched(mixed_server, answer)


@pytest.fixture
def gathering(tmp_path: Path) -> Iterator[process.Server]:
    """A model that reads a value as an index: the runtime quotes what is out of its bounds."""
    with process.start(models.gather(), tmp_path, log_level="debug") as running:
        yield running.wait_ready()


def test_what_a_model_fails_on_is_told_by_its_node(gathering: process.Server) -> None:
    answer = gathering.infer(with_value(models.gather().rows(0, 1), NUMBER / 1000))
    assert answer.status == 500
    assert "Gather" in gathering.log()
    searched(gathering, answer)
