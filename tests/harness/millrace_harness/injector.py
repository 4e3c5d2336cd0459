"""Puts the fault of a plan where the plan says, between an operator and any API server, and says whether it got there.

Requests pass through `through`, events of watches through `show`. Both also record the trace from which plans are
enumerated. What cannot be done on the wire (a kill, a pause, a jump of the clock) is asked of `Hands`.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final, Protocol

from .plans import ANSWERS, CLOCKS, Plan
from .trace import Asked, Trace
from .viewing import View
from .wire import Event, Exchange, Lost, Request, Response

TRIES: Final = 3
"""As often as the operator's client repeats a request: a fault that lasts that long gets past it."""
HOUR: Final = 3600.0
PAUSE_SECONDS: Final = 40.0
"""Longer than it takes a successor to wait a lease out and to get to work."""
REASONS: Final = {
    409: "Conflict", 410: "Expired", 422: "Invalid", 429: "TooManyRequests", 500: "InternalError",
    503: "ServiceUnavailable",
}  # fmt: skip
_REPEATED: Final = frozenset({"answer-429", "answer-500", "answer-503", "timeout"})


class Hands(Protocol):
    """What a tier can do to the operators of a run."""

    hold: float
    """Seconds for which a view stays old."""
    patience: float
    """Seconds after which the operator's client gives up a request."""

    def now(self) -> float:
        """Seconds of the tier's time."""

    async def sleep(self, seconds: float) -> None:
        """Wait in the tier's time."""

    def kill(self, sender: str) -> None:
        """From now on nothing of this process arrives; a new one starts soon."""

    async def pause(self, sender: str, seconds: float) -> None:
        """Run nothing of this process for so long. Returns when it may go on."""

    def skew(self, seconds: float) -> None:
        """Move the time of day of every operator."""

    def recreate(self, kind: str, name: str) -> None:
        """Begin, as a user, to delete this object and to create it again with the same spec."""


@dataclass
class Point:
    """Counters of a call site."""

    asked: int = 0
    effects: int = 0


class Injector:
    """One plan, or none; for one run. A *control* does to the world what the plan does, and nothing to the operator."""

    def __init__(self, plan: Plan | None, hands: Hands, *, is_control: bool = False) -> None:
        self.trace = Trace()
        self.reached = plan is None
        self._plan = plan
        self._hands = hands
        self._points: dict[str, Point] = {}
        self._left = 0
        self._view = View(plan, hands, self.trace, self._reach, is_control=is_control)

    def through(self, inner: Exchange) -> Exchange:
        """An exchange with the fault in it."""

        async def exchange(request: Request) -> Response:
            return await self._exchange(inner, request)

        return exchange

    def show(self, request: Request, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
        """The events of one watch, with the fault in them."""
        return self._view.show(request, events)

    def _reach(self) -> None:
        self.reached = True

    async def _exchange(self, inner: Exchange, request: Request) -> Response:
        point = self._points.setdefault(request.site, Point())
        point.asked += 1
        nth = point.asked
        if await self._before(request, point) == "paused-leader":
            return await self._late(inner, request, nth)
        fault = self._fault(request, nth)
        if fault:
            return await self._faulty(inner, request, nth, fault)
        return await self._asked(inner, request, nth)

    async def _before(self, request: Request, point: Point) -> str:
        """Faults that come before the nth effective write of a site; the one that came, if one did."""
        plan = self._plan
        if plan is None or self.reached or not request.is_write:
            return ""
        if plan.place != request.site or plan.nth != point.effects + 1:
            return ""
        if plan.fault == "crash-before":
            await self._die(request)
        elif plan.fault in CLOCKS:
            self._reach()
            self._hands.skew(HOUR if plan.fault == "clock-forward" else -HOUR)
        elif plan.fault == "paused-leader":
            self._reach()
            await self._hands.pause(request.sender, PAUSE_SECONDS)
        return plan.fault

    async def _late(self, inner: Exchange, request: Request, nth: int) -> Response:
        """What a process was about to send when it was stopped is sent when it wakes, whatever its own clock says of
        time-outs: the socket was written to before anything else ran.
        """
        sent = asyncio.get_running_loop().create_task(
            self._asked(inner, request, nth),
            context=contextvars.Context(),  # nobody's: no owner cancels it
        )
        return await asyncio.shield(sent)

    def _fault(self, request: Request, nth: int) -> str:
        """The fault that takes the place of the answer; one that the client repeats on outlasts its repetitions."""
        plan = self._plan
        if plan is None or plan.fault not in ANSWERS or plan.place != request.site:
            return ""
        if nth == plan.nth and not self.reached:
            self._reach()
            self._left = TRIES if plan.fault in _REPEATED else 1
        if self._left == 0:
            return ""
        self._left -= 1
        return plan.fault

    async def _faulty(self, inner: Exchange, request: Request, nth: int, fault: str) -> Response:
        if fault == "timeout":
            self._note(request, nth, 0, 0)
            await self._hands.sleep(self._hands.patience)
            raise Lost("the request was lost on its way")
        if fault == "reply-lost":
            await self._asked(inner, request, nth)
            raise Lost("the answer was lost on its way")
        if fault == "stalled-watch":
            self._view.stall(request)
            return await self._asked(inner, request, nth)
        refused = refusal(int(fault.removeprefix("answer-")), request)
        self._note(request, nth, refused.status, 0)
        return refused

    async def _asked(self, inner: Exchange, request: Request, nth: int) -> Response:
        """The API server's answer, noted; and the end of the process, if it is to come right after a commit."""
        known = self._view.newest
        answer = await inner(self._view.aged(request))
        effect = self._effect(request, answer, known)
        self._note(request, nth, answer.status, effect)
        if effect and not self.reached and self._is_here("crash-after", request.site, effect):
            await self._die(request)
        return answer

    def _is_here(self, fault: str, place: str, nth: int) -> bool:
        plan = self._plan
        return plan is not None and (plan.fault, plan.place, plan.nth) == (fault, place, nth)

    def _effect(self, request: Request, answer: Response, known: int) -> int:
        """Which effective write of its site this was; 0 for none.

        A commit gets a version above every version seen before the request was sent; a write that changes nothing is
        answered with the version the object had.
        """
        version = str((answer.body.get("metadata") or {}).get("resourceVersion") or "")
        self._view.saw(version)
        if not request.is_write or answer.status >= 400:
            return 0
        if request.verb != "delete" and not (version.isdigit() and int(version) > known):
            return 0
        point = self._points[request.site]
        point.effects += 1
        self.trace.written.add(version)
        return point.effects

    def _note(self, request: Request, nth: int, status: int, effect: int) -> None:
        self.trace.ask(Asked(request.site, nth, self._hands.now(), status, effect))

    async def _die(self, request: Request) -> None:
        """The process is killed with this request in its hands."""
        self._reach()
        self._hands.kill(request.sender)
        await asyncio.Event().wait()


def refusal(status: int, request: Request) -> Response:
    """What the API server says no with."""
    reason = REASONS[status]
    body = {
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "code": status,
        "reason": reason,
        "message": f"{reason}: put here by the harness, on {request.site}",
    }
    return Response(status, body, {"Retry-After": "1"} if status == 429 else {})
