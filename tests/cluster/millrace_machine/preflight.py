"""Looks at the machine before a command builds anything, and as root supplies the packages that are missing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from millrace_machine import debian, node, packages, space, wants
from millrace_machine.packages import Package
from millrace_machine.problem import Problem

EXIT = 2


def main(arguments: list[str]) -> int:
    """`python -m millrace_machine COMMAND`: 0 when `make COMMAND` can start, 2 when not, having said why."""
    if len(arguments) != 1 or arguments[0] not in wants.COMMANDS:
        print(f"usage: python -m millrace_machine {'|'.join(wants.COMMANDS)}", file=sys.stderr)
        return EXIT
    return run(f"make {arguments[0]}", wants.COMMANDS[arguments[0]])


def run(command: str, needs: frozenset[str]) -> int:
    """The same for any command and what it needs. Nothing is printed when nothing is missing."""
    try:
        purposes = wants.resolve(needs)
        lacking = packages.missing(purposes)
        found = list(_rights(command, purposes))
        if found and lacking:
            found.append(Problem("packages of this machine are missing, too", _reasons(lacking)))
        if not found:
            space.check(needs | purposes)
            _supply(command, purposes)
            found = list(node.namespaces()) if packages.NODE in purposes else []
    except Problem as problem:
        found = [problem]
    if found:
        _say(f"{command} cannot start on this machine.", *found)
    return EXIT if found else 0


def _rights(command: str, purposes: frozenset[str]) -> Iterator[Problem]:
    if packages.NODE in purposes:
        yield from node.rights(command)
    elif packages.BASE in purposes and os.geteuid() != 0:
        yield Problem("making the base image needs root", "debootstrap makes device nodes and changes owners",
                      f"{node.as_root(command)}  # or name an image to begin with: BASE_IMAGE=<image>")  # fmt: skip


def _supply(command: str, purposes: frozenset[str]) -> None:
    """Install until nothing is missing; a second time where the first brought a python3 that is too old."""
    for _ in range(2):
        lacking = packages.missing(purposes)
        if not lacking:
            return
        chosen = os.environ.get("PYTHON")
        if chosen and packages.BY_NAME["python3"] in lacking:
            raise Problem(f"PYTHON={chosen} is not Python 3.11 or newer", "", "unset PYTHON")
        if os.geteuid() != 0 or not debian.is_here():
            raise _lacking(command, lacking)
        _say(f"{command} lacks packages of this machine; installing them with apt-get: {_reasons(lacking)}")
        debian.install(lacking)
    left = packages.missing(purposes)
    if left:
        raise Problem("apt-get installed them, and they are still not found", _reasons(left),
                      packages.install_line(package.name for package in left))  # fmt: skip


def _lacking(command: str, lacking: list[Package]) -> Problem:
    what = "packages of this machine are missing"
    if os.geteuid() != 0 and debian.is_here():
        return Problem(what, _reasons(lacking), packages.install_line(package.name for package in lacking))
    again = f"install what supplies them, then: {command}"
    return Problem(f"{what}, and it has no apt-get", _reasons(lacking), again)


def _reasons(lacking: list[Package]) -> str:
    return ", ".join(f"{package.name} ({package.reason})" for package in lacking)


def _say(*lines: object) -> None:
    for line in lines:
        print(line, file=sys.stderr, flush=True)
