"""Why something cannot start on this machine."""

from __future__ import annotations


class Problem(Exception):
    """What is wrong, why, and one command to run next. `str()` of it is ready to print."""

    def __init__(self, what: str, why: str = "", following: str = "") -> None:
        lines = [what, *([f"  why:  {why}"] if why else []), *([f"  next: {following}"] if following else [])]
        super().__init__("\n".join(lines))
        self.what = what
        self.why = why
        self.following = following
