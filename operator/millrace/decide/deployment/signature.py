"""Whether a newer model takes and gives what callers are used to: tensors by name, datatype and shape.

Callers write requests for the stable model's signature. A model with another one answers them 400, or something they
cannot read, however good it is; so it is held before it gets any traffic, until a person says that callers know.
"""

from __future__ import annotations

from collections.abc import Iterator

from millrace.api.deployment_status import DeploymentStatus
from millrace.api.model import Model, Signature, Tensor
from millrace.render import names
from millrace.render.server import Bundle

from . import target
from .observation import Observation


def digest(model: Model | None) -> str | None:
    """Hash of a model's inputs and outputs; their order does not matter."""
    return names.digest(_tensors(model.spec.signature), length=16) if model is not None else None


def change(seen: Observation, state: DeploymentStatus, wanted: Bundle) -> str:
    """What differs from the stable model's inputs and outputs, in words; empty if nothing does, or it is allowed."""
    stable, strategy = state.stable, seen.deployment.spec.strategy
    allowed = strategy.allow_signature_change if strategy is not None else None
    newer = target.model_called(seen, wanted.model)
    if stable is None or newer is None or wanted.model == allowed or stable.digest == wanted.digest:
        return ""
    older = target.model_called(seen, stable.model)
    if older is not None and older.spec.artifact.digest == stable.digest:
        return "; ".join(_differences(older.spec.signature, newer.spec.signature))
    if stable.signature in (None, digest(newer)):
        return ""  # a version that noted no signature served it, and its Model is gone: nothing is known
    return f"other inputs or outputs than {stable.model} had, whose Model is gone"


def noted(seen: Observation, state: DeploymentStatus) -> DeploymentStatus:
    """The memory with the signature of what is stable, as long as its Model tells."""
    stable = state.stable
    model = target.model_called(seen, stable.model) if stable is not None else None
    if stable is None or model is None or model.spec.artifact.digest != stable.digest:
        return state
    return state.model_copy(update={"stable": stable.model_copy(update={"signature": digest(model)})})


def _tensors(signature: Signature) -> dict[str, dict[str, str]]:
    sides = (("input", signature.inputs), ("output", signature.outputs))
    return {side: {one.name: _told(one) for one in tensors} for side, tensors in sides}


def _told(tensor: Tensor) -> str:
    return f"{tensor.datatype} [{', '.join(str(size) for size in tensor.shape)}]"


def _differences(older: Signature, newer: Signature) -> Iterator[str]:
    before, after = _tensors(older), _tensors(newer)
    for side in before:
        for name in sorted({*before[side], *after[side]}):
            old, new = before[side].get(name), after[side].get(name)
            if old is None:
                yield f"{side} {name} {new} is new"
            elif new is None:
                yield f"{side} {name} {old} is gone"
            elif old != new:
                yield f"{side} {name} is {new}, not {old}"
