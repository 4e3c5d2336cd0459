"""The Open Inference Protocol v2 over REST, against a real server process."""

from __future__ import annotations

import json

import numpy as np
import pytest

import millrace

MODEL = "/v2/models/churn"
VERSION = "/v2/models/churn/versions/7"


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_server_metadata_has_name_version_and_extensions(server, path):
    answer = server.get(path)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert (answer.json()["name"], answer.json()["version"]) == ("millrace", millrace.__version__)
    assert answer.json()["extensions"] == ["binary_tensor_data", "model_repository", "statistics"]


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready"])
def test_health_says_live_and_ready_to_every_client(server, path):
    answer = server.get(path)
    assert (answer.status, answer.json()) == (200, {"live": True, "ready": True})


@pytest.mark.parametrize("base", [MODEL, VERSION])
def test_the_model_is_ready_under_its_name_and_version(server, base):
    assert server.get(f"{base}/ready").json() == {"name": "churn", "ready": True}


@pytest.mark.parametrize("base", [MODEL, VERSION])
def test_model_metadata_has_the_signature_and_names_features_in_column_order(server, classifier, base):
    metadata = server.get(base).json()
    assert (metadata["name"], metadata["versions"], metadata["platform"]) == ("churn", ["7"], "onnx_onnxv1")
    (numeric,) = metadata["inputs"]
    assert (numeric["name"], numeric["datatype"], numeric["shape"]) == ("numeric", "FP32", [-1, 30])
    assert numeric["parameters"]["features"][:2] == ["mean radius", "mean texture"]
    assert len(numeric["parameters"]["features"]) == 30
    assert metadata["outputs"] == [
        {"name": "label", "datatype": "INT64", "shape": [-1]},
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, 2]},
    ]
    assert metadata["properties"]["digest"] == classifier.digest


def test_models_can_be_listed(server):
    (model,) = server.get("/v2/models").json()["models"]
    assert model == {"name": "churn", "version": "7", "platform": "onnx_onnxv1", "ready": True}


@pytest.mark.parametrize("base", [MODEL, VERSION])
def test_an_inference_answers_as_onnxruntime_does(server, classifier, base):
    answer = server.infer(classifier.rows(0, 5), f"{base}/infer")
    assert answer.status == 200
    body = answer.json()
    assert (body["model_name"], body["model_version"]) == ("churn", "7")
    assert "id" not in body
    label, probabilities = classifier.expected(0, 5)
    assert [(output["name"], output["shape"]) for output in body["outputs"]] == [
        ("label", [5]),
        ("probabilities", [5, 2]),
    ]
    assert body["outputs"][0]["data"] == label.tolist()
    np.testing.assert_allclose(body["outputs"][1]["data"], probabilities.reshape(-1), atol=1e-6)


def test_strings_and_missing_values_are_understood(mixed_server, mixed):
    body = mixed_server.infer(mixed.rows(0, 60)).json()
    label, probabilities = mixed.expected(0, 60)
    assert body["outputs"][0]["datatype"] == "BYTES"
    assert body["outputs"][0]["data"] == label.tolist()
    np.testing.assert_allclose(body["outputs"][1]["data"], probabilities.reshape(-1), atol=1e-6)


def test_the_request_id_comes_back(server, classifier):
    assert server.infer({"id": "a-1", **classifier.rows(0, 1)}).json()["id"] == "a-1"


def test_outputs_are_those_asked_for_in_that_order(server, classifier):
    rows = classifier.rows(0, 2)
    names = ["probabilities", "label"]
    body = server.infer({**rows, "outputs": [{"name": name} for name in names]}).json()
    assert [output["name"] for output in body["outputs"]] == names
    body = server.infer({**rows, "outputs": [{"name": "label"}]}).json()
    assert [output["name"] for output in body["outputs"]] == ["label"]


def test_nested_data_mean_the_same_as_flat_data(server, classifier):
    flat = classifier.rows(0, 3)
    nested = json.loads(json.dumps(flat))
    data = nested["inputs"][0]["data"]
    nested["inputs"][0]["data"] = [data[0:30], data[30:60], data[60:90]]
    assert server.infer(nested).json() == server.infer(flat).json()


def test_null_and_the_token_nan_are_missing_numbers(mixed_server, mixed):
    with_null = mixed.rows(1, 2)
    with_null["inputs"][0]["data"][0] = None
    with_token = json.dumps(with_null).replace("null", "NaN").encode()
    assert b"NaN" in with_token
    by_null, by_token = mixed_server.infer(with_null), mixed_server.infer(with_token)
    assert (by_null.status, by_token.status) == (200, 200)
    assert by_null.json() == by_token.json()


def test_head_is_answered_without_a_body(server):
    answer = server.call("HEAD", "/v2/health/ready")
    assert (answer.status, answer.body) == (200, b"")


def test_a_chunked_body_is_read_whole(server, classifier):
    import http.client

    body = json.dumps(classifier.rows(0, 2)).encode()
    connection = http.client.HTTPConnection("127.0.0.1", server.settings.port, timeout=10)
    parts = (body[start : start + 100] for start in range(0, len(body), 100))
    connection.request("POST", f"{MODEL}/infer", parts, {"content-type": "application/json"}, encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == 200
    assert json.loads(answer.read()) == server.infer(classifier.rows(0, 2)).json()
    connection.close()


@pytest.mark.parametrize(
    "method,path,status,words",
    [
        ("GET", "/", 404, "under /v2"),
        ("GET", "/v1/models/churn:predict", 404, "under /v2"),
        ("GET", "/v2/models/chur", 404, "no model 'chur' here; this server has churn"),
        ("POST", "/v2/models/other/infer", 404, "no model 'other'"),
        ("POST", "/v2/models/churn/versions/8/infer", 404, "no version '8' of churn here; this server has 7"),
        ("GET", "/v2/models/..%2f..%2fetc/ready", 404, "no model"),
        ("POST", "/v2/health/ready", 405, "expected GET"),
        ("DELETE", "/v2/models/churn", 405, "expected GET"),
        ("GET", "/v2/models/churn/infer", 405, "expected POST"),
        ("PUT", "/v2/models/churn/versions/7/infer", 405, "expected POST"),
    ],
)
def test_what_is_not_there_is_said_so(server, method, path, status, words):
    answer = server.call(method, path)
    assert answer.status == status
    assert set(answer.json()) == {"error"}
    assert words in answer.json()["error"]
    if status == 405:
        assert answer.headers["allow"] == ("POST" if path.endswith("infer") else "GET, HEAD")
