"""What is wrong outside of the schema: names that nothing can be made of, and decisions in another's name."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from . import seeds
from .schema import Manifest

LONGEST = {"Dataset": 52, "TrainingRun": 52, "Model": 63, "Deployment": 45}
"""Of metadata.name, so that names of children fit in 63 characters."""
_BAD = ("7a", "a.b", "Aa", "a_b", "a-", "-a", "ä", "a b", "a/b")

AUTHOR = "alice@example.com"


def names(kind: str) -> Iterator[str]:
    """Names that must be refused."""
    longest = LONGEST[kind]
    suffix = "-7" if kind == "Model" else ""
    yield from (bad + suffix for bad in (*_BAD, "a" * (longest + 1 - len(suffix)), "a" * 254))
    if kind == "Model":
        yield from ("churn", "churn-8", "churn-07", "other-7")


def forgeries() -> Iterator[tuple[str, Manifest, str, str]]:
    """(kind, spec, who creates it, what the refusal must speak of)."""
    model = seeds.SPECS["Model"]["full"]
    for caller, named in (("admin", "bob"), ("bob", "admin"), ("bob", "Bob"), ("bob", "bob ")):
        yield "Model", _decided(model, named), caller, "user"
    for decision in ("Approve", "Revoke"):
        yield "Model", _decided(model, "mallory", decision), "admin", "user"
    yield "Model", _decided(model, AUTHOR), AUTHOR, "spec.provenance.author"


def _decided(model: Manifest, user: str, decision: str = "Approve") -> Manifest:
    return {**copy.deepcopy(model), "approvals": [seeds.approval(decision, user)]}
