"""What an ONNX file says of itself, read and vetted in a process of its own."""

from __future__ import annotations

import pathlib
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass

from millrace.contract.reasons import Reason
from millrace.contract.record import MalformedRecord, Record
from millrace_runtime import files, memory
from millrace_runtime.outcome import StageError, last_line
from millrace_runtime.training import child, vetting
from millrace_runtime.training.spec import METADATA

MODULE = "millrace_runtime.training.examine"
FACTS_FILE = "facts.json"
MAX_FACTS_BYTES = 16 * 1024 * 1024
TIMEOUT_SECONDS = 300
PARSING_BYTES = 256 * 1024 * 1024
"""What examining may take beside eight times the file's size: measured are four to five times."""


@dataclass(frozen=True)
class Facts(Record):
    """`inputs` maps the graph's inputs to ONNX's words for their elements (FLOAT); `metadata` is what is ours of it."""

    opset: int
    inputs: Mapping[str, str]
    metadata: Mapping[str, str]


def examine(data: bytes) -> Facts:
    """Vet the file; return its facts. Raises StageError: ModelTooLarge, NotOnnx, ExternalData, OperatorNotAllowed."""
    vetting.check_size(len(data))
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        (folder / "model.onnx").write_bytes(data)
        try:
            child.run(MODULE, folder, TIMEOUT_SECONDS)
            return Facts.from_json(files.read(folder / FACTS_FILE, MAX_FACTS_BYTES))
        except child.ChildFailed as failure:
            raise _named(failure) from failure
        except (OSError, files.NotPlainError, files.TooLargeError, MalformedRecord) as error:
            text = "The model says more of itself than can be read. Export it again."
            raise StageError(Reason.NOT_ONNX, text) from error


def _named(failure: child.ChildFailed) -> StageError:
    try:
        reason = Reason(str(failure.said.get("reason")))
    except ValueError:
        text = f"The file could not be examined: {failure}. Export the model again."
        return StageError(Reason.NOT_ONNX, text)
    return StageError(reason, str(failure))


def _child(folder: pathlib.Path) -> int:
    """The other process: writes facts.json, or failure.json."""
    data = (folder / "model.onnx").read_bytes()
    memory.allow(PARSING_BYTES + 8 * len(data))
    try:
        facts = _facts(data)
        (folder / FACTS_FILE).write_text(facts.to_json(), encoding="utf-8")
    except StageError as error:
        return child.failed(folder, reason=str(error.reason), message=error.message)
    except MemoryError:
        text = "The model takes more memory than a file of its size should. Train a smaller one."
        return child.failed(folder, reason=str(Reason.MODEL_TOO_LARGE), message=text)
    except Exception as error:  # noqa: BLE001 - whatever a hostile file makes the parser raise
        text = f"The file cannot be read as an ONNX model ({last_line(error, 200)}). Export the model again."
        return child.failed(folder, reason=str(Reason.NOT_ONNX), message=text)
    return 0


def _facts(data: bytes) -> Facts:
    import onnx

    model = vetting.vet(data)
    given = {tensor.name for tensor in model.graph.initializer}
    inputs = {
        value.name: onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)
        for value in model.graph.input
        if value.name not in given
    }
    metadata = {entry.key: entry.value for entry in model.metadata_props if entry.key.startswith(METADATA)}
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
    return Facts(int(opset), inputs, metadata)


if __name__ == "__main__":
    sys.exit(_child(pathlib.Path(sys.argv[1])))
