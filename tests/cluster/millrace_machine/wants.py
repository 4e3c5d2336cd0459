"""What each command needs, and what that means on this machine under the caller's choice of a cluster."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

from millrace_machine import choice, packages, places
from millrace_machine.problem import Problem

# Needs that mean something else on another machine.
CLUSTER = "cluster"
IMAGES = "images"
PEERS = "peers"  # environments of the servers that ours is compared with: disk only

COMMANDS = {
    "venv": frozenset({packages.PYTHON}),
    "check": frozenset({packages.PYTHON, packages.CHECKOUT}),
    "demo": frozenset({packages.PYTHON, packages.PROGRAMS, CLUSTER, IMAGES}),
    # Whatever cluster is chosen: `programs` is the tier that tests the embedded one.
    "test": frozenset({packages.PYTHON, packages.CHECKOUT, packages.PROGRAMS, packages.CONTROL_PLANE, packages.NODE,
                       packages.PROMETHEUS, CLUSTER, IMAGES}),
    "test-long": frozenset({packages.PYTHON, packages.PROGRAMS, packages.CONTROL_PLANE, PEERS}),
}  # fmt: skip


def resolve(needs: frozenset[str]) -> frozenset[str]:
    """The needs with CLUSTER and IMAGES replaced by what they take here: packages' purposes.

    Raises:
        Problem: the chosen cluster cannot be used as things are.
    """
    docker = functools.lru_cache(maxsize=None)(choice.docker_answers)
    found = set(needs - {CLUSTER, IMAGES})
    if CLUSTER in needs:
        found |= _cluster(docker)
    if IMAGES in needs and not docker():
        found.add(packages.BUILDER)
        if not os.environ.get("BASE_IMAGE") and not places.has_base_image():
            found.add(packages.BASE)
    return frozenset(found)


def _cluster(docker: Callable[[], bool]) -> set[str]:
    kind, reason = choice.choose(docker)
    if kind == "embedded":
        return {packages.NODE}
    if kind == "kind" and not docker():
        raise Problem(f"{reason}, and no Docker engine answers", "kind runs its nodes in containers of Docker's",
                      "systemctl start docker, or: unset MILLRACE_CLUSTER")  # fmt: skip
    if kind == "own":
        choice.own_kubeconfig()
        if not os.environ.get("IMAGE_PREFIX"):
            raise Problem("IMAGE_PREFIX is not set", "the nodes of your cluster pull the images from a registry",
                          "export IMAGE_PREFIX=registry.example/team")  # fmt: skip
    return set()
