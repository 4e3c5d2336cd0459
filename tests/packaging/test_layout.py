"""Rules of the checkout that no linter knows."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace_machine import packages

ROOT = Path(__file__).resolve().parents[2]
GLOSSARY = ROOT / "operator/GLOSSARY.md"
VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
INDEX_HOSTS = ("pypi" + ".org", "python" + "hosted.org", "proxy.golang" + ".org", "deb.debian" + ".org")
# /work is a mount of the training pod; only the checkout's own place, and homes, belong to one machine.
MACHINE_PATHS = re.compile(f"{re.escape(str(ROOT))}|/work" + "/(main|shared|[.])|/root" + r"/[a-z.]|/home/\w+/")
ON_EVERY_DEBIAN = {"apt-cache", "apt-get", "env", "sh", "sleep", "tar", "true"}
STARTS = re.compile(r"\bsubprocess\.|\bwhich\(|\blocate\(|\bcommand = ")
OURS = {"docker", "go", "kubectl"}  # Docker's engine is a choice; the others are built, or a choice too
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


def test_every_program_that_the_tests_and_their_tools_call_is_in_the_list_of_packages():
    called: dict[str, set[str]] = {}
    for path in tracked():
        if path.suffix == ".py" and path.is_relative_to(ROOT / "tests") and STARTS.search(text := text_of(path)):
            for program in programs_called_in(ast.parse(text)):
                called.setdefault(program, set()).add(str(path.relative_to(ROOT)))
    known = {program for package in packages.PACKAGES for program in package.programs} | ON_EVERY_DEBIAN | OURS
    assert {program: where for program, where in called.items() if program not in known} == {}
    assert {"buildah", "debootstrap", "prometheus", "openssl", "runc", "git"} <= called.keys()


def programs_called_in(tree: ast.Module) -> Iterator[str]:
    """Names that begin a command: a list given to `subprocess` or kept as `command`, or looked for on the PATH."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            called = ast.unparse(node.func)
            if called.startswith("subprocess.") or called == "_answers":
                yield from first_word(node.args[0])
            elif called.rpartition(".")[2] in {"which", "locate"}:
                yield from first_word(ast.List([node.args[0]]))
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in {"command", "self.command"}:
            yield from first_word(node.value)


def first_word(command: ast.expr) -> Iterator[str]:
    if isinstance(command, ast.List) and command.elts and isinstance(command.elts[0], ast.Constant):
        word = str(command.elts[0].value)
        if re.fullmatch("[a-z][a-z0-9_.-]*", word):
            yield word


def test_packages_are_named_in_one_list_only():
    named = re.compile(r"apt(-get)? install (-\S+ )*[a-z]")
    sources = [path for path in tracked() if not path.name.startswith("test_")]
    naming = [str(path.relative_to(ROOT)) for path in sources if named.search(text_of(path))]
    assert naming == ["tests/cluster/preflight.sh"]  # before there is any Python; compared with the list below


def test_the_launcher_installs_what_the_list_calls_python():
    launcher = (ROOT / "tests/cluster/preflight.sh").read_text()
    assert f"python3 ({packages.BY_NAME['python3'].reason.partition(',')[0]})" in launcher
    assert packages.install_line(["python3", "python3-venv"]) in launcher


def test_both_commands_look_at_the_machine_before_they_make_anything():
    rules = dict(re.findall(r"^(demo|test|check):(.*?)(?:##.*)?$", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {name: needed.split() for name, needed in rules.items()} == {
        name: [f"preflight-{name}", "venv"] for name in ("demo", "test", "check")
    }


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
