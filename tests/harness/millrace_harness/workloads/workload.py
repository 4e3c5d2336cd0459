"""A workload: a story that users tell, and the end that it must come to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from millrace_harness.people import Unmet
from millrace_harness.stage import Stage

from .wanted import Wanted

Tell = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True)
class Workload:
    """`name` is what plan ids show; `about` says it in a sentence."""

    name: str
    about: str
    tell: Tell
    wanted: Wanted
    is_long: bool = False
    """Whether something in it takes long in real time, such as the back-off of the Job controller."""
    alike: tuple[str, ...] = ()
    """Names of objects that are told to do the same at the same time: which of them is first is chance."""

    async def perform(self, stage: Stage) -> None:
        """Tell it, and wait for its end. Raises Unmet with everything that is not as it must be."""
        await self.tell(stage)
        findings: list[str] = ["nothing was looked at"]

        async def ended() -> bool:
            findings[:] = self.wanted.findings(await stage.objects())
            return not findings

        try:
            await stage.people.until(ended, "the end")
        except Unmet as unmet:
            raise Unmet(f"{unmet}: " + "; ".join(findings)) from None


WORKLOADS: dict[str, Workload] = {}
"""By name, in the order in which they are told."""


def workload(
    name: str, wanted: Wanted, *, is_long: bool = False, alike: tuple[str, ...] = ()
) -> Callable[[Tell], Tell]:
    """Makes a workload of what tells it."""

    def register(tell: Tell) -> Tell:
        about = " ".join((tell.__doc__ or "").split())
        WORKLOADS[name] = Workload(name, about, tell, wanted, is_long, alike)
        return tell

    return register
