from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from millrace_cluster import record
from millrace_cluster.control_plane import ControlPlane
from millrace_cluster.failure import ClusterError

pytestmark = pytest.mark.apiserver


def test_users_have_the_groups_they_were_given_and_no_more(tmp_path: Path):
    with ControlPlane(tmp_path, users={"alice": ["dev"], "bob": ["approvers"]}) as plane:
        groups = plane.kubectl("auth", "whoami", "--output=jsonpath={.status.userInfo.groups}", user="alice").stdout
        assert groups == '["dev","system:authenticated"]'
        assert plane.kubectl("get", "namespaces", check=False).returncode == 0
        with pytest.raises(ClusterError, match='User "bob" cannot list resource "namespaces"'):
            plane.kubectl("get", "namespaces", user="bob")


def test_the_controller_manager_runs_only_when_asked(tmp_path: Path):
    with ControlPlane(tmp_path, controller_manager=True) as plane:
        plane.kubectl("wait", "serviceaccount/default", "--for=create", "--timeout=20s")


def test_a_wrong_flag_is_reported_with_the_programs_own_words(tmp_path: Path):
    with pytest.raises(ClusterError, match="unknown flag: --no-such-flag"):
        ControlPlane(tmp_path, apiserver_flags=["--no-such-flag"]).__enter__()


def test_the_control_plane_ends_with_a_test_run_that_is_killed(tmp_path: Path):
    program = (
        "import sys, time; from pathlib import Path; from millrace_cluster.control_plane import ControlPlane\n"
        f"with ControlPlane(Path({str(tmp_path)!r})):\n    print('ready', flush=True); time.sleep(60)"
    )
    environment = {
        "PYTHONPATH": str(Path(record.__file__).resolve().parents[1]),
        "PATH": "/usr/bin:/bin",
        "HOME": str(Path.home()),
    }
    with subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
        owner = record.process(run.pid)
        assert owner
        below = owner.descendants()
        run.send_signal(signal.SIGKILL)
        run.wait()
        deadline = time.monotonic() + 10
        while any(one.alive() for one in below) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert len(below) == 2
    assert [one for one in below if one.alive()] == []
