"""Answers of an ONNX model, computed in a process of its own (`child`).

A hostile or broken model can crash the runtime or eat all memory; the evaluator must live to say so. Inputs travel as
.npy files, of which the child reads a batch at a time, answers as an .npz file, all without pickles. Texts are one
block of UTF-8: numpy's own are all as wide as the widest, which makes 470 MiB of 1,500 rows one of which is long.
"""

from __future__ import annotations

import json
import pathlib
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from millrace.contract.golden import RUN_BYTES, loading_bytes
from millrace.contract.record import MalformedRecord
from millrace.contract.report import Signature, Tensor
from millrace_runtime import datatypes, files, memory
from millrace_runtime.training import child

Array = npt.NDArray[Any]
Tensors = dict[str, Array]
MODULE = "millrace_runtime.training.scoring"
BATCH_ROWS = 256
"""As many as the server runs together."""
TIMEOUT_SECONDS = 600
MAX_ANSWER_BYTES = 1024 * 1024 * 1024
_MAX_SIGNATURE_BYTES = 1024 * 1024
_NAMES = "inputs.json"
_TEXT, _ENDS, _SHAPE = "#text", "#ends", "#shape"


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
        flat = {f"{name}/{key}": tensor for name, tensors in sets.items() for key, tensor in tensors.items()}
        _put(folder, stored(flat))
        try:
            child.run(MODULE, folder, TIMEOUT_SECONDS)
        except child.ChildFailed as failure:
            raise ScoringError(str(failure), loaded=bool(failure.said.get("loaded"))) from failure
        signature, answers = _left_behind(folder)
    wanted = {f"{name}/{place}" for name in sets for place in range(len(signature.outputs))}
    if answers.keys() != wanted:
        raise ScoringError("the model left other outputs than it declares")
    outputs = {
        name: {tensor.name: answers[f"{name}/{place}"] for place, tensor in enumerate(signature.outputs)}
        for name in sets
    }
    return Answers(signature, outputs)


def _put(folder: pathlib.Path, arrays: Tensors) -> None:
    for number, array in enumerate(arrays.values()):
        np.save(folder / f"input-{number}.npy", array, allow_pickle=False)
    (folder / _NAMES).write_text(json.dumps(list(arrays)), encoding="utf-8")


def _taken(folder: pathlib.Path) -> Tensors:
    """For the child: what was put there. Rows stay in their files until they are run."""
    names = json.loads((folder / _NAMES).read_text(encoding="utf-8"))
    paths = (folder / f"input-{number}.npy" for number in range(len(names)))
    return {name: np.load(path, mmap_mode="r", allow_pickle=False) for name, path in zip(names, paths, strict=True)}


def stored(tensors: Tensors) -> Tensors:
    """Arrays without objects in place of tensors of which some are text."""
    made: Tensors = {}
    for name, tensor in tensors.items():
        if tensor.dtype != object:
            made[name] = tensor
            continue
        encoded = [str(value).encode() for value in tensor.ravel().tolist()]
        made[name + _TEXT] = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        made[name + _ENDS] = np.cumsum([len(value) for value in encoded], dtype=np.int64)
        made[name + _SHAPE] = np.asarray(tensor.shape, dtype=np.int64)
    return made


def restored(arrays: Mapping[str, Array]) -> Tensors:
    """The inverse of `stored`. Raises ValueError, KeyError for what `stored` did not make."""
    made: Tensors = {name: array for name, array in arrays.items() if "#" not in name}
    for name in arrays:
        if name.endswith(_TEXT):
            stem = name.removesuffix(_TEXT)
            block, ends = arrays[name].tobytes(), arrays[stem + _ENDS].tolist()
            shared: dict[bytes, str] = {}
            texts = np.empty(len(ends), dtype=object)
            for at, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
                part = block[start:end]
                texts[at] = shared.setdefault(part, part.decode())
            made[stem] = texts.reshape(arrays[stem + _SHAPE].tolist())
    return made


def _left_behind(folder: pathlib.Path) -> tuple[Signature, Tensors]:
    """What the child wrote; it ran a stranger's model, so nothing of it is taken on trust but the numbers."""
    try:
        signature = Signature.from_json(files.read(folder / "signature.json", _MAX_SIGNATURE_BYTES))
        with files.opened(folder / "outputs.npz", MAX_ANSWER_BYTES + _MAX_SIGNATURE_BYTES) as file:
            _check_stored(file)
            with np.load(file, allow_pickle=False) as held:
                return signature, restored({key: held[key] for key in held.files})
    except (
        OSError, ValueError, KeyError, MemoryError, MalformedRecord, zipfile.BadZipFile,
        files.NotPlainError, files.TooLargeError,
    ) as error:  # fmt: skip
        raise ScoringError("the model left answers that cannot be read") from error


