"""Storage: a default StorageClass and host-path volumes made beforehand, so a chart with a claim installs as it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

CLASS = "millrace-local"
COUNT = 16
CAPACITY = "20Gi"


def name_volume(index: int) -> str:
    """Name of the volume and of its directory."""
    return f"local-{index:02d}"


def manifests(directory: Path) -> list[dict[str, Any]]:
    """The StorageClass and `COUNT` PersistentVolumes below `directory` (a path as the node sees it)."""
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "Immediate",
        "reclaimPolicy": "Retain",
    }
    return [storage_class, *(volume(directory, index) for index in range(COUNT))]


def volume(directory: Path, index: int) -> dict[str, Any]:
    """One PersistentVolume."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name_volume(index)},
        "spec": {
            "storageClassName": CLASS,
            "capacity": {"storage": CAPACITY},
            "accessModes": ["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(directory / name_volume(index)), "type": "Directory"},
        },
    }


def make_directories(directory: Path) -> None:
    """Create the empty directories of all volumes, writable by every user id (pods run as any)."""
    for index in range(COUNT):
        make_directory(directory / name_volume(index))


def make_directory(path: Path) -> None:
    """Create, or empty, the directory of one volume."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    path.chmod(0o777)


def released(listing: str) -> list[str]:
    """Names of our volumes whose claim is gone, from `kubectl get persistentvolumes --output=json`."""
    items = json.loads(listing)["items"]
    return [item["metadata"]["name"] for item in items
            if item["spec"].get("storageClassName") == CLASS
            and item.get("status", {}).get("phase") in ("Released", "Failed")]  # fmt: skip
