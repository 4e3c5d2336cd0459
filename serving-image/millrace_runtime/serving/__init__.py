"""The model server: Open Inference Protocol v2 over REST, one verified ONNX model per process.

app (HTTP) -> dataplane: tensors (decode) -> session (run) -> tensors (encode) -> telemetry, drift
startup: artifact (digest) -> session -> verification (golden set) -> ready
"""
