"""The label on everything that the demo, the tests and the kill sweep put into a cluster. Nothing without it is theirs.

Run as a program, it is Helm's post-renderer: the chart's objects come in, and go out with the label. So they have it
from the moment they are made, whatever version the chart is of.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import yaml

Manifest = dict[str, Any]

LABEL = "millrace.dev/made-by"
"""Its value is the name of the release, which is also that of its team's namespace."""


def home(name: str) -> str:
    """The namespace of the release's operator and embedded store: `millrace-demo-system` for `millrace-demo`."""
    return f"{name}-system"


def namespaces(name: str) -> tuple[str, str]:
    """Those of the release: of the team that it serves, and of its operator."""
    return name, home(name)


def labelled(manifest: Manifest, name: str) -> Manifest:
    """The manifest with the label of release `name`."""
    metadata = manifest["metadata"]
    return {**manifest, "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), LABEL: name}}}


def carries(manifest: Manifest, name: str) -> bool:
    """Whether the object was made for release `name`."""
    return (manifest["metadata"].get("labels") or {}).get(LABEL) == name


def parsed(text: str) -> list[Manifest]:
    """The objects in a stream of YAML documents; libyaml reads the definitions in a tenth of the time."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [document for document in yaml.load_all(text, loader) if document]


def main(argv: list[str]) -> int:
    """Label what comes on standard input for the release that is named; the order stays."""
    (name,) = argv
    print("\n---\n".join(json.dumps(labelled(manifest, name)) for manifest in parsed(sys.stdin.read())))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
