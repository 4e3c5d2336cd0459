"""KServe's Python server has no ONNX runtime of its own: the custom model that its documentation asks for.

serve.py DIRECTORY MODEL_NAME PORT, and options of kserve's ModelServer, which it reads itself.
"""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path

import onnxruntime
import uvicorn
from kserve.utils.numpy_codec import from_np_dtype
from kserve.utils.utils import generate_uuid

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer

DIRECTORY, NAME, PORT = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

_configure = uvicorn.Config.__init__


@functools.wraps(_configure)
def _on_loopback(self, *arguments, **options):
    """It listens on every address, without an option to say otherwise."""
    _configure(self, *arguments, **{**options, "host": "127.0.0.1"})


uvicorn.Config.__init__ = _on_loopback


class OnnxModel(Model):
    def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        path = DIRECTORY / "model.onnx"
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.names = [output.name for output in self.session.get_outputs()]
        self.signature = json.loads((DIRECTORY / "signature.json").read_text())
        self.ready = True
        return True

    def get_input_types(self) -> list[dict]:
        return self.signature["inputs"]

    def get_output_types(self) -> list[dict]:
        return self.signature["outputs"]

    def predict(self, payload: InferRequest, headers: dict[str, str] | None = None) -> InferResponse:
        feeds = {tensor.name: tensor.as_numpy() for tensor in payload.inputs}
        asked = [output.name for output in payload.request_outputs or []] or self.names
        results = self.session.run(asked, feeds)
        outputs = []
        for name, array in zip(asked, results, strict=True):
            output = InferOutput(name, list(array.shape), from_np_dtype(array.dtype))
            output.set_data_from_numpy(array, binary_data=payload.use_binary_outputs)
            outputs.append(output)
        return InferResponse(
            payload.id or generate_uuid(),
            self.name,
            outputs,
            use_binary_outputs=payload.use_binary_outputs,
            requested_outputs=payload.request_outputs,
        )


model = OnnxModel(NAME)
model.load()
ModelServer(http_port=PORT, enable_grpc=False, workers=1).start([model])
