from __future__ import annotations

import ipaddress
import json
import os
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

from millrace_cluster import addresses, images, kernel, kubeconfig, layout, nodefiles, volumes

CLUSTER_TOOL = Path(addresses.__file__).resolve().parents[1]


def ranges_of(instance: int) -> list[str]:
    program = (
        "from millrace_cluster import addresses as a; print(a.CABLE, a.POD_RANGE, a.SERVICE_RANGE, a.LINK, a.STATE)"
    )
    environment = {"MILLRACE_CLUSTER_INSTANCE": str(instance), "PYTHONPATH": str(CLUSTER_TOOL)}
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    ).stdout.split()


def test_two_instances_share_no_address_name_or_directory():
    one, other = ranges_of(0), ranges_of(1)
    networks = [ipaddress.ip_network(span) for span in one[:3] + other[:3]]
    assert not any(a.overlaps(b) for i, a in enumerate(networks) for b in networks[:i])
    assert not set(one) & set(other)


@pytest.mark.parametrize(
    "span, overlapping",
    [
        ("10.244.3.0/24", True),
        ("10.0.0.0/8", True),
        ("10.244.0.9", True),
        ("10.1.0.0/16", False),
        ("192.0.2.0/24", False),
    ],
)
def test_a_route_that_covers_a_pod_address_overlaps(span: str, overlapping: bool):
    assert addresses.overlaps(span, "10.244.0.0/16") is overlapping


def test_containerd_never_lowers_an_oom_score_and_pins_the_sandbox_image():
    config = tomllib.loads(nodefiles.containerd(Path("/cni"), Path("/conf"), "/usr/sbin/runc", "overlayfs"))
    plugins = config["plugins"]
    assert config["version"] == 3
    assert plugins["io.containerd.cri.v1.runtime"]["restrict_oom_score_adj"] is True
    assert plugins["io.containerd.cri.v1.images"]["pinned_images"] == {"sandbox": nodefiles.PAUSE_IMAGE}


def test_the_kubelet_evicts_nothing_and_keeps_to_its_own_control_group():
    config = json.loads(nodefiles.kubelet(Path("/ca"), Path("/resolv.conf"), Path("/plugins")))
    assert set(config["evictionHard"].values()) == {"0%"}
    assert config["imageGCHighThresholdPercent"] == 100
    assert config["cgroupRoot"] == f"/{addresses.CGROUP}"
    assert (config["failCgroupV1"], config["failSwapOn"]) == (False, False)


def test_the_sandbox_image_is_one_layer_under_both_names(tmp_path: Path):
    (tmp_path / "busybox").write_bytes(b"static")
    images.write_busybox(tmp_path / "busybox", tmp_path / "image.tar")
    with tarfile.open(tmp_path / "image.tar") as archive:
        manifest = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
        names = set(archive.getnames())
    assert manifest[0]["RepoTags"] == [nodefiles.PAUSE_IMAGE, images.TOOLBOX_IMAGE]
    assert {manifest[0]["Config"], *manifest[0]["Layers"]} <= names


def test_volumes_are_writable_by_any_user_and_start_empty(tmp_path: Path):
    (tmp_path / volumes.name_volume(0)).mkdir()
    (tmp_path / volumes.name_volume(0) / "leftover").touch()
    volumes.make_directories(tmp_path)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o777}
    assert list((tmp_path / volumes.name_volume(0)).iterdir()) == []
    assert len(volumes.manifests(tmp_path)) == 1 + volumes.COUNT


def test_only_our_volumes_without_a_claim_are_offered_again():
    def item(name: str, storage_class: str, phase: str) -> dict[str, object]:
        return {"metadata": {"name": name}, "spec": {"storageClassName": storage_class}, "status": {"phase": phase}}

    listing = [item("a", volumes.CLASS, "Released"), item("b", volumes.CLASS, "Bound"), item("c", "other", "Released")]
    assert volumes.released(json.dumps({"items": listing})) == ["a"]


def test_a_kubeconfig_is_readable_by_its_owner_only(tmp_path: Path):
    (tmp_path / "ca").write_text("certificate")
    written = kubeconfig.write(tmp_path / "config", "https://127.0.0.1:1", tmp_path / "ca", {"a": {}, "b": {}})
    assert written.stat().st_mode & 0o777 == 0o600
    assert json.loads(written.read_text())["current-context"] == "a"


def test_the_snapshotter_suits_the_file_system():
    assert layout.choose_snapshotter(Path("/proc")) == "overlayfs"


@pytest.mark.parametrize(
    "options, file, of_one_process, most",
    [("rw,relatime,cpu,cpuacct", "cpu.shares", 1024, 262_144), ("v2", "cpu.weight", 100, 10_000)],
)
def test_all_pods_together_weigh_more_than_a_process_beside_them_on_every_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str, file: str, of_one_process: int, most: int
):
    """`most` is what the kernel takes (Documentation/admin-guide/cgroup-v2.rst; kernel/sched: MAX_SHARES)."""
    monkeypatch.setattr(kernel, "_hierarchies", lambda: [(tmp_path, options)])
    kernel.make_cgroups()
    weight = int((tmp_path / addresses.CGROUP / file).read_text())
    assert of_one_process * (os.cpu_count() or 1) < weight <= most
