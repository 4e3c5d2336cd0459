"""The benchmarks are the scripts in the folders beside this package; a new one needs no registration."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HOME = Path(__file__).resolve().parents[1]
TESTS = HOME.parent
LAST = "story"
GUARD = '\nif __name__ == "__main__":'


@dataclass(frozen=True)
class Benchmark:
    """One script; it prints its own progress and result and writes the latter to results/."""

    script: Path

    @property
    def name(self) -> str:
        """`folder/script`."""
        return f"{self.script.parent.name}/{self.script.stem}"

    @property
    def about(self) -> str:
        """The first line of its docstring."""
        return self.script.read_text().partition('"""')[2].partition("\n")[0].rstrip('"')

    def run(self, *arguments: str) -> int:
        """The script's exit code."""
        paths = [
            *(str(TESTS / tool) for tool in ("cluster", "images", "demo", "kit")),
            os.environ.get("PYTHONPATH", ""),
        ]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        return subprocess.run([sys.executable, str(self.script), *arguments], env=environment, check=False).returncode


def every() -> list[Benchmark]:
    """All benchmarks; the longest one, the story, comes last."""
    scripts = [path for path in HOME.glob("[a-z]*/[a-z]*.py") if GUARD in path.read_text()]
    return [Benchmark(path) for path in sorted(scripts, key=lambda path: (path.parent.name == LAST, path))]


def named(names: Sequence[str]) -> list[Benchmark]:
    """The benchmarks of these folders or scripts, all without names. Raises LookupError for a name nothing has."""
    found = every()
    for name in names:
        if not any(_is(benchmark, name) for benchmark in found):
            known = ", ".join(benchmark.name for benchmark in found)
            raise LookupError(f"{name} is not a benchmark; these are: {known}")
    return [benchmark for benchmark in found if not names or any(_is(benchmark, name) for name in names)]


def _is(benchmark: Benchmark, name: str) -> bool:
    return name in (benchmark.name, benchmark.script.stem, benchmark.script.parent.name)
