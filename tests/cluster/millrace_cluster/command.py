"""The command line: `python tests/cluster <command>`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from millrace_cluster import binaries, console, embedded, kind, record, removal, selection
from millrace_cluster.cluster import Cluster
from millrace_cluster.failure import ClusterError


def _up(_: argparse.Namespace) -> None:
    began = time.monotonic()
    chosen, reason = selection.choose()
    console.say(f"cluster: {chosen} ({reason})")
    cluster = selection.up()
    console.say(f"up in {time.monotonic() - began:.1f} s; `python tests/cluster down` removes it")
    print(f"export KUBECONFIG={cluster.kubeconfig}")


def _down(_: argparse.Namespace) -> None:
    began = time.monotonic()
    removed = selection.down()
    console.say(f"down in {time.monotonic() - began:.1f} s" if removed else "there was no cluster to remove")


def _status(_: argparse.Namespace) -> None:
    chosen, reason = selection.choose()
    print(f"cluster:    {chosen} ({reason})")
    if chosen == "own":
        print(f"kubeconfig: {selection.own_kubeconfig()}")
        return
    if chosen == "kind":
        print(f"kubeconfig: {kind.describe().kubeconfig}")
        return
    owner = record.read_owner(embedded.STATE / "owner.json")
    fault = embedded.find_fault() if removal.remains() else "it is down"
    print(f"state:      {fault.splitlines()[0] if fault else 'up'}")
    if owner:
        print(f"owner:      {owner.checkout}")
    if fault:
        raise SystemExit(1)
    cluster = embedded.describe()
    print(f"kubeconfig: {cluster.kubeconfig}\nkubectl:    {cluster.kubectl}\nnode:       {cluster.node_address}")


def _current() -> Cluster:
    chosen, _ = selection.choose()
    if chosen == "embedded":
        fault = embedded.find_fault()
        if fault:
            raise ClusterError("the cluster is not up", fault, "python tests/cluster up")
        return embedded.describe()
    return kind.describe() if chosen == "kind" else selection.up()


def _load_image(arguments: argparse.Namespace) -> None:
    cluster = _current()
    for archive in arguments.archive:
        with console.step(f"loading {archive.name}"):
            names = cluster.load_image(archive)
        for name in names:
            print(name)


def _kubeconfig(_: argparse.Namespace) -> None:
    print(_current().kubeconfig)


def _binaries(arguments: argparse.Namespace) -> None:
    everything = [program for project in binaries.PROJECTS if project.name != "kind" for program in project.programs]
    for program, path in binaries.ensure(arguments.name or everything).items():
        if arguments.quiet:
            continue
        print(f"{program} {path}" if len(arguments.name) != 1 else path)


def _parser() -> argparse.ArgumentParser:
    description = "A local Kubernetes for tests and the demo."
    parser = argparse.ArgumentParser(prog="python tests/cluster", description=description)
    commands = parser.add_subparsers(required=True, metavar="command")
    commands.add_parser("up", help="bring the cluster up, or find it up").set_defaults(run=_up)
    commands.add_parser("down", help="remove it and every trace of it").set_defaults(run=_down)
    commands.add_parser("status", help="which cluster is used, why, and how it is").set_defaults(run=_status)
    commands.add_parser("kubeconfig", help="print the path of its kubeconfig").set_defaults(run=_kubeconfig)
    load = commands.add_parser("load-image", help="make the images of docker or OCI archives usable by pods")
    load.add_argument("archive", nargs="+", type=Path)
    load.set_defaults(run=_load_image)
    build = commands.add_parser("binaries", help="build programs into the cache and print their paths")
    build.add_argument("name", nargs="*")
    build.add_argument("--quiet", action="store_true", help="do not print the paths")
    build.set_defaults(run=_binaries)
    return parser


def main() -> None:
    """Run the command line; every expected failure is a message and an exit code."""
    arguments = _parser().parse_args()
    try:
        arguments.run(arguments)
    except ClusterError as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
