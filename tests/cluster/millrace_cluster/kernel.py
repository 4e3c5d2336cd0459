"""What a node changes outside its namespaces, and how that is put back: control groups and kernel settings."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path

from millrace_cluster import addresses
from millrace_cluster.failure import ClusterError

# The kubelet sets these to its liking when it starts.
_TUNED = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
          "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes")  # fmt: skip
_SYSCTL = Path("/proc/sys")
# A process outside the pods weighs as much as all pods together, unless their group is given more: beside a test run or
# a compiler they would then have a tenth of the machine, and what waits for them would time out.
_PROCESSES_PER_CORE = 4


def _hierarchies() -> list[tuple[Path, str]]:
    found = []
    for line in Path("/proc/mounts").read_text().splitlines():
        _, target, kind, options, *_ = line.split()
        if kind in ("cgroup", "cgroup2"):
            found.append((Path(target), options if kind == "cgroup" else "v2"))
    return found


def make_cgroups() -> None:
    """Create the control group all pods go under, in every hierarchy. Raises ClusterError where that is forbidden."""
    for root, options in _hierarchies():
        group = root / addresses.CGROUP
        try:
            group.mkdir(exist_ok=True)
            if "cpuset" in options.split(","):
                for name in ("cpuset.cpus", "cpuset.mems"):
                    (group / name).write_text((root / name).read_text())
        except OSError as error:
            raise ClusterError(f"cannot create the control group {group}", str(error),
                               "MILLRACE_CLUSTER=kubeconfig MILLRACE_KUBECONFIG=<file> python tests/cluster up",
                               exit_code=2) from None  # fmt: skip
        if options == "v2":
            for controller in ("cpu", "memory", "pids", "cpuset", "io"):
                with contextlib.suppress(OSError):
                    (root / "cgroup.subtree_control").write_text(f"+{controller}")
        _weigh(group, options)


def _weigh(group: Path, options: str) -> None:
    """Give all pods together the share of several processes (control groups: v1 `cpu.shares`, v2 `cpu.weight`)."""
    processes = _PROCESSES_PER_CORE * (os.cpu_count() or 1)
    with contextlib.suppress(OSError):
        if "cpu" in options.split(","):
            (group / "cpu.shares").write_text(str(1024 * processes))
        elif options == "v2":
            (group / "cpu.weight").write_text(str(min(100 * processes, 10_000)))


def _ours() -> list[Path]:
    groups: list[Path] = []
    for root, _ in _hierarchies():
        top = root / addresses.CGROUP
        groups += [Path(path) for path, _, _ in os.walk(top, topdown=False)]
    return groups


def remove_cgroups(seconds: float = 10.0) -> list[Path]:
    """Kill what still runs in the pods' control groups and remove them; return those that could not be removed."""
    deadline = time.monotonic() + seconds
    while groups := _ours():
        for group in groups:
            with contextlib.suppress(OSError):
                for pid in (group / "cgroup.procs").read_text().split():
                    if pid != "0":
                        os.kill(int(pid), signal.SIGKILL)
            with contextlib.suppress(OSError):
                group.rmdir()
        if time.monotonic() > deadline:
            return _ours()
        if _ours():
            time.sleep(0.05)
    return []


def save_settings(path: Path) -> None:
    """Remember the kernel settings the node will change."""
    settings = {name: (_SYSCTL / name).read_text().strip() for name in _TUNED if (_SYSCTL / name).exists()}
    path.write_text(json.dumps(settings))


def restore_settings(path: Path) -> None:
    """Put back what `save_settings` remembered, if it did."""
    try:
        settings: dict[str, str] = json.loads(path.read_text())
    except (OSError, ValueError):
        return
    for name, value in settings.items():
        with contextlib.suppress(OSError):
            if (_SYSCTL / name).read_text().strip() != value:
                (_SYSCTL / name).write_text(value)
