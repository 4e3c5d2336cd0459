"""What an operator is shown of the world: faults of lists and watches.

A kind can be *dark* for a while: its watch shows nothing, and lists that may be old are of the moment when it got dark.
When it is light again everything is shown in order; or, of an unobserved state, only what is so by now.
Reads that are live by contract (a GET, a LIST without a version that the operator's client sends) are never made old.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from .plans import EVENTS, Plan
from .trace import Shown, Trace
from .wire import Event, Request

STALL_HOLDS: Final = 6
"""How many times longer than a stale view a silent watch lasts."""
REORDER_SECONDS: Final = 3.0
_OLD: Final = ("stale-list", "stale-watch", "recreated", "unobserved")


class Hands(Protocol):
    """The part of `injector.Hands` that is needed here."""

    hold: float

    def now(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...

    def kill(self, sender: str) -> None: ...

    def recreate(self, kind: str, name: str) -> None: ...


@dataclass(frozen=True)
class Dark:
    """A kind that is not shown until `until`. `version` is that of lists meanwhile; empty: lists are fresh."""

    until: float
    version: str = ""
    merges: bool = False
    """Whether only the newest state of each object is shown in the end."""


class View:
    """The lists and watches of all operators of one run."""

    def __init__(
        self,
        plan: Plan | None,
        hands: Hands,
        trace: Trace,
        reach: Callable[[], None],
        *,
        is_control: bool = False,
    ) -> None:
        self._plan = plan
        self._hands = hands
        self._trace = trace
        self._reach = reach
        self._is_control = is_control
        self._dark: dict[str, Dark] = {}
        self._counts: dict[str, int] = {}
        self._is_spent = False
        self.newest = 0
        """The newest version that anything showed."""

    def saw(self, version: object) -> None:
        """Note a version that an answer or an event carried."""
        text = str(version or "")
        if text.isdigit():
            self.newest = max(self.newest, int(text))

    def aged(self, request: Request) -> Request:
        """The request as it is sent on: a list that may be old is asked for as of when its kind got dark."""
        if request.verb != "list" or not may_be_old(request):
            return request
        dark = self._darkness(_kind(request))
        if dark is None or not dark.version:
            return request
        self._reach()
        kept = {name: value for name, value in request.params.items() if name not in ("limit", "continue")}
        exact = {"resourceVersion": dark.version, "resourceVersionMatch": "Exact"}
        return replace(request, params={**kept, **exact})

    def stall(self, request: Request) -> None:
        """The watch of what this request is about goes silent; that of everything if nothing watches it."""
        until = self._hands.now() + STALL_HOLDS * self._hands.hold
        kind = _kind(request)
        for one in [kind] if kind in self._counts else list(self._counts):
            self._dark[one] = Dark(until)

    async def show(self, request: Request, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
        """The events of one watch, as this operator gets them."""
        kind = _kind(request)
        self._counts.setdefault(kind, 0)
        async with _read_ahead(events) as queue:
            while (event := await queue.next()) is not None:
                for one in await self._treated(request, kind, event, queue):
                    yield one

    async def _treated(self, request: Request, kind: str, event: Event, queue: _Queue) -> list[Event]:
        """What is shown for an event of the watch."""
        fault = self._noticed(request, kind, event)
        if fault == "lost-event":
            return []
        if fault == "duplicated-event":
            return [event, event]
        if fault == "reordered-event":
            return await self._swapped(request, kind, event, queue)
        dark = self._darkness(kind)
        if dark is None:
            return [event]
        await self._hands.sleep(dark.until - self._hands.now())
        if not dark.merges:
            return [event]
        hidden = [event, *queue.waiting()]
        for later in hidden[1:]:
            self._noticed(request, kind, later)
        return self._merged(hidden)

    async def _swapped(self, request: Request, kind: str, event: Event, queue: _Queue) -> list[Event]:
        """The next event first, unless none comes soon."""
        deadline = self._hands.now() + REORDER_SECONDS
        while not (waiting := queue.waiting(most=1)):
            if self._hands.now() >= deadline:
                return [event]
            await self._hands.sleep(0.1)
        self._noticed(request, kind, waiting[0])
        return [waiting[0], event]

    def _merged(self, hidden: list[Event]) -> list[Event]:
        """Of each object only what is so now; of one that came and went, nothing."""
        last: dict[str, Event] = {}
        came: dict[str, str] = {}
        for event in hidden:
            uid = event["object"]["metadata"].get("uid", "")
            came.setdefault(uid, event["type"])
            last.pop(uid, None)
            last[uid] = event
        if len(last) < len(hidden):
            self._reach()
        shown = []
        for uid, event in last.items():
            if came[uid] == "ADDED":
                if event["type"] == "DELETED":
                    continue
                event = {**event, "type": "ADDED"}  # noqa: PLW2901 - the same event, as a late watcher sees it
            shown.append(event)
        return shown

    def _darkness(self, kind: str) -> Dark | None:
        dark = self._dark.get(kind)
        if dark is not None and self._hands.now() >= dark.until:
            del self._dark[kind]
            return None
        return dark

    def _noticed(self, request: Request, kind: str, event: Event) -> str:
        """Count and record the event; begin the fault if it is the one. The fault, if it is one of this event's."""
        metadata = event["object"].get("metadata") or {}
        if event["type"] in ("BOOKMARK", "ERROR"):
            return ""
        self._counts[kind] += 1
        nth = self._counts[kind]
        name, uid, version = (str(metadata.get(field) or "") for field in ("name", "uid", "resourceVersion"))
        self._trace.show(Shown(kind, nth, self._hands.now(), event["type"], name, uid, version))
        self.saw(version)
        plan = self._plan
        if plan is None or self._is_spent or (plan.place, plan.nth) != (kind, nth):
            return ""
        if plan.fault in EVENTS:
            self._is_spent = True
            self._reach()
            return plan.fault
        if plan.fault in _OLD:
            self._is_spent = True
            self._darken(plan, request, name, version)
        return ""

    def _darken(self, plan: Plan, request: Request, name: str, version: str) -> None:
        """From this event on the kind is dark, and what else belongs to the fault happens."""
        earlier = str(max(1, int(version) - 1)) if version.isdigit() else ""
        if not self._is_control:
            until = self._hands.now() + self._hands.hold
            self._dark[plan.place] = Dark(until, earlier, merges=plan.fault == "unobserved")
        if plan.fault == "stale-watch":
            self._reach()
        elif plan.fault == "recreated":
            self._reach()
            self._hands.recreate(plan.place, name)
        elif plan.fault == "stale-list":
            self._hands.kill(request.sender)


