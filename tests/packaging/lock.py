"""Writes requirements/*.txt from pyproject.toml, and the peers' from their requirements.in: `make lock`.

One file per image and one for contributors. Every file pins every package with the hashes of all its published files.
The images' files are compiled under the constraint of dev.txt, so what is tested is what is shipped. Each server that
ours is compared with has an environment of its own. No index is named.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

import uv

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "requirements"
PYTHON = "3.11"
EXTRAS = ("operator", "server", "trainer", "router")
PEERS = sorted((ROOT / "tests" / "peers").glob("*/requirements.in"))
HEADER = "# Written by `make lock` from {origin}; install with `pip install --require-hashes -r`.\n"


def direct(name: str) -> list[str]:
    """The requirements that pyproject.toml states for one lock file: an extra's, or for `dev` everything."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    if name != "dev":
        return list(extras[name])
    groups = project["dependency-groups"]
    return sorted({line for lines in [*extras.values(), *groups.values()] for line in lines})


def compile_lock(name: str, *, upgrade: bool) -> None:
    """One of requirements/. Raises subprocess.CalledProcessError, with the resolver's words on standard error."""
    what = "everything, with test and lint tools" if name == "dev" else f"extra {name}"
    constraints = [] if name == "dev" else ["--constraint", str(FOLDER / "dev.txt")]
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch) / f"{name}.in"
        wanted.write_text("\n".join(direct(name)) + "\n")
        resolve(wanted, FOLDER / f"{name}.txt", f"pyproject.toml ({what})", constraints, upgrade=upgrade)


def resolve(wanted: Path, target: Path, origin: str, options: Sequence[str] = (), *, upgrade: bool) -> None:
    """Writes one lock file, for every interpreter from PYTHON on and every platform.

    Raises:
        subprocess.CalledProcessError: the resolver found no answer; its own words are on standard error.
    """
    with tempfile.TemporaryDirectory() as scratch:
        draft = Path(scratch) / target.name
        if target.exists() and not upgrade:
            draft.write_text(target.read_text())
        form = ["--universal", "--python-version", PYTHON, "--generate-hashes", "--no-header", "--no-annotate"]
        form += ["--upgrade"] if upgrade else []
        command = [uv.find_uv_bin(), "pip", "compile", "--quiet", *form, *options, "--output-file", str(draft)]
        subprocess.run([*command, str(wanted)], check=True)
        target.write_text(HEADER.format(origin=origin) + draft.read_text())


def main(arguments: list[str]) -> int:
    FOLDER.mkdir(exist_ok=True)
    for name in ("dev", *EXTRAS):
        print(f"lock   {name} ...", flush=True)
        compile_lock(name, upgrade="--upgrade" in arguments)
    for wanted in PEERS:
        print(f"lock   {wanted.parent.name} ...", flush=True)
        resolve(wanted, wanted.with_suffix(".txt"), wanted.name, upgrade="--upgrade" in arguments)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
