"""The store's credentials, made against a stand-in for one endpoint of the API server, over real HTTP."""

from __future__ import annotations

import errno
import http.server
import json
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.config
import botocore.exceptions
import botocore.session
import pytest
import yaml

import millrace_cluster
from millrace import store_credentials

REASONS = {403: "Forbidden", 404: "NotFound", 409: "AlreadyExists"}


class Secrets(http.server.ThreadingHTTPServer):
    """POST /api/v1/namespaces/NAMESPACE/secrets: 201, 409 when it is there, or the status it is told to give."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.kept: dict[str, dict[str, Any]] = {}
        self.refuse_with = 0
        self.missing: set[str] = set()
        self.tokens: list[str | None] = []


class Handler(http.server.BaseHTTPRequestHandler):
    server: Secrets

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.tokens.append(self.headers["Authorization"])
        name = f"{self.path.partition('?')[0]} {body['metadata']['name']}"
        gone = any(f"/namespaces/{one}/" in self.path for one in self.server.missing)
        status = 404 if gone else self.server.refuse_with or (409 if name in self.server.kept else 201)
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
    for variable in ("ROOT_ACCESS_KEY", "ROOT_SECRET_KEY"):
        monkeypatch.delenv(variable, raising=False)
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


KEPT = "/api/v1/namespaces/millrace-system/secrets millrace-store"


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    for folder in ("data", "accounts"):
        (tmp_path / folder).mkdir()
    return [
        "--secret=millrace-store", "--endpoint=http://millrace-store:7070", "--uri=s3://millrace",
        f"--data={tmp_path / 'data'}", f"--accounts={tmp_path / 'accounts'}", "--namespace=millrace-system",
    ]  # fmt: skip


def of(api: Secrets, namespace: str) -> dict[str, str]:
    found: dict[str, str] = api.kept[f"/api/v1/namespaces/{namespace}/secrets millrace-store"]["stringData"]
    return found


def started_again(monkeypatch: pytest.MonkeyPatch, data: dict[str, str]) -> None:
    """The kubelet puts the Secret into the environment, now that it is there."""
    monkeypatch.setenv("ROOT_ACCESS_KEY", data["AWS_ACCESS_KEY_ID"])
    monkeypatch.setenv("ROOT_SECRET_KEY", data["AWS_SECRET_ACCESS_KEY"])


def test_a_missing_secret_is_made_with_everything_a_client_needs(api: Secrets, arguments: list[str], tmp_path: Path):
    assert store_credentials.main(arguments) == 0
    data = api.kept[KEPT]["stringData"]
    assert data["AWS_ENDPOINT_URL"] == "http://millrace-store:7070"
    assert data.keys() == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION"}
    assert len(data["AWS_SECRET_ACCESS_KEY"]) == 40
    assert (tmp_path / "data" / "millrace").is_dir()
    assert api.tokens == ["Bearer pod-token"]


def test_a_second_pod_leaves_the_first_secret_as_it_is_and_starts_again_with_it(
    api: Secrets, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert store_credentials.main(arguments) == 0
    first = api.kept[KEPT]
    assert store_credentials.main(arguments) == 1
    assert "another pod has just made them" in capsys.readouterr().err
    started_again(monkeypatch, first["stringData"])
    assert store_credentials.main(arguments) == 0
    assert api.kept[KEPT] == first


def test_keys_are_never_the_same_twice():
    made = [store_credentials.make() for _ in range(50)]
    assert len({one.secret for one in made}) == len({one.key for one in made}) == 50


def test_every_namespace_has_keys_of_its_own_which_stay_and_one_that_is_not_there_holds_nobody_up(
    api: Secrets, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert store_credentials.main([*arguments, "--for=ml"]) == 0
    first = of(api, "ml")
    started_again(monkeypatch, of(api, "millrace-system"))
    del api.kept["/api/v1/namespaces/ml/secrets millrace-store"]
    api.missing.add("gone")
    assert store_credentials.main([*arguments, "--for=gone", "--for=ml", "--for=fraud"]) == 0
    assert of(api, "ml") == first, "a Secret that was deleted comes back as it was"
    assert "namespace gone is passed over" in capsys.readouterr().out
    secret = {of(api, namespace)["AWS_SECRET_ACCESS_KEY"] for namespace in ("millrace-system", "ml", "fraud")}
    assert len(secret) == 3


def test_where_the_volume_has_no_room_for_the_rules_of_all_the_first_are_served_and_the_others_named(
    api: Secrets,
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    written: list[bytes] = []

    def ext4(path: Path, attribute: str, value: bytes) -> None:
        if len(value) > 4000:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(value)

    monkeypatch.setattr(store_credentials.os, "setxattr", ext4)
    teams = [f"team-{number}" for number in range(10)]
    assert store_credentials.main([*arguments, *(f"--for={team}" for team in teams)]) == 0
    served = [team for team in teams if f"/api/v1/namespaces/{team}/secrets millrace-store" in api.kept]
    assert served == teams[: len(served)]
    assert 6 <= len(served) < 10
    told = capsys.readouterr().out
    assert [team for team in teams if f"namespace {team} is passed over: the volume" in told] == teams[len(served) :]
    accounts = json.loads((tmp_path / "accounts" / "users.json").read_text())["accessAccounts"]
    assert set(accounts) == {f"namespace-{team}" for team in served}
    assert json.loads(written[-1]) == store_credentials.policy("s3://millrace", served)


@pytest.fixture
def store(api: Secrets, arguments: list[str], tmp_path: Path, unused_tcp_port: int) -> Iterator[Any]:
    """The store itself, started as the chart starts it, and clients with the keys of each namespace."""
    assert store_credentials.main([*arguments, "--for=ml", "--for=fraud"]) == 0
    root = of(api, "millrace-system")
    command = [str(millrace_cluster.binary("versitygw")), f"--port=127.0.0.1:{unused_tcp_port}", "--health=/health",
               "--quiet", f"--iam-dir={tmp_path / 'accounts'}", "posix", str(tmp_path / "data")]  # fmt: skip
    environment = {"ROOT_ACCESS_KEY": root["AWS_ACCESS_KEY_ID"], "ROOT_SECRET_KEY": root["AWS_SECRET_ACCESS_KEY"]}
    url = f"http://127.0.0.1:{unused_tcp_port}"
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until_it_answers(f"{url}/health")
        yield {name: client(url, of(api, name)) for name in ("millrace-system", "ml", "fraud")}
    finally:
        process.kill()
        process.wait()


def until_it_answers(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def client(url: str, keys: dict[str, str]) -> Any:
    config = botocore.config.Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1})
    return botocore.session.Session().create_client(
        "s3", endpoint_url=url, region_name="us-east-1", config=config,
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"], aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
    )  # fmt: skip


def is_refused(act: Any, **arguments: Any) -> bool:
    try:
        act(Bucket="millrace", **arguments)
    except botocore.exceptions.ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"] in (403, 404, 500)
    return False


@pytest.mark.programs
def test_a_namespace_reads_writes_and_lists_what_is_its_own_and_nothing_of_anothers(store: Any):
    ml, fraud = store["ml"], store["fraud"]
    for folder in store_credentials.OWN_FOLDERS:
        key = f"{folder}/ml/a"
        ml.put_object(Bucket="millrace", Key=key, Body=b"mine")
        assert ml.get_object(Bucket="millrace", Key=key)["Body"].read() == b"mine"
        assert ml.list_objects_v2(Bucket="millrace", Prefix=f"{folder}/ml/")["KeyCount"] == 1
        for act, more in (
            (fraud.get_object, {"Key": key}),
            (fraud.put_object, {"Key": key, "Body": b"theirs"}),
            (fraud.delete_object, {"Key": key}),
            (fraud.head_object, {"Key": key}),
            (fraud.list_objects_v2, {"Prefix": f"{folder}/ml/"}),
            (fraud.copy_object, {"Key": f"{folder}/fraud/a", "CopySource": f"millrace/{key}"}),
            (fraud.get_object, {"Key": f"{folder}/fraud/../ml/a"}),
        ):
            assert is_refused(act, **more), act
    for act, more in (
        (ml.put_object, {"Key": "elsewhere", "Body": b""}),
        (ml.put_object, {"Key": "models/ml-2/a", "Body": b""}),
        (ml.list_objects_v2, {}),
        (ml.list_objects_v2, {"Prefix": "models/"}),
        (ml.put_bucket_policy, {"Policy": "{}"}),
        (ml.delete_bucket_policy, {}),
        (ml.get_bucket_policy, {}),
        (ml.delete_bucket, {}),
    ):
        assert is_refused(act, **more), act
    assert store["millrace-system"].list_objects_v2(Bucket="millrace")["KeyCount"] == 3


@pytest.mark.programs
def test_the_pods_of_a_namespace_find_their_way_with_its_keys(store: Any, monkeypatch: pytest.MonkeyPatch):
    from millrace_runtime import store as runtime

    ml = store["ml"]
    for variable, value in (
        ("AWS_ACCESS_KEY_ID", ml._request_signer._credentials.access_key),
        ("AWS_SECRET_ACCESS_KEY", ml._request_signer._credentials.secret_key),
        ("AWS_ENDPOINT_URL", ml.meta.endpoint_url),
    ):
        monkeypatch.setenv(variable, value)
    uri = "s3://millrace/datasets/ml/churn/1/train.parquet"
    runtime.write_bytes(uri, b"rows")
    assert runtime.read_bytes(uri) == b"rows"
    assert runtime.list_files("s3://millrace/datasets/ml/churn/1/") == [uri]
    with runtime.open("s3://millrace/models/ml/churn/model.onnx", "wb") as file:
        file.write(b"x" * 6_000_000)
    with runtime.open("s3://millrace/models/ml/churn/model.onnx") as file:
        assert len(file.read()) == 6_000_000
    with pytest.raises(runtime.StoreMissing):
        runtime.read_bytes("s3://millrace/models/ml/churn/none")
    with pytest.raises(runtime.StoreMissing):
        runtime.list_files("s3://millrace/sources/ml/none/")
    for denied in ("s3://millrace/models/fraud/a", "s3://millrace/elsewhere"):
        with pytest.raises(runtime.StoreDenied):
            runtime.read_bytes(denied)


def test_a_refusal_is_reported_with_the_next_command(
    api: Secrets, arguments: list[str], capsys: pytest.CaptureFixture[str]
):
    api.refuse_with = 403
    assert store_credentials.main(arguments) == 1
    told = capsys.readouterr().err
    assert "403" in told
    assert "Next: kubectl -n millrace-system auth can-i create secrets" in told


def test_an_api_server_that_does_not_answer_is_told(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    unused_tcp_port: int,
):
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "ml"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{unused_tcp_port}"}}],
        "users": [{"name": "u", "user": {"token": "pod-token"}}],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    assert store_credentials.main(arguments) == 1
    assert "Next: kubectl describe pod" in capsys.readouterr().err
