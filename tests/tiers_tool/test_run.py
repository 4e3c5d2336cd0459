"""Tiers run alone and side by side, with commands that only pretend to test something."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace_tiers import process
from millrace_tiers.display import Display
from millrace_tiers.run import Sequencer
from millrace_tiers.table import Step, Tier

TOOL = Path(process.__file__).parents[1]


def tier(name: str, *scripts: str, group: str = "", lane: str = "", nice: int = 0) -> Tier:
    """A tier of shell scripts; a group of its own unless one is given."""
    steps = tuple(Step(("sh", "-c", script, name), f"step {n}") for n, script in enumerate(scripts, 1))
    return Tier(name, steps, group or name, lane, nice=nice)


class Story:
    """A run of tiers and what it printed."""

    def __init__(self, folder: Path, *tiers: Tier) -> None:
        self.stream = io.StringIO()
        self.sequencer = Sequencer(tiers, Display(self.stream), folder / "logs", removes_cluster=False)

    def run(self, *arguments: str) -> int:
        return self.sequencer.run(arguments)

    @property
    def printed(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[str]:
        return self.printed.splitlines()

    def verdicts(self) -> dict[str, str]:
        table = self.printed.partition("== tiers ==\n")[2].partition("\n\n")[0]
        return {line.split()[0]: re.sub(r"^\s*\S+\s+(-|\d+s)\s*", "", line) for line in table.splitlines()}


@pytest.fixture(autouse=True)
def _nothing_left(tmp_path: Path) -> Iterator[None]:
    """A test that fails leaves no process: what it wrote down is killed, if it is still what was started here."""
    yield
    for pid_file in (tmp_path / "pid", tmp_path / "child"):
        with contextlib.suppress(OSError, ValueError):
            pid = int(pid_file.read_text())
            if f"MILLRACE_FAILURES={tmp_path}/" in Path(f"/proc/{pid}/environ").read_text():
                os.kill(pid, signal.SIGKILL)


def ended(pid_file: Path) -> bool:
    """Whether the process that wrote its id there is gone."""
    try:
        state = Path(f"/proc/{pid_file.read_text().strip()}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def test_tiers_run_in_order_and_the_table_says_how_each_ended(tmp_path: Path):
    told = Story(tmp_path, tier("lint", "echo one"), tier("unit", "echo two"))
    assert told.run() == 0
    assert told.printed.index("one") < told.printed.index("== unit ==") < told.printed.index("two")
    assert told.verdicts() == {"lint": "passed", "unit": "passed", "all": ""}


def test_what_a_caller_adds_goes_to_the_last_step(tmp_path: Path):
    told = Story(tmp_path, tier("unit", 'echo "first $*"', 'echo "second $*"'))
    assert told.run("-k", "drift or canary") == 0
    assert "first \n" in told.printed
    assert "second -k drift or canary\n" in told.printed
    assert "== tiers ==" not in told.printed


def test_a_failed_step_ends_its_tier_and_the_run_with_its_exit_code(tmp_path: Path):
    told = Story(tmp_path, tier("lint", "exit 3", "echo never"), tier("unit", "echo never"))
    assert told.run() == 3
    assert "never" not in told.printed
    assert told.verdicts() == {"lint": "FAILED: make lint", "unit": "not run", "all": "exit code 3"}


def test_the_last_lines_of_a_run_are_the_last_lines_of_the_step_that_failed(tmp_path: Path):
    told = Story(tmp_path, tier("lint", "echo the step before", "seq 100; echo 'wrong.py:3: error' >&2; exit 1"))
    told.run()
    assert told.lines[-42:-40] == ["== lint failed ==", "62"]
    assert told.lines[-2:] == [
        "wrong.py:3: error",
        f"FAILED: make lint (step 2, exit code 1); all of its output: {os.path.relpath(tmp_path / 'logs/lint.log')}",
    ]


def test_the_report_that_a_tier_wrote_itself_is_printed_last(tmp_path: Path):
    told = Story(tmp_path, tier("unit", "echo noise; echo 'test_x: assert 1 == 2' > $MILLRACE_FAILURES; exit 1"))
    told.run()
    assert told.lines[-2:] == ["== unit failed ==", "test_x: assert 1 == 2"]


def test_a_report_of_an_earlier_run_is_not_believed(tmp_path: Path):
    Story(tmp_path, tier("unit", "echo 'an old story' > $MILLRACE_FAILURES; exit 1")).run()
    told = Story(tmp_path, tier("unit", "exit 1"))
    told.run()
    assert "an old story" not in told.printed


def test_what_was_drawn_over_and_coloured_is_not_in_the_last_lines(tmp_path: Path):
    told = Story(tmp_path, tier("lint", r"printf '10 %%\r\033[K99 %%\r\033[31mred\033[0m\n'; exit 1"))
    told.run()
    assert told.lines[-2] == "red"


def test_a_program_that_is_not_there_fails_its_tier(tmp_path: Path):
    told = Story(tmp_path, Tier("lint", (Step(("no-such-program",)),), "lint"))
    assert told.run() == 127
    assert told.lines[-2] == "no-such-program: No such file or directory"


def test_a_tier_that_a_signal_ended_has_failed(tmp_path: Path):
    assert Story(tmp_path, tier("unit", "kill -9 $$")).run() == 137


def test_tiers_of_a_group_run_at_the_same_time(tmp_path: Path):
    meet = f"touch {tmp_path}/$0; while [ ! -e {tmp_path}/%s ]; do sleep 0.02; done"
    told = Story(tmp_path, tier("one", meet % "two", group="g"), tier("two", meet % "one", group="g"))
    assert told.run() == 0


def test_the_tiers_of_a_lane_run_one_after_another_beside_those_of_another(tmp_path: Path):
    first = f"while [ ! -e {tmp_path}/other ]; do sleep 0.02; done; sleep 0.2; touch {tmp_path}/first"
    second = f"test -e {tmp_path}/first && touch {tmp_path}/second"
    other = f"touch {tmp_path}/other; while [ ! -e {tmp_path}/second ]; do sleep 0.02; done"
    told = Story(
        tmp_path,
        tier("one", first, group="g", lane="a"),
        tier("two", second, group="g", lane="a"),
        tier("three", other, group="g", lane="b"),
    )
    assert told.run() == 0
    assert set(told.verdicts()) == {"one", "two", "three", "all"}


def test_a_failure_in_a_lane_ends_the_other_and_what_would_have_followed_is_not_run(tmp_path: Path):
    told = Story(
        tmp_path,
        tier("bad", "exit 5", group="g", lane="a"),
        tier("next", "true", group="g", lane="a"),
        tier("slow", "sleep 60", group="g", lane="b"),
    )
    assert told.run() == 5
    assert told.verdicts() == {
        "bad": "FAILED: make bad", "slow": "stopped", "next": "not run", "all": "exit code 5",
    }  # fmt: skip


def test_a_tier_gives_way_only_to_others(tmp_path: Path):
    say = "echo nice $(nice)"
    beside = Story(tmp_path, tier("one", say, group="g", nice=7), tier("two", say, group="g"))
    assert beside.run() == 0
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert {line for line in beside.lines if line.startswith("nice ")} == {f"nice {own}", f"nice {min(19, own + 7)}"}
    alone = Story(tmp_path, tier("one", say, nice=7))
    assert alone.run() == 0
    assert f"nice {own}" in alone.lines


def test_what_tiers_print_side_by_side_is_never_mixed(tmp_path: Path):
    talk = "for n in 1 2 3 4 5 6 7 8; do echo $0 $n; sleep 0.03; done"
    told = Story(tmp_path, tier("one", talk, group="g"), tier("two", talk, group="g"))
    assert told.run() == 0
    said = [line for line in told.lines if re.fullmatch(r"(one|two) \d", line)]
    assert len(said) == 16
    assert [line.split()[0] for line in said] in ([*["one"] * 8, *["two"] * 8], [*["two"] * 8, *["one"] * 8])


def test_groups_wait_for_each_other(tmp_path: Path):
    told = Story(
        tmp_path,
        tier("one", "true", group="g"),
        tier("two", f"sleep 0.4; touch {tmp_path}/two", group="g"),
        tier("three", f"test -e {tmp_path}/two"),
    )
    assert told.run() == 0


def test_a_failure_ends_the_others_of_its_group_and_they_may_clean_up(tmp_path: Path):
    tidy = f"trap 'touch {tmp_path}/tidied; exit 1' INT; echo $$ > {tmp_path}/pid; while :; do sleep 0.05; done"
    fail = f"while [ ! -s {tmp_path}/pid ]; do sleep 0.02; done; echo the reason; exit 4"
    told = Story(tmp_path, tier("slow", tidy, group="g"), tier("bad", fail, group="g"), tier("after", "true"))
    assert told.run() == 4
    assert (tmp_path / "tidied").exists()
    assert ended(tmp_path / "pid")
    assert told.verdicts() == {
        "slow": "stopped", "bad": "FAILED: make bad", "after": "not run", "all": "exit code 4",
    }  # fmt: skip
    assert "== slow failed ==" not in told.printed
    assert told.lines[-2] == "the reason"


def test_whoever_does_not_heed_an_interruption_is_ended_with_all_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(process, "GRACE", tuple((number, 0.5) for number, _ in process.GRACE))
    deaf = f"trap '' INT TERM; sleep 60 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/pid; wait; sleep 60"
    fail = f"while [ ! -s {tmp_path}/pid ]; do sleep 0.02; done; exit 1"
    told = Story(tmp_path, tier("deaf", deaf, group="g"), tier("bad", fail, group="g"))
    assert told.run() == 1
    assert ended(tmp_path / "pid")
    assert ended(tmp_path / "child")


def test_two_that_fail_together_are_both_told(tmp_path: Path):
    told = Story(tmp_path, tier("one", "echo a; exit 1", group="g"), tier("two", "echo b; exit 1", group="g"))
    assert told.run() == 1
    assert told.verdicts() | {"all": ""} == {"one": "FAILED: make one", "two": "FAILED: make two", "all": ""}
    assert {"== one failed ==", "== two failed =="} <= set(told.lines)


def test_a_process_that_a_tier_leaves_behind_does_not_hold_the_run_up(tmp_path: Path):
    told = Story(tmp_path, tier("e2e", f"sleep 60 & echo $! > {tmp_path}/pid; echo up"))
    assert told.run() == 0
    assert "up\n" in told.printed
    assert not ended(tmp_path / "pid")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_time_limit_ends_what_runs_and_says_what_it_had_printed(tmp_path: Path, number: signal.Signals):
    program = f"""
