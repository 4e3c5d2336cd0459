"""The model's three files: fetched by the init container, read by the server, checked against the digest by both."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from millrace.contract.environment import GOLDEN_FILE, MODEL_FILE, PROFILE_FILE, ServerEnvironment
from millrace.contract.golden import GoldenSet
from millrace.contract.profile import Profile
from millrace.contract.reasons import Reason
from millrace.contract.record import MalformedRecord
from millrace_runtime.serving.failure import ServerFailed

_DIGEST = re.compile(r"^sha256[:-]([0-9a-f]{16,64})$")


def fetch(settings: ServerEnvironment) -> int:
    """Copy model, golden set and profile into the model directory; return the model's size in bytes.

    Raises ServerFailed when the store has not got them, does not answer, or has other bytes than were approved: only
    the last says anything about the model.
    """
    from millrace_runtime import store

    directory = Path(settings.model_dir)
    files = {
        MODEL_FILE: settings.model_uri,
        GOLDEN_FILE: settings.golden_uri,
        PROFILE_FILE: settings.profile_uri,
    }
    size = 0
    for name, uri in files.items():
        try:
            data = store.read_bytes(uri)
        except store.StoreDenied as error:
            raise ServerFailed(Reason.STORE_DENIED, str(error)) from error
        except store.StoreMissing as error:
            raise ServerFailed(Reason.MODEL_NOT_FOUND, str(error)) from error
        except store.StoreError as error:
            raise ServerFailed(Reason.STORE_UNAVAILABLE, str(error)) from error
        if name == MODEL_FILE:
            check_digest(data, settings.digest)
            size = len(data)
        partial = directory / f".{name}"
        partial.write_bytes(data)
        partial.replace(directory / name)
    return size


def check_digest(data: bytes, digest: str) -> None:
    """Raises ServerFailed(DigestMismatch) unless the SHA-256 of the bytes begins with the digest's digits."""
    match = _DIGEST.match(digest)
    if match is None:
        raise ServerFailed(Reason.DIGEST_MISMATCH, f"the approved digest is not a SHA-256 digest: {digest!r}")
    found = hashlib.sha256(data).hexdigest()
    if not found.startswith(match[1]):
        raise ServerFailed(Reason.DIGEST_MISMATCH, f"approved was sha256:{match[1]}, the file is sha256:{found}")


def read_model(settings: ServerEnvironment) -> bytes:
    """The ONNX file's bytes, checked. Raises ServerFailed."""
    path = Path(settings.model_dir) / MODEL_FILE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ServerFailed(Reason.MODEL_NOT_FOUND, f"cannot read {path}: {error.strerror}") from error
    check_digest(data, settings.digest)
    return data


def read_golden(settings: ServerEnvironment) -> GoldenSet:
    """The golden set. Raises ServerFailed(GoldenSetMismatch) when there is none that can be read."""
    path = Path(settings.model_dir) / GOLDEN_FILE
    try:
        return GoldenSet.from_json(path.read_bytes())
    except (OSError, MalformedRecord) as error:
        raise ServerFailed(Reason.GOLDEN_SET_MISMATCH, f"the golden set cannot be read: {error}") from error


def read_profile(settings: ServerEnvironment) -> Profile:
    """The reference profile. Raises ServerFailed(ModelNotLoadable) when there is none that can be read."""
    path = Path(settings.model_dir) / PROFILE_FILE
    try:
        return Profile.from_json(path.read_bytes())
    except (OSError, MalformedRecord) as error:
        raise ServerFailed(Reason.MODEL_NOT_LOADABLE, f"the reference profile cannot be read: {error}") from error
