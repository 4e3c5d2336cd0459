"""Health, metadata, and what clients read of them."""

from __future__ import annotations

from millrace.conformance.case import Cases, Level, expect
from millrace.conformance.subject import Subject, error, refused

CASES = Cases(Level.SPEC, "inference_rest.md")
case = CASES.case


@case()
def server_live(subject: Subject) -> None:
    """GET v2/health/live is 200"""
    _is_200(subject, "v2/health/live")


@case()
def server_ready(subject: Subject) -> None:
    """GET v2/health/ready is 200"""
    _is_200(subject, "v2/health/ready")


@case()
def model_ready(subject: Subject) -> None:
    """GET v2/models/M/ready is 200"""
    _is_200(subject, f"{subject.path}/ready")


@case()
def model_version_ready(subject: Subject) -> None:
    """GET v2/models/M/versions/V/ready is 200"""
    _is_200(subject, f"{subject.path}/versions/{subject.version}/ready")


@case()
def model_ready_body(subject: Subject) -> None:
    """A model's readiness has its name and "ready": true"""
    found = subject.get(f"{subject.path}/ready").object()
    right = (found.get("name"), found.get("ready")) == (subject.model, True)
    expect(right, f"expected name and ready, got {found}")


@case(Level.CLIENT, "kserve InferenceRESTClient.is_server_live")
def live_body(subject: Subject) -> None:
    """The live answer has "live": true"""
    found = subject.get("v2/health/live").object()
    expect(found.get("live") is True, f'expected "live": true, got {found}')


@case(Level.CLIENT, "kserve InferenceRESTClient.is_server_ready")
def ready_body(subject: Subject) -> None:
    """The ready answer has "ready": true"""
    found = subject.get("v2/health/ready").object()
    expect(found.get("ready") is True, f'expected "ready": true, got {found}')


@case()
def server_metadata(subject: Subject) -> None:
    """Server metadata has name, version and extensions"""
    answer = subject.get("v2")
    expect(answer.status == 200, f"expected 200, got {answer.status}")
    found = answer.object()
    for name in ("name", "version"):
        expect(isinstance(found.get(name), str), f"expected {name} as a string, got {found}")
    extensions = found.get("extensions")
    whole = isinstance(extensions, list) and all(isinstance(one, str) for one in extensions)
    expect(whole, f"expected extensions as a list of strings, got {extensions!r}")


@case()
def model_metadata(subject: Subject) -> None:
    """Model metadata has name, platform and the tensors' names, datatypes and shapes"""
    found = subject.metadata
    expect(found.get("name") == subject.model, f"expected name {subject.model}, got {found.get('name')!r}")
    expect(isinstance(found.get("platform"), str), f"expected platform as a string, got {found.get('platform')!r}")
    expect(subject.inputs() and subject.outputs, "expected inputs and outputs")


@case()
def model_version_metadata(subject: Subject) -> None:
    """GET v2/models/M/versions/V is the same model"""
    answer = subject.get(f"{subject.path}/versions/{subject.version}")
    expect(answer.status == 200, f"expected 200, got {answer.status} {answer.body[:80]!r}")
    expect(answer.object().get("name") == subject.model, f"expected name {subject.model}")


@case()
def json_says_so(subject: Subject) -> None:
    """Metadata come as application/json"""
    kind = subject.get("v2").headers.get("content-type", "none")
    expect(kind.partition(";")[0] == "application/json", f"expected application/json, got {kind}")


@case()
def unknown_model(subject: Subject) -> None:
    """An unknown model is an error with the error object"""
    error(subject.get("v2/models/no-such-model"))


@case(Level.ROBUST)
def unknown_model_is_404(subject: Subject) -> None:
    """An unknown model is 404 for metadata, readiness and inference"""
    refused(subject.get("v2/models/no-such-model"), 404)
    refused(subject.get("v2/models/no-such-model/ready"), 404)
    refused(subject.post("v2/models/no-such-model/infer", subject.request()), 404)


@case(Level.ROBUST)
def unknown_version_is_404(subject: Subject) -> None:
    """An unknown version is 404"""
    assert subject.version
    refused(subject.get(f"{subject.path}/versions/999999"), 404)
    refused(subject.infer(subject.request(), f"{subject.path}/versions/999999"), 404)


@case(Level.ROBUST)
def unknown_path_is_404(subject: Subject) -> None:
    """A path that is not the protocol's is 404"""
    refused(subject.get("v2/no-such-path"), 404)


@case(Level.ROBUST)
def wrong_method_is_405(subject: Subject) -> None:
    """GET of an inference is 405"""
    refused(subject.get(f"{subject.path}/infer"), 405)


def _is_200(subject: Subject, path: str) -> None:
    answer = subject.get(path)
    expect(answer.status == 200, f"expected 200, got {answer.status} {answer.body[:80]!r}")