def _kind(request: Request) -> str:
    return request.site.partition(" ")[2]


def may_be_old(request: Request) -> bool:
    """Whether a list may be answered from a cache: the operator's audits say so, and its watches begin with one.

    `clients.kube.Kube.list` asks for pages and for no version: it is live by contract.
    """
    return request.params.get("resourceVersion") == "0" or "limit" not in request.params


class _Queue:
    """Events that have come; None once there will be no more."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._some = asyncio.Event()
        self._end: BaseException | None = None
        self._is_over = False

    async def fill(self, events: AsyncIterator[Event]) -> None:
        try:
            async for event in events:
                self._events.append(event)
                self._some.set()
        except Exception as error:  # noqa: BLE001 - whoever shows the events hears of it
            self._end = error
        self._is_over = True
        self._some.set()

    async def next(self) -> Event | None:
        """The next event. Raises what ended the watch."""
        while not self._events:
            if self._is_over:
                if self._end is not None:
                    raise self._end
                return None
            self._some.clear()
            await self._some.wait()
        return self._events.pop(0)

    def waiting(self, most: int | None = None) -> list[Event]:
        """Events that have come and were not taken."""
        taken, self._events = self._events[:most], [] if most is None else self._events[most:]
        return taken


@contextlib.asynccontextmanager
async def _read_ahead(events: AsyncIterator[Event]) -> AsyncIterator[_Queue]:
    queue = _Queue()
    task = asyncio.create_task(queue.fill(events), name="events")
    try:
        yield queue
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
