"""Requests and answers with bytes of tensors behind their JSON, as a client writes and reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from millrace.conformance import exchange, subject
from millrace_runtime.serving import tensors
from serving_kit.process import Answer


def joined(head: Mapping[str, Any], tail: bytes) -> tuple[bytes, int]:
    """A body, and the value of its `Inference-Header-Content-Length`."""
    text = json.dumps(head).encode()
    return text + tail, len(text)


def encoded(words: np.ndarray) -> list[bytes]:
    return [word.encode() for word in words.reshape(-1).tolist()]


def outputs(answer: Answer) -> dict[str, np.ndarray]:
    """The arrays of an answer."""
    found = subject.outputs(exchange.Answer(answer.status, answer.headers, answer.body))
    return {name: _array(output, values) for name, (output, values) in found.items()}


def _array(output: Mapping[str, Any], values: list[Any]) -> np.ndarray:
    return np.array(values, tensors.DTYPES[output["datatype"]]).reshape(output["shape"])
