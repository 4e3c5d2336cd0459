"""kubectl as a subprocess: the story types what a user would type."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import watching

Manifest = dict[str, Any]


class CommandFailed(RuntimeError):
    """kubectl or helm said no; the message is what it said."""


class TimedOut(RuntimeError):
    """Something that was waited for did not come; the message shows the last state seen."""


@dataclass(frozen=True)
class Kubectl:
    """kubectl bound to one cluster, one namespace and, with `user`, to somebody's credentials."""

    binary: Path
    kubeconfig: Path
    namespace: str
    extra: tuple[str, ...] = ()

    def within(self, namespace: str) -> Kubectl:
        """The same, in another namespace."""
        return dataclasses.replace(self, namespace=namespace)

    def command(self, *args: str) -> list[str]:
        """The whole command line."""
        return [
            str(self.binary),
            f"--kubeconfig={self.kubeconfig}",
            f"--namespace={self.namespace}",
            *self.extra,
            *args,
        ]

    def run(self, *args: str, stdin: str | None = None, timeout: float = 120.0) -> str:
        """What kubectl printed. Raises CommandFailed with its error text."""
        done = subprocess.run(
            self.command(*args), input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode != 0:
            raise CommandFailed(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout

    def get(self, kind: str, name: str) -> Manifest | None:
        """One object, or None when there is none."""
        text = self.run("get", kind, name, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def list(self, kind: str, selector: str = "") -> list[Manifest]:
        """Objects of a kind, oldest first."""
        args = ["get", kind, "-o", "json", "--sort-by=.metadata.creationTimestamp"]
        items: list[Manifest] = json.loads(self.run(*args, *(["-l", selector] if selector else [])))["items"]
        return items

    def apply(self, *manifests: Manifest) -> str:
        """`kubectl apply` of the manifests, as a user's files."""
        return self.run("apply", "-f", "-", stdin="\n---\n".join(json.dumps(manifest) for manifest in manifests))

    def create(self, *manifests: Manifest) -> str:
        """`kubectl create` of the manifests."""
        return self.run("create", "-f", "-", stdin="\n---\n".join(json.dumps(manifest) for manifest in manifests))

    def delete(self, kind: str, name: str, *args: str) -> str:
        """Delete one object, if it is there."""
        return self.run("delete", kind, name, "--ignore-not-found", *args)

    def whoami(self) -> str:
        """The user name that the API server sees."""
        answer = json.loads(self.run("auth", "whoami", "-o", "json"))
        return str(answer["status"]["userInfo"]["username"])

    def until(
        self, kind: str, name: str, wanted: Callable[[Manifest], bool], timeout: float, what: str = ""
    ) -> Manifest:
        """The object in the first state in which `wanted` holds, however short: each one that comes is looked at.

        Raises TimedOut, showing its status, when none comes in time (seconds), and CommandFailed.
        """
        deadline = time.monotonic() + timeout
        seen: Manifest | None = None
        its = f"--field-selector=metadata.name={name}"
        watch = self.command("get", kind, its, "--watch", "--output-watch-events", "-o", "json")
        while time.monotonic() < deadline:
            try:
                with contextlib.closing(watching.states(watch, deadline)) as states:
                    for seen in states:
                        if seen is not None and wanted(seen):
                            return seen
            except watching.Ended as ended:
                raise CommandFailed(f"kubectl get {kind} {name}: {ended}") from None
        status = json.dumps((seen or {}).get("status"), indent=1)
        raise TimedOut(f"{kind}/{name}: {what or wanted.__name__} not within {timeout:.0f} s; last status: {status}")

    @contextlib.contextmanager
    def port_forward(self, target: str, port: int) -> Iterator[str]:
        """`http://127.0.0.1:<free port>` that leads to `target` (svc/x, pod/y) while the block runs."""
        # A file and not a pipe: kubectl prints a line for each connection, and stops forwarding once a pipe is full.
        with tempfile.NamedTemporaryFile("w+") as said:
            process = subprocess.Popen(
                self.command("port-forward", "--address=127.0.0.1", target, f":{port}"),
                stdout=said.fileno(),
                stderr=subprocess.STDOUT,
            )
            try:
                yield f"http://127.0.0.1:{_forwarded(process, Path(said.name), target)}"
            finally:
                process.terminate()
                process.wait(timeout=10)


def _forwarded(process: subprocess.Popen[bytes], said: Path, target: str) -> int:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"127\.0\.0\.1:(\d+)", said.read_text())
        if found is not None:
            return int(found.group(1))
        time.sleep(0.05)
    raise CommandFailed(f"kubectl port-forward {target}: {said.read_text().strip() or 'no answer in 30 s'}")


def condition(manifest: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """The condition of that type, or an empty mapping."""
    conditions: Sequence[Mapping[str, Any]] = manifest.get("status", {}).get("conditions", [])
    return next((entry for entry in conditions if entry["type"] == kind), {})


def is_true(manifest: Mapping[str, Any], kind: str) -> bool:
    """Whether the condition says True about the generation that is there now."""
    found = condition(manifest, kind)
    current = manifest["metadata"].get("generation", 0)
    return found.get("status") == "True" and found.get("observedGeneration", current) == current


def has_reason(kind: str, reason: str) -> Callable[[Manifest], bool]:
    """A predicate for `Kubectl.until`: the condition carries that reason."""

    def wanted(manifest: Manifest) -> bool:
        return condition(manifest, kind).get("reason") == reason

    return wanted
