"""The local cluster of the tests and the demo: a real Kubernetes, built from source, in namespaces of its own."""

from pathlib import Path

from millrace_cluster import binaries
from millrace_cluster.cluster import Cluster, Kubectl
from millrace_cluster.failure import ClusterError
from millrace_cluster.selection import choose, down, up

__all__ = ["Cluster", "ClusterError", "Kubectl", "binary", "choose", "down", "up"]


def binary(name: str) -> Path:
    """Path of a program this tool builds (helm, kubectl, versitygw, etcd ...), built first when missing."""
    return binaries.ensure([name])[name]
