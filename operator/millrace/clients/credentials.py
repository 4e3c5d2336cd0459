"""Where the API server is and as whom to log in: the in-cluster service account, else a kubeconfig.

A service account token is a file that the kubelet replaces; it is read again every minute. Kubeconfigs with client
certificates, tokens and token files work; exec plugins do not, and are refused with a message instead of a 401.
"""

from __future__ import annotations

import base64
import ssl
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from millrace import errors

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
REREAD_SECONDS = 60.0


@dataclass(frozen=True)
class Credentials:
    """One API server and one identity. PEM texts, not paths; an empty string means absent."""

    server: str
    ca: str = ""
    certificate: str = ""
    private_key: str = field(default="", repr=False)
    fixed_token: str = field(default="", repr=False)
    token_file: str = ""
    insecure: bool = False
    namespace: str = ""

    def token(self) -> str:
        """The bearer token as of now, or an empty string. Raises CredentialsError if its file cannot be read."""
        if not self.token_file:
            return self.fixed_token
        try:
            return Path(self.token_file).read_text(encoding="ascii").strip()
        except OSError as error:
            raise errors.CredentialsError(
                f"the token file {self.token_file} cannot be read: {error.strerror}"
            ) from error

    def ssl_context(self) -> ssl.SSLContext:
        """TLS settings with the CA and, if there is one, the client certificate."""
        context = ssl.create_default_context(cadata=self.ca or None)
        if self.certificate:
            # Python's ssl loads key pairs from files only.
            with tempfile.TemporaryDirectory() as folder:
                pair = Path(folder, "pair.pem")
                pair.touch(mode=0o600)
                pair.write_text(f"{self.certificate}\n{self.private_key}\n", encoding="ascii")
                context.load_cert_chain(pair)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class Bearer:
    """The Authorization header, its token read again when it is older than a minute or was refused."""

    def __init__(self, credentials: Credentials, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._credentials = credentials
        self._monotonic = monotonic
        self._headers: dict[str, str] = {}
        self._read_at = float("-inf")

    def headers(self) -> dict[str, str]:
        """Headers to send with the next request."""
        now = self._monotonic()
        if now - self._read_at >= REREAD_SECONDS:
            token = self._credentials.token()
            self._headers = {"Authorization": f"Bearer {token}"} if token else {}
            self._read_at = now
        return self._headers

    def expire(self) -> None:
        """The token was refused: read it again before the next request."""
        self._read_at = float("-inf")


def load(environ: Mapping[str, str], service_account: Path = SERVICE_ACCOUNT) -> Credentials:
    """The credentials of this process: KUBECONFIG if set, else the pod's service account, else ``~/.kube/config``.

    Raises CredentialsError with what was looked for, when none of them is there.
    """
    if environ.get("KUBECONFIG"):
        return from_kubeconfig(Path(environ["KUBECONFIG"].split(":")[0]))
    if environ.get("KUBERNETES_SERVICE_HOST") and (service_account / "token").exists():
        return from_service_account(environ, service_account)
    home = Path(environ.get("HOME", "/nonexistent"), ".kube", "config")
    if home.exists():
        return from_kubeconfig(home)
    raise errors.CredentialsError(
        "no cluster to talk to: KUBECONFIG is not set, there is no service account and no ~/.kube/config; "
        "set KUBECONFIG to the path of a kubeconfig"
    )


def from_service_account(environ: Mapping[str, str], folder: Path = SERVICE_ACCOUNT) -> Credentials:
    """What the kubelet mounts into every pod that asks for it."""
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT", "443")
    namespace = folder / "namespace"
    return Credentials(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        ca=(folder / "ca.crt").read_text(encoding="ascii"),
        token_file=str(folder / "token"),
        namespace=namespace.read_text(encoding="utf-8").strip() if namespace.exists() else "",
    )


def from_kubeconfig(path: Path) -> Credentials:
    """The current context of a kubeconfig. Raises CredentialsError if it is unreadable, incomplete or needs a plug-
    in.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        context = _named(config, "contexts", config["current-context"])["context"]
        cluster = _named(config, "clusters", context["cluster"])["cluster"]
        user = _named(config, "users", context["user"]).get("user") or {}
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise errors.CredentialsError(f"the kubeconfig {path} cannot be used: {error}") from error
    if "exec" in user or "auth-provider" in user:
        raise errors.CredentialsError(f"the kubeconfig {path} needs a plug-in to log in; use a token or a certificate")
    token_file = user.get("tokenFile") or ""
    return Credentials(
        server=cluster["server"].rstrip("/"),
        ca=_pem(cluster, "certificate-authority", path),
        certificate=_pem(user, "client-certificate", path),
        private_key=_pem(user, "client-key", path),
        fixed_token=user.get("token") or "",
        token_file=str(path.parent / token_file) if token_file else "",
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        namespace=context.get("namespace") or "",
    )


def _named(config: Mapping[str, Any], section: str, name: str) -> Mapping[str, Any]:
    for entry in config[section]:
        if entry["name"] == name:
            found: Mapping[str, Any] = entry
            return found
    raise KeyError(f"{name} is not among its {section}")


def _pem(section: Mapping[str, Any], name: str, config: Path) -> str:
    data = section.get(f"{name}-data")
    if data:
        return base64.b64decode(data).decode("ascii")
    file = section.get(name)
    return (config.parent / file).read_text(encoding="ascii") if file else ""
