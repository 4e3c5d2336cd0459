"""Operators of the tests' own, in this process."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from millrace import wiring
from millrace.api import resources
from millrace.api.resources import ResourceType
from millrace.clients.credentials import Credentials
from millrace.controller.routing import Controller
from millrace.settings import Settings
from millrace_kit import widgets

WIDGET = Controller(widgets.WIDGETS, widgets.observe_widget, widgets.decide_widget)


def of_widgets(
    cred: Credentials,
    namespace: str,
    kind: Controller = WIDGET,
    *,
    children: Sequence[ResourceType] = (resources.CONFIG_MAPS,),
    **lease: Any,
) -> wiring.Operator:
    """An operator of one kind, with a Lease that changes hands in two seconds."""
    settings = Settings(
        namespace=namespace, trainer_image="t", server_image="s", router_image="r", metrics_port=0, workers=4
    )
    times = {"lease_seconds": 2, "renew_seconds": 1.5, "retry_seconds": 0.2, **lease}
    return wiring.Operator(settings, cred, [kind], children=children, **times)


@contextlib.asynccontextmanager
async def running(operator: wiring.Operator, *, leading: bool = True) -> AsyncIterator[asyncio.Task[None]]:
    """The operator's life while the block runs, from when it leads, or at least knows everything."""
    task = asyncio.create_task(operator.run(signals=False))
    try:
        await until(lambda: task.done() or (operator.kernel.leads if leading else operator.kernel.audit.synced))
        if task.done():
            task.result()
        yield task
    finally:
        operator.stop()
        async with asyncio.timeout(20):
            await task


@contextlib.asynccontextmanager
async def running_apart(operator: wiring.Operator) -> AsyncIterator[Callable[[], None]]:
    """The operator's life in a thread and an event loop of its own; what is yielded stops it.

    Two of kopf in one loop take each other's tasks for their own: the first that ends cancels the other's watches.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="operator apart")
    thread.start()
    life = asyncio.run_coroutine_threadsafe(_live(operator), loop)

    def stop() -> None:
        loop.call_soon_threadsafe(operator.stop)

    try:
        await until(lambda: life.done() or operator.kernel.audit.synced, "the operator knows everything")
        if life.done():
            life.result()
        yield stop
    finally:
        stop()
        async with asyncio.timeout(20):
            await asyncio.wrap_future(life)
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.to_thread(thread.join)
        loop.close()


async def _live(operator: wiring.Operator) -> None:
    await operator.run(signals=False)
    await connections_ended()


async def connections_ended(seconds: float = 2.0) -> None:
    """Wait until the running loop has no connection left.

    A TLS connection ends a moment after whoever closed it went on; a loop that is closed before that leaves the socket
    to the garbage collector, whose warning then fails a later test.
    """
    selector = getattr(asyncio.get_running_loop(), "_selector")  # noqa: B009 - typeshed does not know it
    for _ in range(int(seconds / 0.005)):
        if len(selector.get_map()) <= 1:  # one is the loop's own
            return
        await asyncio.sleep(0.005)


async def until(condition: Callable[[], Any], what: str = "", seconds: float = 40) -> Any:
    """What the condition answers once that is true; a coroutine is awaited, and asked ten times a second."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        asked = inspect.isawaitable(found)
        found = await found if asked else found
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what or 'the awaited'}"
        await asyncio.sleep(0.1 if asked else 0.01)
