"""Router pods of the simulated cluster: what their files make of them."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, field
from typing import Any

import yaml

# libyaml reads the same text many times faster; PyYAML is not always built with it.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@functools.lru_cache(maxsize=512)
def _parsed(text: str) -> list[Any]:
    found: list[Any] = yaml.load(text, LOADER)["resources"]
    return found


@dataclass
class Envoy:
    """A router pod: what its files say, and what it counted."""

    name: str
    files: dict[str, str] = field(default_factory=dict)
    annotation: str | None = None

    @property
    def weights(self) -> dict[str, int]:
        """Percent by revision, as its route file says."""
        hosts = self._resources("rds.yaml")[0]["virtual_hosts"] if self.files else []
        found: dict[str, int] = {}
        for route in itertools.chain.from_iterable(host["routes"] for host in hosts):
            for one in route.get("route", {}).get("weighted_clusters", {}).get("clusters", ()):
                found[one["name"].removesuffix("-route")] = one["weight"]
        return found

    @property
    def clusters(self) -> set[str]:
        """Revisions it has a cluster for."""
        return {one["name"] for one in self._resources("cds.yaml") if not one["name"].endswith("-route")}

    @property
    def generation(self) -> str | None:
        """What it answers when asked which weights it applies."""
        if not self.files:
            return None
        hosts = self._resources("rds.yaml")[0]["virtual_hosts"]
        answer = next(host for host in hosts if host["name"] == "generation")["routes"][0]["direct_response"]
        return str(answer["body"]["inline_string"])

    def _resources(self, name: str) -> list[Any]:
        return _parsed(self.files[name]) if self.files else []
