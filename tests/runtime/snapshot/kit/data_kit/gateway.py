"""A real S3 server (versitygw) on loopback, over a directory."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec

import millrace_cluster
from millrace_cluster import evidence, ports

KEY, SECRET = "test-access", "test-secret"


@dataclasses.dataclass(frozen=True)
class Gateway:
    """A running store with one bucket, `lake`."""

    endpoint: str
    folder: Path

    def environment(self, secret: str = SECRET) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
        }

    @property
    def files(self) -> fsspec.AbstractFileSystem:
        return fsspec.filesystem(
            "s3", key=KEY, secret=SECRET, endpoint_url=self.endpoint, use_listings_cache=False, skip_instance_cache=True
        )


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Gateway]:
    port = ports.free_port()
    for name in ("data", "meta"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "data" / "lake").mkdir(exist_ok=True)
    log = (folder / "log").open("wb")
    # The sidecar holds what would be extended attributes, which a tmpfs or an overlay may not have.
    command = [millrace_cluster.binary("versitygw"), "--port", f"127.0.0.1:{port}", "--access", KEY, "--secret", SECRET]
    command += ["--quiet", "posix", "--sidecar", folder / "meta", folder / "data"]
    process = subprocess.Popen(
        [str(part) for part in command], stdout=log, stderr=log, env={"PATH": os.environ["PATH"]}
    )
    try:
        with evidence.offered(lambda: {"versitygw's log": (folder / "log").read_text(errors="replace")}):
            wait_for(port, process)
            yield Gateway(f"http://127.0.0.1:{port}", folder / "data")
    finally:
        process.terminate()
        process.wait(10)
        log.close()


@contextlib.contextmanager
def down(folder: Path) -> Iterator[Gateway]:
    """A store that refuses every connection: its port is held, so that nobody else begins to listen there."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield Gateway(f"http://127.0.0.1:{held.getsockname()[1]}", folder)


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, "versitygw ended; see its log"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
            return
        time.sleep(0.02)
    raise AssertionError("versitygw does not listen")
