"""Taking an embedded cluster away, whoever brought it up and in whatever state it is."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path

from millrace_cluster import addresses, hostnet, kernel, record
from millrace_cluster.failure import ClusterError

_END_SECONDS = 15.0
_MODULE = "millrace_cluster.machine"


def remains(state: Path = addresses.STATE) -> bool:
    """Whether anything of a cluster, running or dead, is on this machine."""
    return state.exists() or hostnet.present() or bool(_roots(state))


def remove(state: Path = addresses.STATE) -> None:
    """End every process of the cluster and undo every change to the machine. Harmless when there is nothing.

    The node's first process is killed and the kernel ends all others of its PID namespace, with their mounts and
    network. Raises ClusterError, naming what is left, when something cannot be removed.
    """
    roots = _roots(state)
    ours = [*roots, *(below for root in roots for below in root.descendants())]
    for process in roots:
        process.kill()
    left = record.await_end(ours, _END_SECONDS)
    groups = kernel.remove_cgroups()
    hostnet.disconnect()
    if left or groups:
        raise ClusterError(
            "the cluster could not be removed completely",
            f"still there: {' '.join([*(f'process {one.pid}' for one in left), *map(str, groups)])}",
            "python tests/cluster down")  # fmt: skip
    kernel.restore_settings(state / "settings.json")
    for target in _mounts_below(state):
        subprocess.run(["umount", "--lazy", target], check=False, capture_output=True)
    if state.exists():
        shutil.rmtree(state)


def _roots(state: Path) -> list[record.Process]:
    """The recorded processes and, should the record be lost, those started with this state directory as argument."""
    found = {root for name in ("machine.pid", "node.pid") if (root := record.read_process(state / name))}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_text(errors="replace").split("\0")
            if _MODULE in words[:-1] and words[words.index(_MODULE) + 1] == str(state):
                running = record.process(int(path.parent.name))
                found |= {running} if running and running.alive() else set()
    return sorted(found, key=lambda process: process.pid)


def _mounts_below(state: Path) -> list[str]:
    targets = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return sorted((target for target in targets if Path(target).is_relative_to(state)), reverse=True)
