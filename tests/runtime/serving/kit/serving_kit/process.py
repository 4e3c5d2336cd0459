"""A real server in a process of its own, on loopback."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from millrace.contract.environment import TERMINATION_LOG_VARIABLE, ServerEnvironment
from millrace_cluster import evidence, ports
from serving_kit.models import Model

ROOT = Path(__file__).parents[5]
SOURCES = os.pathsep.join(str(ROOT / name) for name in ("operator", "serving-image"))


def settings_of(model: Model, directory: Path, **changes: Any) -> ServerEnvironment:
    values: dict[str, Any] = {
        "model_name": "churn",
        "model_version": "7",
        "model": "churn-7",
        "revision": "7f9c2b00",
        "deployment": "churn",
        "digest": model.digest,
        "model_uri": (directory / "store" / "model.onnx").as_uri(),
        "golden_uri": (directory / "store" / "golden.json").as_uri(),
        "profile_uri": (directory / "store" / "profile.json").as_uri(),
        "model_dir": str(directory / "models"),
        "host": "127.0.0.1",
        "port": ports.free_port(),
        "drain_seconds": 0.3,
    }
    return ServerEnvironment(**(values | changes))


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """`python -m millrace_runtime.serving <stage>`; a context manager that leaves no process behind."""

    settings: ServerEnvironment
    directory: Path
    stage: str = "serve"
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("MILLRACE_", "AWS_"))},
            **self.settings.to_env(),
            "PYTHONPATH": SOURCES,
            TERMINATION_LOG_VARIABLE: str(self.directory / "termination-log"),
        }
        environment.pop("ORT_DISABLE_TELEMETRY", None)
        evidence.offer(self, lambda: {f"the log of the server in {self.directory.name}": self.log()})
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "millrace_runtime.serving", self.stage],
                env=environment,
                stderr=log,
                stdout=log,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        evidence.withdraw(self)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def wait_ready(self, seconds: float = 30) -> Server:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}: {self.log()}")
            try:
                if self.get("/v2/health/ready").status == 200:
                    return self
            except OSError:
                pass
            time.sleep(0.02)
        raise AssertionError(f"not ready after {seconds} s: {self.log()}")

    def wait_exit(self, seconds: float = 30) -> int:
        return self.process.wait(seconds)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def log(self) -> str:
        return (self.directory / "log").read_text()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log().splitlines()]

    def failure(self) -> dict[str, str]:
        return dict(json.loads((self.directory / "termination-log").read_text()))

    def memory_mib(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def call(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection(self.settings.host, self.settings.port, timeout=10)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.call("GET", path)

    def infer(self, request: Any, path: str = "/v2/models/churn/infer") -> Answer:
        body = request if isinstance(request, bytes) else json.dumps(request).encode()
        return self.call("POST", path, body, {"content-type": "application/json"})


def start(model: Model, directory: Path, **changes: Any) -> Server:
    settings = settings_of(model, directory, **changes)
    model.write(Path(settings.model_dir))
    return Server(settings, directory)
