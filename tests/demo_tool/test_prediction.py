"""A first prediction that fails ends the demo, and stands in its timeline."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from millrace_demo import prediction
from millrace_demo.kubectl import CommandFailed, Kubectl, TimedOut
from millrace_demo.sources import Sources

GOLDEN: dict[str, Any] = {
    "request": {"inputs": [{"name": "numeric", "datatype": "FP32", "shape": [1, 2], "data": [3.0, 4.0]}]},
    "response": {"outputs": [{"name": "label", "datatype": "INT64", "shape": [1], "data": [1]}]},
    "tolerance": 1e-4,
    "rows": 1,
}
MODEL = {"spec": {"version": "1", "goldenSetUri": "s3://golden.json"}}


class Cluster:
    """In kubectl's place and the store's: a Model, and behind every port-forward this URL."""

    def __init__(self, url: str, models: Callable[[], list[Any]] = lambda: [MODEL]) -> None:
        self.url, self.models = url, models

    def list(self, *_: str) -> Any:
        return self.models()

    def get(self, _: str) -> str:
        return json.dumps(GOLDEN)

    @contextlib.contextmanager
    def port_forward(self, *_: object) -> Iterator[str]:
        yield self.url


@contextlib.contextmanager
def answering(label: int, status: int = 200) -> Iterator[str]:
    """A server whose only answer is that label."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.end_headers()
            outputs = [{"name": "label", "data": [label]}]
            self.wfile.write(json.dumps({"model_version": "1", "outputs": outputs}).encode())

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def probed(cluster: Cluster, seconds: float = 60) -> list[tuple[str, str]]:
    """What the timeline has once the first prediction was waited for. Raises TimedOut with it when that failed."""
    noted: list[tuple[str, str]] = []

    def note(word: str, detail: str) -> None:
        noted.append((word, detail))

    try:
        with prediction.Probe(cast(Kubectl, cluster), cast(Sources, cluster), "visits", note) as probe:
            probe.wait(seconds)
    except TimedOut as error:
        raise TimedOut(f"{noted}: {error}") from None
    return noted


def test_the_answer_of_the_evaluation_is_told_once() -> None:
    with answering(1) as url:
        said = "version 1 answers a test row as it did when it was evaluated"
        assert probed(Cluster(url)) == [("predicted", said)]


def test_another_answer_fails_the_demo_at_once_and_is_told() -> None:
    with (
        answering(0) as url,
        pytest.raises(TimedOut, match=r"\('wrong', .*the first prediction failed: version 1 answers"),
    ):
        probed(Cluster(url))


def test_an_error_of_the_demos_own_fails_it_and_is_told() -> None:
    def broken() -> list[Any]:
        raise AttributeError("'GoldenSet' object has no attribute 'bound'")

    with pytest.raises(TimedOut, match=r"\('unasked', .*the first prediction failed: AttributeError: 'GoldenSet'"):
        probed(Cluster("", broken))


def test_no_answer_in_time_fails_the_demo_with_what_was_in_the_way() -> None:
    with answering(1, 503) as url, pytest.raises(TimedOut, match=r"\('unanswered', .*HTTP Error 503"):
        probed(Cluster(url), 2)


def test_a_cluster_that_does_not_answer_is_asked_again_until_the_time_is_over() -> None:
    def failing() -> list[Any]:
        raise CommandFailed("kubectl get models: refused")

    with pytest.raises(TimedOut, match=r"\('unanswered', .*kubectl get models: refused"):
        probed(Cluster("", failing), 1)
