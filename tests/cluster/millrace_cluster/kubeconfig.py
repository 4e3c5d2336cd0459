"""Kubeconfig files, written as JSON (which is YAML)."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any


def _inline(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def write(path: Path, server: str, authority: Path, users: dict[str, dict[str, Any]], name: str = "millrace") -> Path:
    """Write a kubeconfig with one context per user, the first being current; file mode 0600."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": _inline(authority)}}],
        "users": [{"name": user, "user": credential} for user, credential in users.items()],
        "contexts": [{"name": user, "context": {"cluster": name, "user": user}} for user in users],
        "current-context": next(iter(users)),
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(document, indent=1))
    return path


def certificate_user(certificate: Path, key: Path) -> dict[str, Any]:
    """A user entry that presents a client certificate, embedded in the file."""
    return {"client-certificate-data": _inline(certificate), "client-key-data": _inline(key)}
