"""``python -m millrace``: run the operator, print what is generated, or explain a decision offline."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from millrace import errors

OFFLINE = {
    "MILLRACE_NAMESPACE": "default",
    "MILLRACE_TRAINER_IMAGE": "millrace-trainer",
    "MILLRACE_SERVER_IMAGE": "millrace-server",
    "MILLRACE_ROUTER_IMAGE": "millrace-router",
}
"""Settings of ``plan`` where the environment says nothing."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0, 1 for trouble with a sentence on stderr, 2 for wrong arguments."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    apart = _apart(given[0]) if given else None
    if apart is not None:
        return apart(given[1:])
    options = _parser().parse_args(given)
    try:
        options.command(options)
    except errors.MillraceError as error:
        print(f"millrace {given[0]}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _apart(name: str) -> Callable[[Sequence[str]], int] | None:
    """The command of that name that reads its own arguments; what it needs is imported for it alone."""
    if name == "store-credentials":
        from millrace import store_credentials

        return store_credentials.main
    if name == "crds":
        from millrace.api import crds

        return crds.main
    if name == "conformance":
        from millrace.conformance import command

        return command.main
    if name == "erasure":
        from millrace import erasure

        return erasure.main
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="millrace", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run the operator; settings come from MILLRACE_* variables")
    run.set_defaults(command=_run)
    commands.add_parser("crds", help="write or check the custom resource definitions", add_help=False)
    admission = commands.add_parser("admission", help="print the admission policies that guard approvals")
    _installation(admission)
    admission.add_argument("--trusted-applier", action="append", default=[], metavar="USER", help="may be repeated")
    admission.add_argument("--approving-account", action="append", default=[], metavar="USER", help="may be repeated")
    admission.set_defaults(command=_admission)
    rbac = commands.add_parser("rbac", help="print the operator's roles")
    _installation(rbac)
    rbac.set_defaults(command=_rbac)
    plan = commands.add_parser("plan", help="explain offline what the operator would do with the objects in a file")
    plan.add_argument("-f", "--filename", required=True, type=Path, help="YAML of custom resources and their children")
    plan.set_defaults(command=_plan)
    commands.add_parser("conformance", help="ask a server what it knows of the inference protocol", add_help=False)
    commands.add_parser("erasure", help="digests of Ids that a Dataset is to forget", add_help=False)
    commands.add_parser("store-credentials", help="create the embedded store's credentials, once", add_help=False)
    return parser


def _installation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", default="millrace-operator", help="of the operator's service account and roles")
    parser.add_argument("-n", "--namespace", default="millrace-system", help="of the operator")
    parser.add_argument("--watch", default="", help="namespaces of people's objects, separated by commas; default: all")


def _run(_: argparse.Namespace) -> None:
    import uvloop

    from millrace import settings as parsed
    from millrace import telemetry, wiring
    from millrace.clients import credentials

    settings = parsed.parse(os.environ)
    telemetry.configure_logs(settings.log_level)
    uvloop.run(wiring.run(settings, credentials.load(os.environ)))


def _admission(options: argparse.Namespace) -> None:
    from millrace.render import admission

    trusted = admission.trust(
        [admission.account(options.namespace, options.name)],
        appliers=options.trusted_applier,
        approving_accounts=options.approving_account,
        stores=[admission.account(options.namespace, admission.STORE_SECRET)],
        home=options.namespace,
        namespaces=_watched(options),
    )
    _print(admission.manifests(trusted, options.namespace))


def _rbac(options: argparse.Namespace) -> None:
    from millrace.render import roles

    home = options.namespace
    granted = roles.operator_grants(options.name, home, _watched(options), release=home)
    _print([*roles.cluster_roles(), *granted])


def _watched(options: argparse.Namespace) -> list[str]:
    return [name for name in options.watch.split(",") if name]


def _plan(options: argparse.Namespace) -> None:
    from millrace import settings as parsed
    from millrace import wiring

    settings = parsed.parse({**OFFLINE, **os.environ})
    explained = asyncio.run(wiring.explain(settings, _objects(options.filename, settings.namespace)))
    _print(explained)


def _objects(path: Path, namespace: str) -> list[dict[str, Any]]:
    """The objects of a YAML file, with what the API server would have added to them."""
    import yaml

    try:
        documents = [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one]
    except (OSError, yaml.YAMLError) as error:
        raise errors.SettingsError(f"{path} cannot be read as YAML: {error}") from error
    objects: list[dict[str, Any]] = []
    for one in documents:
        objects.extend(one["items"] if one.get("kind", "").endswith("List") else [one])
    for number, one in enumerate(objects, start=1):
        if not isinstance(one.get("metadata"), dict) or "name" not in one["metadata"]:
            raise errors.SettingsError(f"object {number} of {path} has no metadata.name")
        added = {"namespace": namespace, "uid": f"uid-{number}", "resourceVersion": str(number), "generation": 1}
        one["metadata"] = {**added, "creationTimestamp": "2026-01-01T00:00:00Z", **one["metadata"]}
        one.setdefault("status", {})
    return objects


def _print(manifests: Sequence[Mapping[str, Any]]) -> None:
    import yaml

    print(yaml.safe_dump_all([dict(one) for one in manifests], sort_keys=False, width=120), end="")
