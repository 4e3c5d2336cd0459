"""How much memory this process may still take: a limit that the kernel holds, so that greed is an error and not a kill.

The limit is RLIMIT_DATA: private writable memory, which is what a runtime allocates. (RLIMIT_AS also counts address
space that is only reserved, which onnxruntime and glibc do generously.) Beyond it onnxruntime raises and Python raises
MemoryError; `operator/decisions/0026-memory-has-a-limit.md` has the measurements.
"""

from __future__ import annotations

import contextlib
import pathlib
import resource
from collections.abc import Iterator

_STATUS = pathlib.Path("/proc/self/status")
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_NO_LIMIT = 2**50
"""cgroup v1 says "no limit" with a huge number."""


def of_container() -> int | None:
    """The container's memory limit in bytes; None where it has none."""
    for path in _CGROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):
            limit = int(pathlib.Path(path).read_text(encoding="ascii"))
            return limit if limit < _NO_LIMIT else None
    return None


def data() -> int:
    """Bytes of private writable memory that this process has now; what RLIMIT_DATA limits."""
    return _of_status("VmData")


def resident() -> int:
    """Bytes of physical memory that this process has now."""
    return _of_status("VmRSS")


def allow(more: int) -> None:
    """Let this process take `more` bytes from now on, and never more than it was allowed for good."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = data() + max(0, more)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


@contextlib.contextmanager
def allowed(more: int) -> Iterator[None]:
    """`allow` for as long as the block lasts."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    allow(more)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _of_status(name: str) -> int:
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0
