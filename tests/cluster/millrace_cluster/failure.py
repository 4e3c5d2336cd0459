"""The one error a user of the cluster tool sees: what happened, why, and one command to run next."""

from __future__ import annotations


class ClusterError(Exception):
    """A step that cannot be done. `str()` of it is ready to print; `exit_code` is the process's exit code."""

    def __init__(self, what: str, why: str = "", following: str = "", exit_code: int = 1) -> None:
        lines = [what, *([f"  why:  {why}"] if why else []), *([f"  next: {following}"] if following else [])]
        super().__init__("\n".join(lines))
        self.exit_code = exit_code
