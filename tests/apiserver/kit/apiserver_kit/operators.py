"""Operators of the tests' own, in this process."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from millrace import testing, wiring
from millrace.api import resources
from millrace.api.resources import ResourceType
from millrace.clients.credentials import Credentials
from millrace.controller.routing import Controller
from millrace.settings import Settings

WIDGET = Controller(testing.WIDGETS, testing.observe_widget, testing.decide_widget)


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
