"""Answers of an ONNX model, computed in a process of its own.

A hostile or broken model can crash the runtime or eat all memory; the evaluator must live to say so. The process gets
no credentials, a memory limit below the container's, and speaks by files: inputs and answers as .npz without pickles.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from millrace.contract.environment import PROTECTIVE
from millrace.contract.report import Signature, Tensor
from millrace_runtime import datatypes
from millrace_runtime.training.features import Tensors

BATCH_ROWS = 1024
TIMEOUT_SECONDS = 600
_FAILED = 3
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class ScoringError(Exception):
    """The model did not answer; the message is one sentence. `loaded` says whether it got as far as being loaded."""

    def __init__(self, message: str, *, loaded: bool = True) -> None:
        super().__init__(message)
        self.loaded = loaded


@dataclass(frozen=True)
class Answers:
    """The model's signature, and its outputs per named set of rows."""

    signature: Signature
    outputs: Mapping[str, Tensors]


def score(model: bytes, sets: Mapping[str, Tensors]) -> Answers:
    """Run the model over each set of rows. Raises ScoringError."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        (folder / "model.onnx").write_bytes(model)
        flat = {f"{name}/{key}": _storable(tensor) for name, tensors in sets.items() for key, tensor in tensors.items()}
        np.savez(folder / "inputs.npz", allow_pickle=False, **flat)
        _run_child(folder)
        signature = Signature.from_json((folder / "signature.json").read_bytes())
        with np.load(folder / "outputs.npz", allow_pickle=False) as held:
            loaded = {key: held[key] for key in held.files}
    outputs: dict[str, Tensors] = {name: {} for name in sets}
    for key, tensor in loaded.items():
        name, output = key.split("/", 1)
        outputs[name][output] = tensor.astype(object) if tensor.dtype.kind == "U" else tensor
    return Answers(signature, outputs)


def _run_child(folder: pathlib.Path) -> None:
    keep = {key: os.environ[key] for key in ("PATH", "PYTHONPATH", "LANG", "TMPDIR") if key in os.environ}
    command = [sys.executable, "-m", "millrace_runtime.training.scoring", str(folder)]
    try:
        done = subprocess.run(  # noqa: S603 - our own module, no shell, no user input
            command, env=keep | PROTECTIVE, capture_output=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ScoringError(f"the model did not answer within {TIMEOUT_SECONDS} s") from error
    if done.returncode == 0:
        return
    if done.returncode == _FAILED:
        said = json.loads((folder / "failure.json").read_bytes())
        raise ScoringError(str(said["message"]), loaded=bool(said["loaded"]))
    how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
    raise ScoringError(f"the model crashed the ONNX runtime ({how})", loaded=False)


def _storable(tensor: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return tensor.astype(np.str_) if tensor.dtype == object else tensor


def _child(folder: pathlib.Path) -> int:
    """The other process: loads the model, runs every set, writes signature.json and outputs.npz, or failure.json."""
    _limit_memory()
    loaded = False
    try:
        session = _session(folder / "model.onnx")
        loaded = True
        signature = _signature(session)
        (folder / "signature.json").write_text(signature.to_json(), encoding="utf-8")
        with np.load(folder / "inputs.npz", allow_pickle=False) as held:
            answers = _answers(session, {key: held[key] for key in held.files}, signature)
        np.savez(folder / "outputs.npz", allow_pickle=False, **answers)
    except Exception as error:  # noqa: BLE001 - whatever a hostile model makes the runtime raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        failure = {"message": lines[0][:300], "loaded": loaded}
        (folder / "failure.json").write_text(json.dumps(failure), encoding="utf-8")
        return _FAILED
    return 0


def _session(path: pathlib.Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _signature(session: Any) -> Signature:
    return Signature(tuple(map(_tensor, session.get_inputs())), tuple(map(_tensor, session.get_outputs())))


def _tensor(described: Any) -> Tensor:
    datatype = datatypes.OF_ONNXRUNTIME.get(described.type)
    if datatype is None:
        raise ValueError(f"{described.name} is a {described.type}, which the inference protocol cannot carry")
    shape = tuple(size if isinstance(size, int) else -1 for size in described.shape)
    return Tensor(described.name, datatype, shape)


def _answers(session: Any, inputs: Tensors, signature: Signature) -> Tensors:
    answers: Tensors = {}
    wanted = [tensor.name for tensor in signature.outputs]
    for name in sorted({key.split("/", 1)[0] for key in inputs}):
        rows = {key.split("/", 1)[1]: value for key, value in inputs.items() if key.startswith(f"{name}/")}
        _check_inputs(signature, rows)
        rows = {key: value.astype(object) if value.dtype.kind == "U" else value for key, value in rows.items()}
        count = len(next(iter(rows.values())))
        batches = [
            session.run(wanted, {key: value[start : start + BATCH_ROWS] for key, value in rows.items()})
            for start in range(0, max(count, 1), BATCH_ROWS)
        ]
        for at, output in enumerate(wanted):
            joined = np.concatenate([batch[at] for batch in batches])
            if len(joined) != count:
                raise ValueError(f"output {output} has {len(joined)} rows for {count} rows of input")
            answers[f"{name}/{output}"] = _storable(joined)
    return answers


def _check_inputs(signature: Signature, rows: Tensors) -> None:
    offered = {name: ("BYTES" if value.dtype.kind == "U" else "FP32", value.shape[1]) for name, value in rows.items()}
    wanted = {tensor.name: (tensor.datatype, tensor.shape[-1] if tensor.shape else 0) for tensor in signature.inputs}
    for name in sorted(offered.keys() | wanted.keys()):
        if offered.get(name) != wanted.get(name) and (name not in wanted or wanted[name][1] != -1):
            raise ValueError(f"input {name}: the model wants {wanted.get(name)}, the dataset gives {offered.get(name)}")


def _limit_memory() -> None:
    """At most 80 % of the container's memory, so that the model's greed ends here and not the container."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for path in _LIMITS:
        with contextlib.suppress(OSError, ValueError):
            limit = int(pathlib.Path(path).read_text(encoding="ascii"))
            if limit < 2**50:  # cgroup v1 says "no limit" with a huge number
                resource.setrlimit(resource.RLIMIT_DATA, (limit * 8 // 10, limit * 8 // 10))
            return


if __name__ == "__main__":
    sys.exit(_child(pathlib.Path(sys.argv[1])))
