"""A kind cluster is used and deleted only where its node says that it was made here. Docker and kind are scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from millrace_cluster import binaries, kind
from millrace_cluster.failure import ClusterError


class Machine:
    """What kind and docker are called with, and the labels of the node that there is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has_a_cluster(self, node: str) -> None:
        """`node` is what the cluster's node answers to a look for our label."""
        (self._folder / "clusters").write_text(f"{kind.NAME}\n")
        (self._folder / "nodes").write_text(node)

    def calls(self) -> list[str]:
        """Calls of kind that do something."""
        log = self._folder / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        return [line for line in lines if not line.startswith("get clusters")]

    @property
    def config(self) -> dict[str, object]:
        """The configuration that a cluster was created with."""
        found: dict[str, object] = json.loads((self._folder / "config").read_text())
        return found


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    scripts = {
        "docker": f'if [ "$1" = exec ]; then cat {tmp_path}/nodes; else echo 28.2.2; fi',
        "kind": f"""echo "$@" >> {tmp_path}/calls
case "$1 $2" in
  "get clusters") cat {tmp_path}/clusters 2>/dev/null || true;;
  "create cluster") for word in "$@"; do case $word in
    --config=*) cp "${{word#--config=}}" {tmp_path}/config;;
  esac; done;;
esac""",
    }
    for name, script in scripts.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("MILLRACE_CACHE", str(tmp_path))
    monkeypatch.setattr(binaries, "ensure", lambda programs: {name: tmp_path / name for name in programs})
    monkeypatch.setattr(binaries, "path_of", lambda program: tmp_path / program)
    return Machine(tmp_path)


def test_a_cluster_is_made_with_our_label_on_its_node(machine: Machine):
    kind.up()
    assert machine.config["nodes"] == [{"role": "control-plane", "labels": {kind.MARK: kind.NAME}}]


def test_a_cluster_that_was_made_here_is_found_and_deleted(machine: Machine):
    machine.has_a_cluster(node=f"node/{kind.NAME}-control-plane\n")
    kind.up()
    assert kind.down()
    assert [call.split()[0] for call in machine.calls()] == ["export", "delete"]


@pytest.mark.parametrize("use", [kind.up, kind.down])
def test_a_cluster_of_our_name_without_our_label_is_neither_used_nor_deleted(machine: Machine, use):
    machine.has_a_cluster(node="")
    with pytest.raises(ClusterError, match="it is left as it is") as caught:
        use()
    assert caught.value.exit_code == 2
    assert f"next: kind delete cluster --name {kind.NAME}" in str(caught.value)
    assert machine.calls() == []
