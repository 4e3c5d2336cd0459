"""`python tests/images build|load|push|list|values [names]`: the images, by name or all of them."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "cluster")]

from millrace_cluster import selection  # noqa: E402  the path is set above: this runs before any install
from millrace_cluster.failure import ClusterError  # noqa: E402
from millrace_images import building, engines, loading  # noqa: E402

USAGE = "usage: python tests/images build|load|push|list|values [operator server trainer router store]"


def main(arguments: list[str]) -> int:
    command, names = (arguments[0], arguments[1:]) if arguments else ("", [])
    if command not in {"build", "load", "push", "list", "values"}:
        print(USAGE, file=sys.stderr)
        return 2
    try:
        return _run(command, names)
    except ClusterError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _run(command: str, names: list[str]) -> int:
    started = time.monotonic()
    engine = engines.choose()
    built = building.build(names, engine=engine)
    if command == "load":
        loading.load(built, selection.up())
    if command == "push":
        for image in built:
            engine.push(image.reference)
    if command == "values":
        print(json.dumps(loading.values(built), indent=2))
        return 0
    for image in built:
        print(f"{image.reference:60} {image.archive.stat().st_size / 1e6:7.1f} MB")
    print(f"{command}: {len(built)} images with {engine.name} in {time.monotonic() - started:.1f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
