from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
from pathlib import Path

import pytest

from millrace_cluster import record


@pytest.fixture
def sleeper(tmp_path: Path):
    with subprocess.Popen(record.recording_command(tmp_path / "pid", ["sleep", "60"])) as process:
        while not (tmp_path / "pid").exists():
            pass
        yield process
        process.kill()


def test_a_process_is_recorded_before_it_becomes_the_program_it_runs(tmp_path: Path, sleeper: subprocess.Popen[bytes]):
    recorded = record.read_process(tmp_path / "pid")
    assert recorded == record.process(sleeper.pid)


def test_a_recorded_process_that_ended_is_not_found(tmp_path: Path, sleeper: subprocess.Popen[bytes]):
    sleeper.kill()
    sleeper.wait()
    assert record.read_process(tmp_path / "pid") is None


def test_a_zombie_counts_as_ended(sleeper: subprocess.Popen[bytes]):
    running = record.process(sleeper.pid)
    assert running
    os.kill(sleeper.pid, signal.SIGKILL)
    assert record.await_end([running], seconds=5) == []


def test_a_recycled_process_id_is_never_killed(sleeper: subprocess.Popen[bytes]):
    running = record.process(sleeper.pid)
    assert running
    earlier = dataclasses.replace(running, started=running.started - 1)
    earlier.kill()
    assert not earlier.alive()
    assert sleeper.poll() is None


def test_a_record_of_an_earlier_boot_is_not_believed(tmp_path: Path, sleeper: subprocess.Popen[bytes]):
    stat, _ = (tmp_path / "pid").read_text().splitlines()
    (tmp_path / "pid").write_text(f"{stat}\n00000000-0000-0000-0000-000000000000\n")
    assert record.read_process(tmp_path / "pid") is None


def test_descendants_are_found_parents_first(tmp_path: Path):
    with subprocess.Popen(["sh", "-c", "sh -c 'sleep 60; :' & wait"], start_new_session=True) as process:
        root = record.process(process.pid)
        assert root
        while len(below := root.descendants()) < 2:
            pass
        parents = [int(Path(f"/proc/{one.pid}/stat").read_text().rpartition(")")[2].split()[1]) for one in below]
        os.killpg(process.pid, signal.SIGKILL)
    assert parents == [root.pid, below[0].pid]


@pytest.mark.e2e
def test_what_is_still_ending_beside_it_is_not_taken_for_the_node_process():
    script = "sleep 60 & exec unshare --pid --fork --kill-child=SIGKILL sh -c 'sleep 60; :'"
    with subprocess.Popen(["sh", "-c", script], start_new_session=True) as process:
        root = record.process(process.pid)
        assert root
        while not (first := root.first_in_a_namespace()):
            assert process.poll() is None
        older, *below = root.descendants()
        os.killpg(process.pid, signal.SIGKILL)
    assert first != older
    assert first == below[0]


@pytest.mark.parametrize("content", ["", "{}", "not json", '{"checkout": "/somewhere"}'])
def test_an_unreadable_owner_is_no_owner(tmp_path: Path, content: str):
    (tmp_path / "owner.json").write_text(content)
    assert record.read_owner(tmp_path / "owner.json") is None


def test_an_owner_reads_back_as_written(tmp_path: Path):
    owner = record.Owner("/somewhere", "abc", 16443)
    owner.write(tmp_path / "owner.json")
    assert record.read_owner(tmp_path / "owner.json") == owner
