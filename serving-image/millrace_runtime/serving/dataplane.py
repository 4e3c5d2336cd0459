"""An inference between arrays, whatever carries them: run, count rows and drift."""

from __future__ import annotations

import asyncio
from typing import Any

from millrace.contract.environment import ServerEnvironment
from millrace.contract.profile import Profile
from millrace_runtime.serving import log, tensors
from millrace_runtime.serving.batching import Batcher, Late
from millrace_runtime.serving.drift import DriftCounters
from millrace_runtime.serving.failure import RequestFailed
from millrace_runtime.serving.inference import Request
from millrace_runtime.serving.session import ModelFailed, Session
from millrace_runtime.serving.telemetry import Telemetry

PLATFORM = "onnx_onnxv1"


class DataPlane:
    """One ready model."""

    def __init__(
        self, settings: ServerEnvironment, session: Session, profile: Profile, telemetry: Telemetry, *, joins: bool
    ) -> None:
        """Raises ServerFailed when profile and model do not fit together. ``joins``: may requests share a run?"""
        self.signature = session.signature
        self._settings = settings
        self._profile = profile
        self._telemetry = telemetry
        self._drift = telemetry.drift = DriftCounters(profile, self.signature.inputs, self.signature.outputs)
        self._batcher = Batcher(session, telemetry.statistics, self._count, joins=joins)

    async def infer(self, request: Request) -> list[tensors.Array]:
        """Every output, in the order of the signature.

        Raises RequestFailed 500 for what the model cannot compute, 503 for what it could not begin in time.
        """
        found: asyncio.Future[list[tensors.Array] | ModelFailed | Late] = asyncio.get_running_loop().create_future()

        def done(results: list[tensors.Array] | ModelFailed | Late) -> None:
            if not found.done():  # whoever waited is gone
                found.set_result(results)

        self._batcher.submit(request.feeds, request.rows, done, request.timeout_us)
        results = await found
        if isinstance(results, Late):
            raise RequestFailed(503, f"busy: the model was not free within {request.timeout_us} microseconds")
        if isinstance(results, ModelFailed):
            log.write("error", "the model failed on a request", rows=request.rows, detail=str(results))
            raise RequestFailed(500, "the model failed on this request; the server's log has the detail")
        return results

    def _count(self, feeds: dict[str, tensors.Array], results: list[tensors.Array], rows: int) -> None:
        self._drift.add(feeds, {name: results[index] for name, index in self.signature.output_index.items()}, rows)

    def metadata(self) -> dict[str, Any]:
        """Signature of the model, each input with the names of its features in column order."""
        return {
            "name": self._settings.model_name,
            "versions": [self._settings.model_version],
            "platform": PLATFORM,
            "inputs": [self._input(spec) for spec in self.signature.inputs],
            "outputs": [tensors.described(spec, spec.shape) for spec in self.signature.outputs],
            "properties": {
                "model": self._settings.model,
                "revision": self._settings.revision,
                "digest": self._settings.digest,
            },
        }

    def _input(self, spec: tensors.TensorSpec) -> dict[str, Any]:
        features = sorted((f.index, f.name) for f in self._profile.features if f.input == spec.name)
        named = {"parameters": {"features": [name for _, name in features]}} if features else {}
        return tensors.described(spec, spec.shape) | named
