"""Writes requirements/*.txt from pyproject.toml: `make lock`.

One file per image and one for contributors. Every file pins every package with the hashes of all its published files.
The images' files are compiled under the constraint of dev.txt, so what is tested is what is shipped. No index is named.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import uv

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "requirements"
PYTHON = "3.11"
EXTRAS = ("operator", "server", "trainer", "router")
HEADER = "# Written by `make lock` from pyproject.toml ({what}); install with `pip install --require-hashes -r`.\n"


def direct(name: str) -> list[str]:
    """The requirements that pyproject.toml states for one lock file: an extra's, or for `dev` everything."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    if name != "dev":
        return list(extras[name])
    groups = project["dependency-groups"]
    return sorted({line for lines in [*extras.values(), *groups.values()] for line in lines})


def compile_lock(name: str, *, upgrade: bool) -> None:
    """Resolves one lock file, for every interpreter from PYTHON on and every platform.

    Raises:
        subprocess.CalledProcessError: the resolver found no answer; its own words are on standard error.
    """
    target = FOLDER / f"{name}.txt"
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch) / f"{name}.in"
        wanted.write_text("\n".join(direct(name)) + "\n")
        draft = Path(scratch) / f"{name}.txt"
        if target.exists() and not upgrade:
            draft.write_text(target.read_text())
        options = ["--universal", "--python-version", PYTHON, "--generate-hashes", "--no-header", "--no-annotate"]
        options += ["--upgrade"] if upgrade else []
        options += [] if name == "dev" else ["--constraint", str(FOLDER / "dev.txt")]
        command = [uv.find_uv_bin(), "pip", "compile", "--quiet", *options, "--output-file", str(draft), str(wanted)]
        subprocess.run(command, check=True)
        what = "everything, with test and lint tools" if name == "dev" else f"extra {name}"
        target.write_text(HEADER.format(what=what) + draft.read_text())


def main(arguments: list[str]) -> int:
    FOLDER.mkdir(exist_ok=True)
    for name in ("dev", *EXTRAS):
        print(f"lock   {name} ...", flush=True)
        compile_lock(name, upgrade="--upgrade" in arguments)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
