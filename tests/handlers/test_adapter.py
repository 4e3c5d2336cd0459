"""kopf is confined: to one file, to reading, and to settings under which it cannot write."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from millrace.api import resources
from millrace.handlers import adapter

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
    assert dict(made.watching.label_selectors).values().__len__() == 1


def test_pauses_between_attempts_start_anew_for_each_request() -> None:
    pauses = adapter.Backoffs()
    assert list(pauses) == list(pauses) != []
