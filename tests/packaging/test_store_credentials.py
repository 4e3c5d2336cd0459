"""The store's credentials, made against a stand-in for one endpoint of the API server, over real HTTP."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from millrace import store_credentials

REASONS = {403: "Forbidden", 409: "AlreadyExists"}


class Secrets(http.server.ThreadingHTTPServer):
    """POST /api/v1/namespaces/NAMESPACE/secrets: 201, 409 when it is there, or the status it is told to give."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.kept: dict[str, dict[str, Any]] = {}
        self.refuse_with = 0
        self.tokens: list[str | None] = []


class Handler(http.server.BaseHTTPRequestHandler):
    server: Secrets

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.tokens.append(self.headers["Authorization"])
        name = f"{self.path.partition('?')[0]} {body['metadata']['name']}"
        status = self.server.refuse_with or (409 if name in self.server.kept else 201)
        if status == 201:
            self.server.kept[name] = body
        answer = json.dumps(body if status == 201 else {"kind": "Status", "reason": REASONS.get(status, "")}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments: object) -> None:
        """Silence."""


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Secrets]:
    with Secrets() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        config = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "ml"}}],
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "users": [{"name": "u", "user": {"token": "pod-token"}}],
        }
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        yield server
        server.shutdown()
        thread.join()


ARGUMENTS = ["--secret=millrace-store", "--endpoint=http://millrace-store:7070"]
KEPT = "/api/v1/namespaces/ml/secrets millrace-store"


def test_a_missing_secret_is_made_with_everything_a_client_needs(api: Secrets, tmp_path: Path):
    assert store_credentials.main([*ARGUMENTS, f"--bucket-directory={tmp_path / 'millrace'}"]) == 0
    data = api.kept[KEPT]["stringData"]
    assert data["AWS_ENDPOINT_URL"] == "http://millrace-store:7070"
    assert data.keys() == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION"}
    assert len(data["AWS_SECRET_ACCESS_KEY"]) == 40
    assert (tmp_path / "millrace").is_dir()
    assert api.tokens == ["Bearer pod-token"]


def test_a_second_pod_leaves_the_first_secret_as_it_is(api: Secrets, tmp_path: Path):
    arguments = [*ARGUMENTS, f"--bucket-directory={tmp_path / 'millrace'}"]
    assert store_credentials.main(arguments) == 0
    first = api.kept[KEPT]
    assert store_credentials.main(arguments) == 0
    assert api.kept[KEPT] == first


def test_keys_are_never_the_same_twice():
    made = [store_credentials.manifest("s", "ml", "http://store")["stringData"] for _ in range(50)]
    assert len({data["AWS_SECRET_ACCESS_KEY"] for data in made}) == 50
    assert len({data["AWS_ACCESS_KEY_ID"] for data in made}) == 50


def test_a_refusal_is_reported_with_the_next_command(api: Secrets, capsys: pytest.CaptureFixture[str]):
    api.refuse_with = 403
    assert store_credentials.main(ARGUMENTS) == 1
    told = capsys.readouterr().err
    assert "403" in told
    assert "Next: kubectl -n ml auth can-i create secrets" in told


def test_an_api_server_that_does_not_answer_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], unused_tcp_port: int
):
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "ml"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{unused_tcp_port}"}}],
        "users": [{"name": "u", "user": {"token": "pod-token"}}],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    assert store_credentials.main(ARGUMENTS) == 1
    assert "Next: kubectl describe pod" in capsys.readouterr().err
