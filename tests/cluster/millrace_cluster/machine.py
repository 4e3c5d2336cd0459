"""Process 1 of the node's namespaces: prepares mounts and network, starts the daemons, relays the API port.

Run by `embedded` under `unshare`; everything the cluster runs descends from this process, so the kernel ends all of it,
its mounts and its network when this process ends, however it ends. Daemons are not restarted: one that exits is
recorded and the cluster is then unhealthy. `argv`: the state directory and the descriptor of a listening socket that
was opened in the machine's own network namespace.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

_ENVIRONMENT = {"HOME": "/root", "LANG": "C.UTF-8"}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CABLE_SECONDS = 20.0
_API_SECONDS = 120.0


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def _mount(plan: dict[str, Any]) -> None:
    # Pod volumes with mount propagation need shared mounts; the namespace itself stays detached from the machine.
    _run("mount", "--make-rshared", "/")
    _detach_overlays(plan["kept"])
    for target, source in plan["masks"].items():
        if target == "/run":
            _run("mount", "-t", "tmpfs", "-o", "mode=755", "millrace", source)
        for kept in plan["kept"]:
            if Path(kept).is_relative_to(target):
                inside = Path(source) / Path(kept).relative_to(target)
                inside.mkdir(parents=True, exist_ok=True)
                _run("mount", "--rbind", kept, str(inside))
    for target, source in plan["masks"].items():
        _run("mount", "--rbind", source, target)
    for target, source in plan["files"].items():
        _run("mount", "--bind", source, target)


def _detach_overlays(kept: list[str]) -> None:
    """Let go of container file systems other programs have mounted, which would otherwise stay in use here."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, target, kind, *_ = line.split()
        if kind == "overlay" and target != "/" and not any(Path(path).is_relative_to(target) for path in kept):
            subprocess.run(["umount", "--lazy", target], check=False, stderr=subprocess.DEVNULL)


def _connect(plan: dict[str, Any]) -> None:
    deadline = time.monotonic() + _CABLE_SECONDS
    link = Path("/proc/sys/net/ipv4/conf") / plan["link"]
    while not link.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"network link {plan['link']} did not appear")
        time.sleep(0.02)
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "address", "add", plan["address"], "dev", plan["link"])
    _run("ip", "link", "set", plan["link"], "up")
    # A service address needs some route before kube-proxy's rules translate it.
    _run("ip", "route", "add", plan["services"], "dev", "lo", "src", plan["address"].split("/")[0])
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


class Machine:
    """The running node: its daemons by process id and the files it reports to."""

    def __init__(self, state: Path, plan: dict[str, Any]) -> None:
        self.state = state
        self.plan = plan
        self.names: dict[int, str] = {}
        self.path = f"{plan['programs']}:{_PATH}"

    def start(self, name: str, command: list[str]) -> None:
        """Start one daemon, its output going to `logs/<name>.log`."""
        log = self.state / "logs" / f"{name}.log"
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        environment = {**_ENVIRONMENT, "PATH": self.path}
        pid = os.posix_spawn(command[0], command, environment, file_actions=actions, setsid=True,
                             setsigdef=[signal.SIGPIPE, signal.SIGCHLD])  # fmt: skip
        self.names[pid] = name

    def reap(self) -> None:
        """Collect ended children (adopted ones too) and record the daemons among them in `exits`."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                name = self.names.pop(pid, None)
                if name:
                    with (self.state / "exits").open("a") as exits:
                        exits.write(f"{name} {os.waitstatus_to_exitcode(status)}\n")

    def await_api(self) -> None:
        """Block until the API server says it is ready."""
        context = ssl.create_default_context(cafile=self.plan["authority"])
        context.load_cert_chain(*self.plan["client"])
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))  # fmt: skip
        deadline = time.monotonic() + _API_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), opener.open(f"{self.plan['api']}/readyz", timeout=5):
                return
            time.sleep(0.05)
        raise TimeoutError("kube-apiserver was not ready in time")

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Join one connection to the machine's port with the API server."""
        host, port = self.plan["api"].removeprefix("https://").split(":")
        with contextlib.suppress(OSError):
            inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
            await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))
        writer.close()

    async def run(self, listener: socket.socket) -> None:
        """Start everything and stay."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self.reap)
        server = await asyncio.start_server(self.relay, sock=listener)
        for stage in (0, 1):
            if stage:
                await asyncio.to_thread(self.await_api)
            for daemon in self.plan["daemons"]:
                if daemon["stage"] == stage:
                    self.start(daemon["name"], daemon["command"])
        await server.serve_forever()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        writer.close()


def main(state: Path, descriptor: int) -> None:
    """Become the node. Never returns while the node runs."""
    plan = json.loads((state / "plan.json").read_text())
    socket.sethostname(plan["hostname"])
    _, ceiling = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, ceiling))
    _mount(plan)
    _connect(plan)
    asyncio.run(Machine(state, plan).run(socket.socket(fileno=descriptor)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
