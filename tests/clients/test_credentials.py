"""Where credentials are found, and what is said when they are not."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from millrace import errors
from millrace.clients import credentials
from millrace.clients.credentials import REREAD_SECONDS, Bearer, Credentials
from millrace_kit.clock import ManualClock


def _kubeconfig(folder: Path, user: dict[str, Any], **cluster: Any) -> Path:
    path = folder / "config"
    path.write_text(
        yaml.safe_dump(
            {
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "ns"}}],
                "clusters": [{"name": "k", "cluster": {"server": "https://example.invalid:6443/", **cluster}}],
                "users": [{"name": "u", "user": user}],
            }
        )
    )
    return path


def test_a_kubeconfig_gives_server_identity_and_namespace(tmp_path: Path) -> None:
    pem = base64.b64encode(b"PEM").decode()
    path = _kubeconfig(tmp_path, {"token": "t", "client-certificate-data": pem}, **{"certificate-authority-data": pem})
    found = credentials.load({"KUBECONFIG": str(path)})
    assert (found.server, found.token(), found.ca, found.certificate, found.namespace) == (
        "https://example.invalid:6443", "t", "PEM", "PEM", "ns",
    )  # fmt: skip


def test_files_in_a_kubeconfig_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("PEM")
    (tmp_path / "token").write_text("t\n")
    path = _kubeconfig(tmp_path, {"tokenFile": "token"}, **{"certificate-authority": "ca.pem"})
    found = credentials.from_kubeconfig(path)
    assert (found.ca, found.token()) == ("PEM", "t")


def test_secrets_do_not_appear_in_the_representation(tmp_path: Path) -> None:
    assert "hidden" not in repr(Credentials(server="https://x", fixed_token="hidden", private_key="hidden"))


def test_a_service_account_is_used_in_a_pod(tmp_path: Path) -> None:
    for name, text in (("token", "t"), ("ca.crt", "PEM"), ("namespace", "ns\n")):
        (tmp_path / name).write_text(text)
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443", "HOME": str(tmp_path)}
    found = credentials.load(environ, tmp_path)
    assert (found.server, found.token(), found.namespace) == ("https://[fd00::1]:443", "t", "ns")


@pytest.mark.parametrize(
    ("user", "says"),
    [({"exec": {"command": "aws"}}, "needs a plug-in"), ({"auth-provider": {}}, "needs a plug-in")],
)
def test_a_kubeconfig_that_needs_a_plug_in_is_refused_in_words(tmp_path: Path, user: dict[str, Any], says: str) -> None:
    with pytest.raises(errors.CredentialsError, match=says):
        credentials.from_kubeconfig(_kubeconfig(tmp_path, user))


@pytest.mark.parametrize("text", ["", "[", "{}", "current-context: c"])
def test_a_broken_kubeconfig_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(errors.CredentialsError, match=str(path)):
        credentials.from_kubeconfig(path)


def test_no_credentials_at_all_names_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(errors.CredentialsError, match="set KUBECONFIG"):
        credentials.load({"HOME": str(tmp_path)}, tmp_path)


def test_a_token_is_read_again_after_a_minute(tmp_path: Path) -> None:
    token, clock = tmp_path / "token", ManualClock()
    token.write_text("one")
    bearer = Bearer(Credentials(server="https://x", token_file=str(token)), clock.monotonic)
    assert bearer.headers() == {"Authorization": "Bearer one"}
    token.write_text("two")
    clock.advance(REREAD_SECONDS - 1)
    assert bearer.headers() == {"Authorization": "Bearer one"}
    clock.advance(1)
    assert bearer.headers() == {"Authorization": "Bearer two"}
