"""kopf is confined: to one file, to reading, and to settings under which it cannot write."""

from __future__ import annotations

import asyncio
import contextlib
import re
import types
from pathlib import Path
from typing import Any

import pytest

from millrace.api import resources
from millrace.clients.territory import Territory
from millrace.handlers import adapter
from millrace.settings import Settings

PACKAGE = Path(adapter.__file__).parents[1]
SOURCES = sorted(PACKAGE.rglob("*.py"))


def test_the_adapter_stays_under_200_lines() -> None:
    lines = sum(len(path.read_text().splitlines()) for path in (PACKAGE / "handlers").glob("*.py"))
    assert lines < 200


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(PACKAGE)) for path in SOURCES])
def test_only_the_adapter_knows_kopf_and_it_uses_only_login_and_event(path: Path) -> None:
    text = path.read_text()
    if path.parent.name != "handlers":
        assert not re.search(r"^\s*(import|from) kopf", text, re.MULTILINE)
    assert not re.search(r"kopf\.on\.(create|update|resume|delete|field|validate|mutate|timer|daemon)", text)
    assert not re.search(r"kopf\.(timer|daemon|adopt|index|event|info|warn)\b", text)


def test_under_our_settings_kopf_neither_writes_nor_streams_lists() -> None:
    made = adapter.settings({resources.JOBS: "a=b", resources.DATASETS: ""})
    assert made.posting.enabled is False
    assert made.peering.standalone is True
    assert made.scanning.disabled is True
    assert made.watching.initial_streaming is False
    assert made.watching.chunk_size is None
    assert made.queueing.worker_limit is None
    assert made.persistence.finalizer == "millrace.dev/kopf-unused"
    assert made.process.ultimate_exiting_timeout is None, "kopf would kill the process after it has begun anew"
    assert dict(made.watching.label_selectors).values().__len__() == 1


def test_pauses_between_attempts_start_anew_for_each_request() -> None:
    pauses = adapter.settings({}).networking.error_backoffs
    assert list(pauses) == list(pauses) != []


async def test_a_watch_that_takes_its_cancellation_for_anothers_ends_all_the_same() -> None:
    """What kopf's own do whose request is under way; it would wait for them for ever, and nothing be watched again."""
    territory = Territory(Settings(namespace="ml", trainer_image="t", server_image="s", router_image="r"))
    watches: Any = adapter.KopfWatches(None, None, territory)  # type: ignore[arg-type]  # nothing begins here
    code = _goes_on.__code__.replace(co_filename=f"{adapter.NotKopfs._home}/api.py")
    watch = asyncio.create_task(types.FunctionType(code, globals())())
    watches._tasks = [asyncio.create_task(_refused())]
    watches.stop()
    with pytest.raises(PermissionError):
        async with asyncio.timeout(30):
            await watches.run()
    assert watch.cancelled()


async def _goes_on() -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(60)
    await asyncio.sleep(60)


async def _refused() -> None:
    raise PermissionError("422")