def _check_stored(file: IO[bytes]) -> None:
    """Raises ValueError for an archive that is more than its own size once it is read."""
    with zipfile.ZipFile(file) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("compressed answers")
    file.seek(0)


def _child(folder: pathlib.Path) -> int:
    """The other process: loads the model, runs every set, writes signature.json and outputs.npz, or failure.json."""
    path = folder / "model.onnx"
    loaded = False
    try:
        session = _session(path)
        loaded = True
        signature = Signature(tuple(map(_tensor, session.get_inputs())), tuple(map(_tensor, session.get_outputs())))
        (folder / "signature.json").write_text(signature.to_json(), encoding="utf-8")
        inputs = restored(_taken(folder))
        answers = stored(_answers(session, inputs, signature))
        np.savez(folder / "outputs.npz", allow_pickle=False, **answers)
    except MemoryError:
        return child.failed(folder, message=_TOO_MUCH, loaded=loaded)
    except Exception as error:  # noqa: BLE001 - whatever a hostile model makes the runtime raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        said = _TOO_MUCH if "bad_alloc" in str(error) else lines[0][:300]
        return child.failed(folder, message=said, loaded=loaded)
    return 0


_TOO_MUCH = f"it takes more than {RUN_BYTES // 1024**2} MiB for {BATCH_ROWS} rows"


def _session(path: pathlib.Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # As in the server: what a run took is given back before the next one.
    options.enable_cpu_mem_arena = False
    with memory.allowed(loading_bytes(path.stat().st_size)):
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _tensor(described: Any) -> Tensor:
    datatype = datatypes.OF_ONNXRUNTIME.get(described.type)
    if datatype is None:
        raise ValueError(f"{described.name} is a {described.type}, which the inference protocol cannot carry")
    shape = tuple(size if isinstance(size, int) else -1 for size in described.shape)
    return Tensor(described.name, datatype, shape)


def _answers(session: Any, inputs: Tensors, signature: Signature) -> Tensors:
    answers: Tensors = {}
    wanted = [tensor.name for tensor in signature.outputs]
    held = 0
    for name in sorted({key.split("/", 1)[0] for key in inputs}):
        rows = {key.split("/", 1)[1]: value for key, value in inputs.items() if key.startswith(f"{name}/")}
        _check_inputs(signature, rows)
        batches: list[list[Array]] = []
        for answered in _run(session, wanted, rows):
            held += sum(map(_size, answered))
            if held > MAX_ANSWER_BYTES // 2:
                raise ValueError(f"its answers take more than {MAX_ANSWER_BYTES // 2 // 1024**2} MiB")
            batches.append(answered)
        for place in range(len(wanted)):
            # By place: a name is the model's to choose, and is no name of a file.
            answers[f"{name}/{place}"] = np.concatenate([batch[place] for batch in batches])
    return answers


def _size(output: Array) -> int:
    """Bytes of the values themselves, texts included."""
    texts = sum(map(len, output.ravel().tolist())) if output.dtype == object else 0
    return int(output.nbytes) + texts


def _run(session: Any, wanted: Sequence[str], rows: Tensors) -> Iterator[list[Array]]:
    """Batch by batch, none of which may take more than RUN_BYTES."""
    count = len(next(iter(rows.values())))
    for start in range(0, max(count, 1), BATCH_ROWS):
        batch = {key: np.array(value[start : start + BATCH_ROWS]) for key, value in rows.items()}
        size = min(BATCH_ROWS, count - start)
        with memory.allowed(RUN_BYTES):
            answered = session.run(wanted, batch)
        for output, array in zip(wanted, answered, strict=True):
            if not np.ndim(array) or len(array) != size:
                raise ValueError(f"output {output} has {np.shape(array)[:1]} rows for {size} rows of input")
        yield answered


def _check_inputs(signature: Signature, rows: Tensors) -> None:
    kinds = {"O": "BYTES", "f": "FP"}
    offered = {
        name: (kinds[value.dtype.kind] + ("" if value.dtype == object else str(8 * value.itemsize)), value.shape[1])
        for name, value in rows.items()
    }
    wanted = {tensor.name: (tensor.datatype, tensor.shape[-1] if tensor.shape else 0) for tensor in signature.inputs}
    for name in sorted(offered.keys() | wanted.keys()):
        if offered.get(name) != wanted.get(name) and (name not in wanted or wanted[name][1] != -1):
            raise ValueError(f"input {name}: the model wants {wanted.get(name)}, the dataset gives {offered.get(name)}")


if __name__ == "__main__":
    sys.exit(_child(pathlib.Path(sys.argv[1])))
