"""Certificates by the openssl program (3.0 or newer): one authority and what it signs. Keys are P-256."""

from __future__ import annotations

import subprocess
from pathlib import Path

from millrace_cluster.failure import ClusterError
from millrace_machine import packages

_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _openssl(*arguments: str) -> None:
    try:
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ClusterError("openssl is not installed", "the cluster's certificates are made with it",
                           packages.install_line(["openssl"]), exit_code=2) from None  # fmt: skip
    if done.returncode:
        raise ClusterError(f"openssl {arguments[0]} failed", done.stderr.strip()[-400:], "openssl version")


class Authority:
    """A certificate authority whose files live in one directory, `ca.crt` and `ca.key` among them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.certificate = directory / "ca.crt"
        self.key = directory / "ca.key"
        self._sign("ca", "/CN=millrace", "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign")

    def issue(self, name: str, subject: str, addresses: tuple[str, ...] = ()) -> tuple[Path, Path]:
        """Sign a certificate for client and server use; return its path and its key's.

        `subject` is in openssl's form, `/O=group/CN=user`; `addresses` in its SAN form, `IP:127.0.0.1` or `DNS:name`.
        """
        extensions = "keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth,serverAuth"
        if addresses:
            extensions += f"\nsubjectAltName={','.join(addresses)}"
        self._sign(name, subject, extensions, "-CA", str(self.certificate), "-CAkey", str(self.key))
        return self.directory / f"{name}.crt", self.directory / f"{name}.key"

    def _sign(self, name: str, subject: str, extensions: str, *signer: str) -> None:
        settings = self.directory / f"{name}.cnf"
        settings.write_text(f"[req]\ndistinguished_name=dn\nx509_extensions=ext\n[dn]\n[ext]\n{extensions}\n")
        certificate, key = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        _openssl("req", "-x509", "-new", *_CURVE, "-config", str(settings), "-days", "3650", "-subj", subject,
                 "-keyout", str(key), "-out", str(certificate), *signer)  # fmt: skip


def make_token_key(path: Path) -> Path:
    """Write a private key that signs service-account tokens."""
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(path))
    path.chmod(0o600)
    return path
