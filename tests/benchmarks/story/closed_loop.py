"""The closed loop as a user sees it: `make demo` timed from outside, and what it measured within.

    python tests/benchmarks/story/closed_loop.py          # warm: programs and images are there, the cluster is not
    python tests/benchmarks/story/closed_loop.py --cold   # a copy of the checkout, with every cache empty

Takes the local cluster down before and after. Prints a table and writes it to tests/benchmarks/results/story.md and
.json, where the other kind's last numbers stay. Nothing is asserted by time; the exit code says whether the story was
told to its end.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests" / folder) for folder in ("benchmarks", "cluster")]

from millrace_benchmarks import machine  # noqa: E402  the paths are set above

RESULTS = ROOT / "tests" / "benchmarks" / "results"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cold", action="store_true", help="a fresh copy with empty caches: half an hour or more")
    options = parser.parse_args()
    told = cold() if options.cold else warm()
    written = RESULTS / "story.json"
    found = json.loads(written.read_text()) if written.is_file() else {}
    found["cold" if options.cold else "warm"] = told
    text = "\n\n".join(section(kind, one) for kind, one in sorted(found.items()))
    print(text)
    RESULTS.mkdir(exist_ok=True)
    written.write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "story.md").write_text(text + "\n")
    return 0 if told["exit_code"] == 0 else 1


def warm() -> dict[str, Any]:
    """What a second `make demo` takes: everything is built, nothing runs."""
    for arguments in (["cluster", "binaries"], ["images", "build"], ["cluster", "down"]):
        subprocess.run([sys.executable, str(ROOT / "tests" / arguments[0]), arguments[1]], check=True)
    return demo(ROOT, dict(os.environ))


def cold() -> dict[str, Any]:
    """What a newcomer's first `make demo` takes; only system packages and the names in /etc are there already."""
    subprocess.run([sys.executable, str(ROOT / "tests" / "cluster"), "down"], check=True)
    home = Path(tempfile.mkdtemp(prefix="millrace-cold-", dir=_beside_the_cache()))
    try:
        copy(home / "checkout")
        kept = {name: value for name, value in os.environ.items() if name not in ("MILLRACE_CACHE", "PIP_CACHE_DIR")}
        caches = {"XDG_CACHE_HOME": str(home / "cache"), "GOPATH": str(home / "go"), "GOCACHE": str(home / "go-cache")}
        flags = f"{kept.get('GOFLAGS', '')} -modcacherw".strip()
        return demo(home / "checkout", {**kept, **caches, "GOFLAGS": flags})
    finally:
        shutil.rmtree(home, ignore_errors=True)


def copy(target: Path) -> None:
    """The files that git tracks or would track, as they are now."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def demo(checkout: Path, environment: dict[str, str]) -> dict[str, Any]:
    """`make demo` there: wall time in seconds, exit code, and the measures it wrote (None when it broke off)."""
    described = machine.describe()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "measures.json"
        begun = time.perf_counter()
        done = subprocess.run(
            ["make", "demo", "ARGS=--down"],
            cwd=checkout,
            env={**environment, "MILLRACE_MEASURES": str(path)},
            check=False,
        )
        wall = time.perf_counter() - begun
        measures = json.loads(path.read_text()) if path.is_file() else None
    return {"wall_s": wall, "exit_code": done.returncode, "machine": described, "measures": measures}


def section(kind: str, told: dict[str, Any]) -> str:
    """One kind's table: the whole, its parts, and the timeline."""
    lines = [f"`make demo`, {kind}: {machine.phrase(told['machine'])}; exit code {told['exit_code']}", ""]
    lines += ["| measured | value |", "|---|---|", f"| wall time, cluster down included | {told['wall_s']:.1f} s |"]
    measures = told["measures"] or {}
    lines += [f"| part: {name} | {seconds:.1f} s |" for name, seconds in measures.get("parts_s", {}).items()]
    for name, value in measures.items():
        if name.endswith("_s") and isinstance(value, float):
            lines.append(f"| {name.removesuffix('_s').replace('_', ' ')} | {value:.1f} s |")
    for name in ("operator_idle", "operator_after_the_story"):
        one = measures.get(name)
        if one:
            reconciles = f"p50 <= {one['p50_ms']:g} ms, p99 <= {one['p99_ms']:g} ms over {one['events']} events"
            lines.append(f"| {name.replace('_', ' ')} | {one['memory_mib']:.0f} MiB; event to reconcile {reconciles} |")
    requests = measures.get("requests")
    if requests:
        latency = f"p50 {requests['p50_ms']:.1f} ms, p99 {requests['p99_ms']:.1f} ms"
        lines.append(f"| requests | {requests['sent']}, {requests['failed']} failed, {latency} |")
    for moment in measures.get("timeline", []):
        lines.append(f"| {moment['at']:.1f} s | {moment['word']} {moment['detail']} |")
    return "\n".join(lines)


def _beside_the_cache() -> Path:
    """Where there is room: the disk of the cache that is not used."""
    from millrace_cluster import binaries

    parent = binaries.cache().parent
    parent.mkdir(parents=True, exist_ok=True)
    return parent


if __name__ == "__main__":
    sys.exit(main())
