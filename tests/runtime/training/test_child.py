"""The process that runs a model: what it leaves is a stranger's, what it started ends with it, and it finds no keys."""

from __future__ import annotations

import ctypes
import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest
from run_kit import graphs

from millrace_runtime.training import scoring

STUB = """
import json, os, pathlib, sys, numpy as np
class SessionOptions: pass
class InferenceSession:
    def __init__(self, path, *_, **__):
        folder = pathlib.Path(path).parent
        {leave}
        os._exit(0)
"""
LEFT = {
    "a pipe": "os.mkfifo(folder / 'signature.json'); os.mkfifo(folder / 'outputs.npz')",
    "a link to what the evaluator may read": "(folder / 'signature.json').symlink_to('/proc/self/environ')",
    "nothing": "pass",
    "a zip bomb": "(folder / 'signature.json').write_text('{}'); "
    "np.savez_compressed(folder / 'outputs.npz', a=np.zeros(10**7))",
    "a sparse file": "(folder / 'signature.json').write_text('{}'); "
    "(folder / 'outputs.npz').open('wb').truncate(2**40)",
    "a pickle": "(folder / 'signature.json').write_text('{}'); "
    "np.savez(folder / 'outputs.npz', a=np.array([{}], dtype=object))",
    "other outputs": "(folder / 'signature.json').write_text('{}'); np.savez(folder / 'outputs.npz', **{'else/x': 1})",
}


@pytest.mark.timeout(90)
@pytest.mark.parametrize("what", LEFT)
def test_answers_that_a_hostile_model_left_are_read_as_a_strangers(tmp_path, monkeypatch, what):
    said = "left other outputs than it declares" if what == "other outputs" else "left answers that cannot be read"
    (tmp_path / "onnxruntime.py").write_text(STUB.format(leave=LEFT[what]))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    with pytest.raises(scoring.ScoringError, match=said):
        scoring.score(graphs.classifier().SerializeToString(), {"test": {"numeric": np.zeros((1, 2), np.float32)}})


def test_what_a_model_started_ends_with_it(tmp_path, monkeypatch):
    (tmp_path / "onnxruntime.py").write_text(
        "import os, pathlib, time\n"
        f"pid = os.fork()\n"
        f"pathlib.Path({str(tmp_path)!r}, 'pid').write_text(str(pid or os.getpid())) if pid else time.sleep(600)\n"
        "raise RuntimeError('no')\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    with pytest.raises(scoring.ScoringError):
        scoring.score(graphs.classifier().SerializeToString(), {"test": {"numeric": np.zeros((1, 2), np.float32)}})
    started = int((tmp_path / "pid").read_text())
    for _ in range(200):
        state = (
            pathlib.Path(f"/proc/{started}/stat").read_text().split()
            if pathlib.Path(f"/proc/{started}").exists()
            else ["", "", "Z"]
        )
        if state[2] == "Z":
            return
        time.sleep(0.02)
    raise AssertionError("it is still there")


# ------------------------------------------------------------------------------------------------------- secrecy

SPY = """
import json, os, pathlib
def held(path):
    try: return pathlib.Path(path).read_bytes().decode('utf-8', 'replace')
    except OSError as error: return type(error).__name__
def maps(pid):
    try:
        with open(f'/proc/{pid}/mem', 'rb'): return 'opened'
    except OSError as error: return type(error).__name__
parent = os.getppid()
pathlib.Path(os.environ['TMPDIR'], 'spied.json').write_text(json.dumps({
    'environ': held(f'/proc/{parent}/environ'), 'memory': maps(parent), 'own': dict(os.environ), 'user': os.getuid()}))
raise RuntimeError('spied')
"""
EVALUATOR = """
import os, sys
from millrace_runtime import secrecy, store
secrecy.keep()
assert os.environ['AWS_SECRET_ACCESS_KEY'] == 'wonderland-secret'
assert store.Credentials.from_environment().secret == 'wonderland-secret'
assert os.popen('echo $AWS_SECRET_ACCESS_KEY').read().strip() == 'wonderland-secret'
import numpy as np
from millrace_runtime.training import scoring
try: scoring.score(open(sys.argv[1], 'rb').read(), {'test': {'numeric': np.zeros((1, 2), np.float32)}})
except scoring.ScoringError as error: print(error)
"""


def unprivileged():
    """As the pod's user is: no capability, not even root's, so that the kernel's own rules decide."""
    libc = ctypes.CDLL(None)
    for capability in range(64):
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP: what exec then gives root is nothing


@pytest.mark.parametrize("privileged", [True, False], ids=["as it is", "as in the pod"])
def test_the_process_that_runs_a_model_cannot_read_the_keys_of_the_one_that_started_it(tmp_path, privileged):
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub" / "onnxruntime.py").write_text(SPY)
    (tmp_path / "model.onnx").write_bytes(graphs.classifier().SerializeToString())
    (tmp_path / "scratch").mkdir()
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "stub"), *sys.path]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(tmp_path / "scratch"),
        "AWS_ACCESS_KEY_ID": "alice",
        "AWS_SECRET_ACCESS_KEY": "wonderland-secret",
    }
    done = subprocess.run(
        [sys.executable, "-c", EVALUATOR, str(tmp_path / "model.onnx")],
        env=environ, capture_output=True, text=True, timeout=120, check=False,
        preexec_fn=None if privileged else unprivileged,
    )  # fmt: skip
    assert "spied" in done.stdout, done.stderr
    seen = json.loads((tmp_path / "scratch" / "spied.json").read_text())
    assert "wonderland" not in seen["environ"]
    assert "wonderland" not in json.dumps(seen["own"])
    if not privileged:
        assert (seen["environ"], seen["memory"]) == ("PermissionError", "PermissionError")


@pytest.mark.parametrize("stage", ["fetch", "evaluate"])
def test_a_stage_that_holds_keys_hides_them_before_it_does_anything(tmp_path, stage):
    """The container as the image starts it, asked from outside while it waits for a store that does not answer."""
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "MILLRACE_TERMINATION_LOG": str(tmp_path / "log"),
        "AWS_SECRET_ACCESS_KEY": "wonderland-secret",
    }
    script = (
        "import runpy, sys, pathlib, millrace_runtime.training.spec as spec\n"
        "spec.read = lambda _: sys.exit('wonderland' in pathlib.Path('/proc/self/environ').read_text())\n"
        f"sys.argv = ['training', {stage!r}]\n"
        "runpy.run_module('millrace_runtime.training', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
