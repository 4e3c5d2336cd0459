"""An inference from bytes to bytes, whatever carries them: decode, run, encode, count."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import orjson

from millrace.contract.environment import ServerEnvironment
from millrace.contract.profile import Profile
from millrace_runtime.serving import log, tensors
from millrace_runtime.serving.drift import DriftCounters
from millrace_runtime.serving.failure import RequestFailed
from millrace_runtime.serving.session import ModelFailed, Session
from millrace_runtime.serving.telemetry import Telemetry

PLATFORM = "onnx_onnxv1"
INLINE_SECONDS = 0.002
"""A run that should take longer leaves the event loop to health checks and small requests."""


class DataPlane:
    """One ready model."""

    def __init__(self, settings: ServerEnvironment, session: Session, profile: Profile, telemetry: Telemetry) -> None:
        """Raises ServerFailed when profile and model do not fit together."""
        self._settings = settings
        self._session = session
        self._profile = profile
        self._telemetry = telemetry
        self._outputs = {spec.name: index for index, spec in enumerate(session.outputs)}
        self._drift = telemetry.drift = DriftCounters(profile, session.inputs, session.outputs)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inference")
        self._seconds_per_row = 1e-5

    async def infer(self, body: bytes) -> bytes:
        """Answer one request. Raises RequestFailed: 400 for what the caller can mend, 500 for what the model cannot."""
        request = parse(body)
        chosen = self._chosen(request)
        feeds, rows = decode(self._session, request)
        results = await self._run(feeds, rows)
        self._drift.add(feeds, {name: results[index] for name, index in self._outputs.items()}, rows)
        self._telemetry.rows += rows
        return self._encode(request, chosen, results)

    def metadata(self) -> dict[str, Any]:
        """Signature of the model, each input with the names of its features in column order."""
        return {
            "name": self._settings.model_name,
            "versions": [self._settings.model_version],
            "platform": PLATFORM,
            "inputs": [self._input(spec) for spec in self._session.inputs],
            "outputs": [_tensor(spec) for spec in self._session.outputs],
            "properties": {
                "model": self._settings.model,
                "revision": self._settings.revision,
                "digest": self._settings.digest,
            },
        }

    def _input(self, spec: tensors.TensorSpec) -> dict[str, Any]:
        features = sorted((f.index, f.name) for f in self._profile.features if f.input == spec.name)
        named = {"parameters": {"features": [name for _, name in features]}} if features else {}
        return _tensor(spec) | named

    def _chosen(self, request: Mapping[str, Any]) -> list[int]:
        wanted = request.get("outputs")
        if not wanted:
            return list(self._outputs.values())
        if not isinstance(wanted, list) or not all(isinstance(item, dict) for item in wanted):
            raise RequestFailed(400, "outputs: expected a list of objects with a name")
        names = [item.get("name") for item in wanted]
        for name in names:
            if not isinstance(name, str) or name not in self._outputs:
                raise RequestFailed(400, f"outputs: expected some of {', '.join(self._outputs)}, got {name!r}")
        return [self._outputs[name] for name in names]

    async def _run(self, feeds: dict[str, tensors.Array], rows: int) -> list[tensors.Array]:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            if rows * self._seconds_per_row <= INLINE_SECONDS:
                results = self._session.run(feeds)
            else:
                results = await loop.run_in_executor(self._thread, self._session.run, feeds)
        except ModelFailed as error:
            log.write("error", "the model failed on a request", rows=rows, detail=str(error))
            raise RequestFailed(500, "the model failed on this request; the server's log has the detail") from error
        self._seconds_per_row += 0.05 * ((loop.time() - started) / rows - self._seconds_per_row)
        return results

    def _encode(self, request: Mapping[str, Any], chosen: list[int], results: list[tensors.Array]) -> bytes:
        head: dict[str, Any] = {
            "model_name": self._settings.model_name,
            "model_version": self._settings.model_version,
        }
        if "id" in request:
            head["id"] = request["id"]
        head["outputs"] = [tensors.encode(self._session.outputs[index], results[index]) for index in chosen]
        return orjson.dumps(head, option=orjson.OPT_SERIALIZE_NUMPY)


def parse(body: bytes) -> dict[str, Any]:
    """The request as an object with a list of inputs. Raises RequestFailed(400)."""
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        request = _parse_with_nan(body, error)
    if not isinstance(request, dict):
        raise RequestFailed(400, f"expected an inference request as a JSON object, got {type(request).__name__}")
    if not isinstance(request.get("id", ""), str):
        raise RequestFailed(400, f"id: expected a string, got {type(request['id']).__name__}")
    if not isinstance(request.get("inputs"), list):
        raise RequestFailed(400, "inputs: expected a list of tensors")
    return request


def decode(session: Session, request: Mapping[str, Any]) -> tuple[dict[str, tensors.Array], int]:
    """The arrays by input name, and the number of rows they agree on. Raises RequestFailed(400)."""
    given: dict[str, Mapping[str, Any]] = {}
    for tensor in request["inputs"]:
        if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
            raise RequestFailed(400, "inputs: expected objects with a name")
        if tensor["name"] in given:
            raise RequestFailed(400, f"input {tensor['name']}: given twice")
        given[tensor["name"]] = tensor
    wanted = [spec.name for spec in session.inputs]
    if set(given) != set(wanted):
        raise RequestFailed(400, f"inputs: expected {', '.join(wanted)}, got {', '.join(given)[:200] or 'none'}")
    feeds = {spec.name: tensors.decode(spec, given[spec.name]) for spec in session.inputs}
    return feeds, _rows(session, feeds)


def _rows(session: Session, feeds: Mapping[str, tensors.Array]) -> int:
    """Inputs whose first dimension is free have one row per prediction, so they must agree."""
    counts = {spec.name: len(feeds[spec.name]) for spec in session.inputs if spec.shape and spec.shape[0] == -1}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise RequestFailed(400, f"inputs: expected the same number of rows in each, got {told}")
    if counts:
        return next(iter(counts.values()))
    return max((len(array) for array in feeds.values() if np.ndim(array)), default=1)


def _parse_with_nan(body: bytes, refused: Exception) -> Any:
    """NaN and Infinity are not JSON, but Python's json and Triton write them."""
    if b"NaN" in body or b"Infinity" in body:
        try:
            return json.loads(body)
        except ValueError:
            pass
    raise RequestFailed(400, f"expected JSON: {str(refused)[:200]}") from refused


def _tensor(spec: tensors.TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}
