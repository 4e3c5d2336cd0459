"""The machine's side of the node's network: one cable, routes to it, and the guard that keeps its addresses inside.

Pod and service addresses are ours only while the routes exist. The guard refuses them on every other interface, after
any address translation, so that neither a stray client nor a pod reaches whoever owns those addresses elsewhere.
"""

from __future__ import annotations

import subprocess

from millrace_cluster import addresses
from millrace_cluster.failure import ClusterError

_HOOKS = ("OUTPUT", "FORWARD")
_OURS = (addresses.CABLE, addresses.POD_RANGE, addresses.SERVICE_RANGE)
_GUARDED = (addresses.POD_RANGE, addresses.SERVICE_RANGE)


def _attempt(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _require(*command: str) -> None:
    done = _attempt(*command)
    if done.returncode:
        raise ClusterError(f"`{' '.join(command)}` failed", done.stderr.strip())


def _iptables(*arguments: str) -> tuple[str, ...]:
    return ("iptables", "-w", "10", *arguments)


def find_conflict() -> str | None:
    """A route of the machine that overlaps the cluster's addresses, or None. Call with no cluster up."""
    for line in _attempt("ip", "-4", "route", "show", "table", "main").stdout.splitlines():
        target = line.split()[0]
        if target in ("blackhole", "unreachable", "prohibit"):
            target = line.split()[1]
        if target != "default" and any(addresses.overlaps(target, ours) for ours in _OURS):
            return line.strip()
    return None


def present() -> bool:
    """Whether a cable or a guard is on this machine."""
    link = _attempt("ip", "link", "show", addresses.LINK)
    return link.returncode == 0 or _attempt(*_iptables("-S", addresses.GUARD_CHAIN)).returncode == 0


def connect(namespace_pid: int) -> None:
    """Guard the addresses, then join the machine to the network namespace of process `namespace_pid`."""
    _guard()
    _require("ip", "link", "add", addresses.LINK, "type", "veth", "peer", "name", addresses.NODE_LINK,
             "netns", str(namespace_pid))  # fmt: skip
    _require("ip", "address", "add", f"{addresses.HOST_IP}/30", "dev", addresses.LINK)
    _require("ip", "link", "set", addresses.LINK, "up")
    for target in _GUARDED:
        _require("ip", "route", "add", target, "via", addresses.NODE_IP, "dev", addresses.LINK)


def disconnect() -> None:
    """Remove the cable (its routes go with it) and the guard. Doing so twice is harmless."""
    if _attempt("ip", "link", "show", addresses.LINK).returncode == 0:
        _attempt("ip", "link", "delete", addresses.LINK)
    for hook in _HOOKS:
        while _attempt(*_iptables("-D", hook, "-j", addresses.GUARD_CHAIN)).returncode == 0:
            pass
    _attempt(*_iptables("-F", addresses.GUARD_CHAIN))
    _attempt(*_iptables("-X", addresses.GUARD_CHAIN))


def _guard() -> None:
    chain = addresses.GUARD_CHAIN
    _require(*_iptables("-N", chain))
    for inside in (addresses.LINK, "lo"):
        _require(*_iptables("-A", chain, "-o", inside, "-j", "RETURN"))
    for span in _GUARDED:
        _require(*_iptables("-A", chain, "-d", span, "-j", "REJECT"))
        _require(*_iptables("-A", chain, "-s", span, "-j", "REJECT"))
    for hook in _HOOKS:
        _require(*_iptables("-I", hook, "1", "-j", chain))
