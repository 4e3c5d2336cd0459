from __future__ import annotations

from pathlib import Path

import pytest

from millrace_demo.kubectl import CommandFailed, Kubectl
from millrace_killsweep.forward import forwarded
from millrace_killsweep.supervisor import wait_until


def _kubectl(folder: Path, script: str) -> Kubectl:
    """A stand-in that behaves as kubectl port-forward does."""
    program = folder / "kubectl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return Kubectl(program, folder / "kubeconfig", "ml")


def test_a_forward_outlives_more_lines_than_a_pipe_holds(tmp_path: Path):
    talk = f"echo 'Forwarding from 127.0.0.1:4711 -> 80'; seq 1 40000; touch {tmp_path}/said; exec sleep 60"
    with forwarded(_kubectl(tmp_path, talk), "svc/a", 80) as url:
        assert url == "http://127.0.0.1:4711"
        assert wait_until((tmp_path / "said").exists, 20)


def test_a_forward_that_fails_says_why(tmp_path: Path):
    kubectl = _kubectl(tmp_path, "echo 'error: services \"a\" not found'; exit 1")
    with pytest.raises(CommandFailed, match='services "a" not found'), forwarded(kubectl, "svc/a", 80):
        pass
