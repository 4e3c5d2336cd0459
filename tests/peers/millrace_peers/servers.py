"""Each server as a process on loopback, with the same model under the same name."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from millrace_cluster import ports
from millrace_peers import environments

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "runtime" / "serving" / "kit"))

from serving_kit import process
from serving_kit.models import Model

NAME, VERSION = "churn", "7"
START_SECONDS = 60.0
QUIET = {"ORT_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}


@dataclass(frozen=True)
class Signature:
    """What peers that cannot read it from the file are told."""

    inputs: list[dict[str, object]]
    outputs: list[dict[str, object]]


@dataclass(frozen=True)
class Peer:
    """One server: its name in tables, and how it is started."""

    name: str
    version: str
    command: Callable[[Path, int], tuple[list[str], Mapping[str, str]]]
    """Directory with `model.onnx` and `signature.json`, and port -> command and further environment."""


@contextlib.contextmanager
def running(peer: Peer, model: Model, signature: Signature, directory: Path) -> Iterator[str]:
    """URL of the peer, ready; ended, with what it started, when the block ends. Raises RuntimeError with its log."""
    directory.mkdir(parents=True, exist_ok=True)
    model.write(directory)
    (directory / "signature.json").write_text(json.dumps(vars(signature)))
    port = ports.free_port()
    command, environment = peer.command(directory, port)
    log = directory / "log"
    with log.open("wb") as sink:
        started = subprocess.Popen(
            command, cwd=directory, stdout=sink, stderr=sink, env=_environment(environment), start_new_session=True
        )
    try:
        _wait_ready(port, started, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        _end(started)


def millrace(model: Model) -> Peer:
    """Ours, from this checkout."""
    import millrace as package

    def command(directory: Path, port: int) -> tuple[list[str], Mapping[str, str]]:
        settings = process.settings_of(model, directory, model_dir=str(directory), port=port)
        environment = {**settings.to_env(), "PYTHONPATH": process.SOURCES}
        environment["MILLRACE_TERMINATION_LOG"] = str(directory / "termination-log")
        return [sys.executable, "-m", "millrace_runtime.serving", "serve"], environment

    return Peer("Millrace", package.__version__, command)


def mlserver() -> Peer:
    """MLServer with its custom model, in one process as its documentation advises for small models."""

    def command(directory: Path, port: int) -> tuple[list[str], Mapping[str, str]]:
        grpc, metrics = ports.free_ports(2)
        listening = {"host": "127.0.0.1", "http_port": port, "grpc_port": grpc, "metrics_port": metrics}
        (directory / "settings.json").write_text(json.dumps({**listening, "debug": False, "parallel_workers": 0}))
        where = {"uri": str(directory / "model.onnx"), "version": VERSION}
        described = {
            "name": NAME,
            "versions": [VERSION],
            "implementation": "onnx_model.OnnxModel",
            "platform": "onnx",
            "parameters": where,
        }
        told = json.loads((directory / "signature.json").read_text())
        (directory / "model-settings.json").write_text(json.dumps({**described, **told}))
        program = environments.python_of("mlserver").with_name("mlserver")
        return [str(program), "start", str(directory)], {"PYTHONPATH": str(environments.ROOT / "mlserver")}

    return Peer("MLServer", environments.version_of("mlserver"), command)


def kserve() -> Peer:
    """KServe's Python server with its custom model."""

    def command(directory: Path, port: int) -> tuple[list[str], Mapping[str, str]]:
        script = environments.ROOT / "kserve" / "serve.py"
        return [str(environments.python_of("kserve")), str(script), str(directory), NAME, str(port)], {}

    return Peer("KServe", environments.version_of("kserve"), command)


def _environment(further: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MILLRACE_", "PYTHON"))}
    return {**kept, **QUIET, **further}


def _wait_ready(port: int, started: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if started.poll() is not None:
            break
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", f"/v2/models/{NAME}/ready")
            if connection.getresponse().status == 200:
                return
        connection.close()
        time.sleep(0.05)
    raise RuntimeError(f"the server did not become ready: {log.read_text()[-2000:]}")


def _end(started: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the process group, which is this peer's alone, then SIGKILL."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(started.pid, 15)
    with contextlib.suppress(subprocess.TimeoutExpired):
        started.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(started.pid, 9)
    started.wait()
