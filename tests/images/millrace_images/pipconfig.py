"""The host's package index settings as build secrets, so that pip works in a build behind a proxy or an own authority.

Nothing of it is written into a layer or into the checkout.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

KEYS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries")
AUTHORITIES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_MOUNTED_AUTHORITY = "/etc/pip-ca.crt"


def secrets(folder: Path) -> list[str]:
    """Writes pip.conf into `folder` (private, short-lived) and gives the `--secret` options of the build."""
    settings = _settings()
    authority = _authority(settings)
    lines = ["[global]", "disable-pip-version-check = true", "no-input = true"]
    lines += [f"{key} = {settings[key]}" for key in KEYS if settings.get(key)]
    if authority:
        lines.append(f"cert = {_MOUNTED_AUTHORITY}")
    written = folder / "pip.conf"
    written.touch(mode=0o600)
    written.write_text("\n".join(lines) + "\n")
    options = ["--secret", f"id=pip.conf,src={written}"]
    return [*options, "--secret", f"id=ca.crt,src={authority}"] if authority else options


def _settings() -> dict[str, str]:
    """What pip itself reads from its files and environment, without the sections: later ones win, as in pip."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    found: dict[str, str] = {}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        found[key.rpartition(".")[2]] = value.strip().strip("'\"")
    return found


def _authority(settings: dict[str, str]) -> str:
    candidates = [settings.get("cert", ""), *(os.environ.get(name, "") for name in AUTHORITIES)]
    return next((path for path in candidates if path and Path(path).is_file()), "")
