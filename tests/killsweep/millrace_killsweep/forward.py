"""`kubectl port-forward` that lasts: it says a line a connection, and stops forwarding when nobody reads them."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from millrace_demo.kubectl import CommandFailed, Kubectl

from .supervisor import wait_until

READY_SECONDS = 30.0


@contextmanager
def forwarded(kubectl: Kubectl, target: str, port: int) -> Iterator[str]:
    """`http://127.0.0.1:<free port>` that leads to `target` (svc/x, pod/y). Raises CommandFailed."""
    with tempfile.NamedTemporaryFile() as said:
        process = subprocess.Popen(
            kubectl.command("port-forward", "--address=127.0.0.1", target, f":{port}"),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        log = Path(said.name)
        try:
            wait_until(lambda: "127.0.0.1:" in log.read_text() or process.poll() is not None, READY_SECONDS)
            found = re.search(r"127\.0\.0\.1:(\d+)", log.read_text())
            if found is None:
                raise CommandFailed(f"kubectl port-forward {target}: {log.read_text().strip() or 'said nothing'}")
            yield f"http://127.0.0.1:{found.group(1)}"
        finally:
            process.terminate()
            process.wait(timeout=10)
