"""What is waited for is found in whatever a watch tells: here a program in kubectl's place tells it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from millrace_demo.kubectl import CommandFailed, Kubectl, TimedOut

Telling = Callable[[str], Kubectl]


@pytest.fixture
def telling(tmp_path: Path) -> Telling:
    """A kubectl whose runs are the Python text; `run` is the run's number, from 1, `tell` prints an event."""

    def made(text: str) -> Kubectl:
        program = tmp_path / "kubectl"
        program.write_text(
            f"#!{sys.executable} -IS\n"
            "import json, os, sys, time\n"
            f"runs = {str(tmp_path / 'runs')!r}\n"
            "with open(runs, 'a') as file:\n    file.write(f'{os.getpid()}\\n')\n"
            "run = len(open(runs).readlines())\n"
            "def tell(type, word):\n"
            "    print(json.dumps({'type': type, 'object': {'status': {'word': word}}}), flush=True)\n"
            f"{text}\n"
        )
        program.chmod(0o755)
        return Kubectl(program, tmp_path / "kubeconfig", "default")

    return made


def says(word: str) -> Callable[[dict[str, Any]], bool]:
    return lambda item: bool(item["status"]["word"] == word)


def runs(tmp_path: Path) -> list[int]:
    return [int(line) for line in (tmp_path / "runs").read_text().split()]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_state_that_does_not_last_is_seen_and_the_watch_is_over(telling: Telling, tmp_path: Path) -> None:
    kubectl = telling("for word in ('a', 'b', 'c'):\n    tell('MODIFIED', word)\ntime.sleep(600)")
    assert kubectl.until("mdep", "x", says("b"), 60) == {"status": {"word": "b"}}
    (pid,) = runs(tmp_path)
    assert not is_running(pid)


def test_an_event_may_come_in_pieces_and_be_larger_than_a_pipe(telling: Telling) -> None:
    word = "ü" * 200_000
    event = json.dumps({"type": "ADDED", "object": {"status": {"word": word}}}, ensure_ascii=False)
    text = (
        f"whole = {event!r}.encode() + b'\\n'\n"
        "for piece in (whole[:7], whole[7:99_999], whole[99_999:]):\n"
        "    sys.stdout.buffer.write(piece)\n"
        "    sys.stdout.buffer.flush()\n"
        "time.sleep(600)"
    )
    assert telling(text).until("mdep", "x", says(word), 60)["status"]["word"] == word


@pytest.mark.parametrize("end", ["", "sys.exit('lost')", "tell('ERROR', 'too old')\ntime.sleep(600)"])
def test_a_watch_that_ends_is_followed_by_another(telling: Telling, tmp_path: Path, end: str) -> None:
    kubectl = telling(f"tell('ADDED', 'yes' if run == 3 else 'no')\n{end}")
    assert kubectl.until("mdep", "x", says("yes"), 60) == {"status": {"word": "yes"}}
    assert len(runs(tmp_path)) == 3


def test_a_watch_that_ends_without_an_object_is_followed_by_another(telling: Telling) -> None:
    kubectl = telling("if run == 3: tell('ADDED', 'yes')")
    assert kubectl.until("mdep", "x", says("yes"), 60) == {"status": {"word": "yes"}}


def test_what_was_deleted_is_not_there(telling: Telling) -> None:
    kubectl = telling("tell('DELETED', 'yes')\ntell('ADDED', 'no')\ntime.sleep(600)")
    with pytest.raises(TimedOut, match=r"mdep/x: a word not within 2 s; last status: (?s:.*)no"):
        kubectl.until("mdep", "x", says("yes"), 2, "a word")


def test_the_time_is_over_although_nothing_is_told(telling: Telling, tmp_path: Path) -> None:
    kubectl = telling("time.sleep(600)")
    began = time.monotonic()
    with pytest.raises(TimedOut, match=r"mdep/x: <lambda> not within 1 s; last status: null"):
        kubectl.until("mdep", "x", says("yes"), 1)
    assert time.monotonic() - began >= 1
    assert not [pid for pid in runs(tmp_path) if is_running(pid)]


def test_what_kubectl_refuses_is_told_in_its_words_at_once(telling: Telling) -> None:
    with pytest.raises(CommandFailed, match=r"^kubectl get mdep x: forbidden$"):
        telling("sys.exit('forbidden')").until("mdep", "x", says("yes"), 600)


def test_a_question_that_fails_ends_the_watch(telling: Telling, tmp_path: Path) -> None:
    kubectl = telling("tell('ADDED', 'no')\ntime.sleep(600)")
    with pytest.raises(KeyError):
        kubectl.until("mdep", "x", lambda item: bool(item["status"]["nothing"]), 60)
    assert not [pid for pid in runs(tmp_path) if is_running(pid)]


def test_one_object_is_asked_for(telling: Telling) -> None:
    kubectl = telling("print(json.dumps({'type': 'ADDED', 'object': {'asked': sys.argv[1:]}}))")
    asked = kubectl.until("mdep", "x", lambda _: True, 60)["asked"]
    assert asked[2:] == [
        "get",
        "mdep",
        "--field-selector=metadata.name=x",
        "--watch",
        "--output-watch-events",
        "-o",
        "json",
    ]
