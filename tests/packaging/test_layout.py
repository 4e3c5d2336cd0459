"""Rules of the checkout that no linter knows."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GLOSSARY = ROOT / "operator/GLOSSARY.md"
VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
INDEX_HOSTS = ("pypi" + ".org", "python" + "hosted.org", "proxy.golang" + ".org", "deb.debian" + ".org")
# /work is a mount of the training pod; only the checkout's own place, and homes, belong to one machine.
MACHINE_PATHS = re.compile(f"{re.escape(str(ROOT))}|/work" + "/(main|shared|[.])|/root" + r"/[a-z.]|/home/\w+/")
CACHE_MOUNT = "target=/root" + "/.cache/pip"  # a Dockerfile's cache mount, inside the container


def tracked() -> list[Path]:
    """Every file git tracks, or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for line in listed.stdout.splitlines() if (path := ROOT / line).is_file()]


def text_of(path: Path) -> str:
    return path.read_text(errors="ignore")


def test_operator_directory_is_not_a_package():
    assert not (ROOT / "operator" / "__init__.py").exists()
    command = [sys.executable, "-S", "-c", "import json, collections"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_module_has_a_vague_name():
    modules = [path.relative_to(ROOT) for path in tracked() if path.suffix == ".py"]
    vague = [path for path in modules if VAGUE & {path.stem, *path.parts}]
    assert vague == []


def test_no_module_is_over_400_lines():
    long = {
        str(path.relative_to(ROOT)): count
        for path in tracked()
        if path.suffix == ".py" and (count := text_of(path).count("\n")) > 400
    }
    assert long == {}


def test_no_file_names_a_package_index():
    naming = [
        str(path.relative_to(ROOT))
        for path in tracked()
        if path.name != "go.sum" and any(host in text_of(path) for host in INDEX_HOSTS)
    ]
    assert naming == []


def test_no_file_holds_a_path_of_one_machine():
    found = {
        str(path.relative_to(ROOT)): match.group()
        for path in tracked()
        if (match := MACHINE_PATHS.search(text_of(path).replace(CACHE_MOUNT, "")))
    }
    assert found == {}


def test_ci_installs_every_package_the_cluster_asks_for():
    from millrace_cluster import prerequisites

    listed = {
        line.strip() for line in (ROOT / ".ci/apt-packages.txt").read_text().splitlines() if not line.startswith("#")
    }
    asked = {*prerequisites._PROGRAMS.values(), "containernetworking-plugins", "busybox-static"}
    assert asked <= listed


def test_every_decision_is_in_the_index_under_its_title():
    records = sorted((ROOT / "operator/decisions").glob("[0-9]*.md"))
    titles = [path.read_text().partition("\n")[0].removeprefix(f"# {path.name[:4]}. ") for path in records]
    lines = [
        f"* [{path.name[:4]}]({path.name}) {title}".rstrip(".") for path, title in zip(records, titles, strict=True)
    ]
    index = (ROOT / "operator/decisions/README.md").read_text()
    assert re.findall(r"^\* \[\d{4}\].*$", index, re.MULTILINE) == lines


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\| `([\w.]+)` \|$", GLOSSARY.read_text(), re.MULTILINE))))
def test_what_the_glossary_names_is_there(name: str):
    parts = ["millrace", *name.split(".")]
    for count in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[count:]:
            found = getattr(found, attribute)
        return
    pytest.fail(f"there is no {name}")
