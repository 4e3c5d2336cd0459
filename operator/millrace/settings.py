"""The operator's settings: environment variables, parsed once, frozen."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from millrace import errors

EVERY = "*"
_WATCH = re.compile(r"\*|[a-z0-9]([a-z0-9./-]*[a-z0-9])?=[A-Za-z0-9._-]*|[a-z0-9-]+( *, *[a-z0-9-]+)*")
PullPolicy = Literal["Always", "IfNotPresent", "Never"]


@dataclass(frozen=True)
class Settings:
    """One field a variable; `PARSED` says which."""

    namespace: str
    """The operator's own: its Lease is there, and nobody's objects are."""
    trainer_image: str
    server_image: str
    router_image: str
    store_uri: str = "s3://millrace"
    store_secret: str = "millrace-store"  # noqa: S105 - the name of a Secret
    erase_secret: str = ""
    """The Secret that may erase what was deleted; empty: `store_secret`."""
    image_pull_policy: PullPolicy = "IfNotPresent"
    log_level: str = "INFO"
    lease_name: str = "millrace-operator"
    metrics_port: int = 8080
    identity: str = ""
    """The pod's name, if the environment says it; it is then unique among processes."""
    workers: int = 8
    snapshots_at_a_time: int = 4
    upgrades_at_a_time: int = 3
    policies: str = ""
    """The release whose admission policies these are, by its namespace; empty: policies without a release's name."""
    watch: str = ""
    """Where people's objects are: names, separated by commas; `*` for all; `label=value`. Empty: the own namespace."""

    others: str = ""
    """Namespaces that another operator watches, separated by commas: not watched where all are, or all with a label."""

    @property
    def other_namespaces(self) -> frozenset[str]:
        """Never watched, unless `watch` names them."""
        return frozenset(name.strip() for name in self.others.split(",") if name.strip())

    @property
    def watched_label(self) -> str:
        """The label of the namespaces that are watched, or an empty string."""
        return self.watch if "=" in self.watch else ""

    @property
    def watched_namespaces(self) -> tuple[str, ...]:
        """The namespaces that are watched, by name; none: all, or all with the label."""
        if self.watch == EVERY or self.watched_label:
            return ()
        names = (name.strip() for name in (self.watch or self.namespace).split(","))
        return tuple(dict.fromkeys(name for name in names if name))


PARSED: Mapping[str, str] = {
    "MILLRACE_NAMESPACE": "namespace",
    "MILLRACE_TRAINER_IMAGE": "trainer_image",
    "MILLRACE_SERVER_IMAGE": "server_image",
    "MILLRACE_ROUTER_IMAGE": "router_image",
    "MILLRACE_STORE_URI": "store_uri",
    "MILLRACE_STORE_SECRET": "store_secret",
    "MILLRACE_ERASE_SECRET": "erase_secret",
    "MILLRACE_IMAGE_PULL_POLICY": "image_pull_policy",
    "MILLRACE_LOG_LEVEL": "log_level",
    "MILLRACE_LEASE_NAME": "lease_name",
    "MILLRACE_METRICS_PORT": "metrics_port",
    "MILLRACE_POD_NAME": "identity",
    "MILLRACE_WORKERS": "workers",
    "MILLRACE_POLICIES": "policies",
    "MILLRACE_WATCH": "watch",
    "MILLRACE_OTHER_NAMESPACES": "others",
    "MILLRACE_SNAPSHOTS_AT_A_TIME": "snapshots_at_a_time",
    "MILLRACE_UPGRADES_AT_A_TIME": "upgrades_at_a_time",
}
REQUIRED = ("MILLRACE_NAMESPACE", "MILLRACE_TRAINER_IMAGE", "MILLRACE_SERVER_IMAGE", "MILLRACE_ROUTER_IMAGE")


def parse(environ: Mapping[str, str]) -> Settings:
    """The settings in ``environ``. Raises SettingsError that names every variable that is missing or wrong."""
    problems = [f"{name} is not set" for name in REQUIRED if not environ.get(name)]
    problems += _wrong(environ)
    if problems:
        raise errors.SettingsError("; ".join(problems))
    given = {field: environ[name] for name, field in PARSED.items() if environ.get(name)}
    return Settings(**{field: _READ.get(field, str)(value) for field, value in given.items()})


_READ: Mapping[str, Callable[[str], Any]] = {
    "store_uri": lambda text: text.rstrip("/"),
    "log_level": str.upper,
    "metrics_port": int,
    "workers": int,
    "snapshots_at_a_time": int,
    "upgrades_at_a_time": int,
}

_NUMBERS: Mapping[str, tuple[int, int]] = {
    "MILLRACE_METRICS_PORT": (0, 65535),
    "MILLRACE_WORKERS": (1, 64),
    "MILLRACE_SNAPSHOTS_AT_A_TIME": (1, 1000),
    "MILLRACE_UPGRADES_AT_A_TIME": (1, 1000),
}
"""Smallest and largest value."""


def _wrong(environ: Mapping[str, str]) -> list[str]:
    problems = []
    for name, (lowest, highest) in _NUMBERS.items():
        value = environ.get(name)
        if value and not (value.isascii() and value.isdigit() and lowest <= int(value) <= highest):
            problems.append(f"{name} is {value!r}, not a number from {lowest} to {highest}")
    policy = environ.get("MILLRACE_IMAGE_PULL_POLICY")
    if policy and policy not in get_args(PullPolicy):
        problems.append(f"MILLRACE_IMAGE_PULL_POLICY is {policy!r}, not one of {', '.join(get_args(PullPolicy))}")
    level = environ.get("MILLRACE_LOG_LEVEL")
    if level and level.upper() not in logging.getLevelNamesMapping():
        problems.append(f"MILLRACE_LOG_LEVEL is {level!r}, not one of DEBUG, INFO, WARNING, ERROR")
    uri = environ.get("MILLRACE_STORE_URI")
    if uri and not uri.startswith("s3://"):
        problems.append(f"MILLRACE_STORE_URI is {uri!r}, not s3://bucket, which is all that statuses have room for")
    watch = environ.get("MILLRACE_WATCH")
    if watch and not _WATCH.fullmatch(watch):
        problems.append(f"MILLRACE_WATCH is {watch!r}, not namespaces separated by commas, *, or label=value")
    return problems
