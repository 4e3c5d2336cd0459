"""What the embedded cluster needs of the machine, checked before anything is changed."""

from __future__ import annotations

from millrace_cluster.failure import ClusterError
from millrace_machine import node, packages
from millrace_machine.packages import cni_directory, locate, static_busybox
from millrace_machine.problem import Problem

__all__ = ["check", "cni_directory", "locate", "missing_packages", "static_busybox"]

COMMAND = "python tests/cluster up"


def missing_packages() -> list[str]:
    """Debian packages to install before the embedded cluster can run."""
    return sorted(package.name for package in packages.missing({packages.NODE}))


def check() -> None:
    """Raise ClusterError (exit code 2) saying what is lacking and the one command that supplies it."""
    names = missing_packages()
    lacking = [Problem("the embedded cluster lacks programs of this machine", " ".join(names),
                       packages.install_line(names))] if names else []  # fmt: skip
    for problem in [*node.rights(COMMAND), *lacking] or node.namespaces():
        raise ClusterError(problem.what, problem.why, problem.following, exit_code=2)
