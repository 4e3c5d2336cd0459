"""Gives built images to a cluster, and their names to the chart."""

from __future__ import annotations

from pathlib import Path

from millrace_cluster import binaries, console
from millrace_cluster.cluster import Cluster
from millrace_images.building import Built

RECORD_SECONDS = 30 * 86400.0


def values(built: list[Built]) -> dict[str, str]:
    """The chart's values for these images, as `helm --set` takes them: path -> value."""
    return {
        f"images.{image.name}.{part}": value
        for image in built
        for part, value in (("repository", image.repository), ("tag", image.tag))
    }


def load(built: list[Built], cluster: Cluster) -> None:
    """Imports every image that the cluster does not hold yet; a cluster that pulls is left to pull.

    What was loaded is remembered by the cluster's identity (the UID of kube-system), so it is asked of no runtime.

    Raises:
        ClusterError: the cluster does not answer, or an import failed.
    """
    if cluster.kind == "own":
        return
    identity = cluster.kubectl("get", "namespace", "kube-system", "--output=jsonpath={.metadata.uid}").stdout
    record = binaries.cache() / "images" / f"loaded-{identity}"
    known = set(record.read_text().split()) if record.exists() else set()
    for image in built:
        if image.reference in known:
            continue
        with console.step(f"loading {image.reference}"):
            cluster.load_image(image.archive)
        known.add(image.reference)
        record.write_text("\n".join(sorted(known)) + "\n")
    record.touch()
    _forget(record)


def _forget(newest: Path) -> None:
    """Drops records of clusters that nobody has loaded anything into for a month: they are gone."""
    for record in newest.parent.glob("loaded-*"):
        if record != newest and newest.stat().st_mtime - record.stat().st_mtime > RECORD_SECONDS:
            record.unlink()