import sys; sys.path[:0] = [{str(TOOL)!r}, {str(TOOL.parent / "cluster")!r}]
from pathlib import Path
from millrace_tiers.display import Display
from millrace_tiers.run import Sequencer
from millrace_tiers.table import Step, Tier
hang = "echo waiting for godot; echo $$ > {tmp_path}/pid; while :; do sleep 0.05; done"
tiers = [Tier("e2e", (Step(("sh", "-c", hang)),), "e2e"), Tier("more", (Step(("true",)),), "more")]
sys.exit(Sequencer(tiers, Display(), Path({str(tmp_path)!r}), removes_cluster=False).run())
"""
    # As a shell starts what it runs in the background: deaf to Ctrl-C unless it asks for it.
    deaf = ["sh", "-c", 'trap \'\' INT; exec "$0" "$@"', sys.executable, "-c", program]
    with subprocess.Popen(deaf, stdout=subprocess.PIPE, text=True) as run:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.02)
        try:
            run.send_signal(number)
            printed, _ = run.communicate(timeout=60)
        finally:
            run.kill()
    assert run.returncode == 128 + number
    assert ended(tmp_path / "pid")
    assert f"stopped by {number.name}" in printed
    assert re.search(r"^  more +- +not run$", printed, re.MULTILINE)
    assert printed.rpartition("== e2e was stopped ==\n")[2].startswith("waiting for godot\nstopped")
