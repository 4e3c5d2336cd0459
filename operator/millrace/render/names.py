"""Deterministic names of everything the operator makes. At most 63 characters each."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def digest(*parts: Any, length: int = 8) -> str:
    """First hex digits of SHA-256 over the canonical JSON of the parts."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def snapshot_job(dataset: str, uid: str, attempt: str) -> str:
    """The Job that looks at a Dataset's source once."""
    return f"{dataset[:45]}-snapshot-{digest(uid, attempt)}"


def erase_job(dataset: str, uid: str, *attempt: Any) -> str:
    """The Job that erases files of what was deleted."""
    return f"{dataset[:45]}-erase-{digest(uid, *attempt)}"


def training_job(run: str, uid: str) -> str:
    """The Job of a TrainingRun; the UID keeps a run that was deleted and made again apart."""
    return f"{run}-{digest(uid)}"


def revision(model_digest: str, template: Any) -> str:
    """A served revision: these bytes under this server template."""
    return digest(model_digest, template)


def server(deployment: str, revision_id: str) -> str:
    """Workload and headless Service of one revision."""
    return f"{deployment}-{revision_id}"


def router(deployment: str) -> str:
    """Workload and ConfigMap of the router."""
    return f"{deployment}-router"


def clone(deployment: str, uid: str, trigger: str, cause: str, attempt: int) -> str:
    """A retraining run: the same answer to the same cause has the same name, so it is made once.

    `attempt` counts the answers before. At most 52 characters, which is what a TrainingRun's name may have.
    """
    return f"{deployment[:34].rstrip('-')}-{trigger[:8].rstrip('-')}-{digest(uid, cause, attempt)}"


def quarantine(model_digest: str, *cause: Any) -> str:
    """What is written when these bytes are condemned by this cause."""
    return f"millrace-quarantine-{short(model_digest)}-{digest(*cause, length=16)}"


def release(model_digest: str, *cause: Any) -> str:
    """What is written when these bytes are let go by this request."""
    return f"millrace-release-{short(model_digest)}-{digest(*cause, length=16)}"


def short(model_digest: str) -> str:
    """The beginning of a digest: as much as a name or a label has room for."""
    return model_digest.removeprefix("sha256:")[:16]


def model(model_name: str, version: int) -> str:
    """One version of a registered model."""
    return f"{model_name}-{version}"
