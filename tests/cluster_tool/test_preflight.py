"""What a command says and does on a machine that lacks something, before it builds anything."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from millrace_machine import choice, debian, interpreters, node, packages, places, preflight, space, wants
from millrace_machine.packages import BY_NAME, PACKAGES

SOURCES = Path(packages.__file__).parent
LAUNCHER = SOURCES.parent / "preflight.sh"
SETTINGS = ("MILLRACE_CLUSTER", "MILLRACE_KUBECONFIG", "KUBECONFIG", "IMAGE_PREFIX", "BASE_IMAGE", "PYTHON", "GOCACHE")
DEMO, TEST, CHECK = (wants.COMMANDS[name] for name in ("demo", "test", "check"))


@dataclass
class Machine:
    """A Debian with nothing of ours on it: programs are files in `bin`, and apt-get writes down what it is asked."""

    home: Path
    said: pytest.CaptureFixture[str]

    @property
    def bin(self) -> Path:
        return self.home / "bin"

    def put(self, *programs: str, script: str = "exit 0") -> None:
        for program in programs:
            (self.bin / program).write_text(f"#!/bin/sh\n{script}\n")
            (self.bin / program).chmod(0o755)

    def put_packages(self, *names: str) -> None:
        """As apt would."""
        for name in names:
            self.put(*BY_NAME[name].programs)
        files = {"containernetworking-plugins": packages.CNI_PROGRAMS, "busybox-static": ("busybox",),
                 "ca-certificates": ("authorities",), "debian-archive-keyring": ("keys",)}  # fmt: skip
        self.put(*(file for name in names for file in files.get(name, ())))

    def put_apt(self, *, fails: str = "") -> None:
        """Its packages' programs appear in `bin` one by one, as `put_packages` makes them."""
        files = "busybox authorities keys " + " ".join(packages.CNI_PROGRAMS)
        made = "\n".join(f"{one.name}) touched='{' '.join(one.programs) or files}';;" for one in PACKAGES)
        failing = f"echo '{fails}'; exit 100" if fails else ""
        self.put("apt-get", script=f"""
echo "$@" >> {self.home}/apt
case " $* " in *" install "*) {failing};; esac
for name in "$@"; do
  touched=
  case $name in {made}
  esac
  for file in $touched; do printf '#!/bin/sh\\n' > {self.bin}/$file; /bin/chmod 755 {self.bin}/$file; done
done""")  # fmt: skip

    @property
    def asked_of_apt(self) -> list[str]:
        path = self.home / "apt"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.removeprefix(" ".join(debian.OPTIONS)).strip() for line in lines]

    def start(self, command: str, needs: frozenset[str]) -> int:
        return preflight.run(command, needs)

    def heard(self) -> list[str]:
        return self.said.readouterr().err.splitlines()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Machine:
    for name in list(os.environ):
        if name in SETTINGS or name.startswith("MILLRACE_"):
            monkeypatch.delenv(name)
    found = Machine(tmp_path, capsys)
    found.bin.mkdir()
    (tmp_path / "cache").mkdir()
    (tmp_path / "mounts").write_text(f"cgroup2 {tmp_path} cgroup2 rw 0 0\n")
    monkeypatch.setenv("PATH", f"{found.bin}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(packages, "ADMINISTRATORS", "")
    monkeypatch.setattr(packages, "CNI_DIRECTORIES", (found.bin,))
    monkeypatch.setattr(packages, "BUSYBOX", (found.bin / "busybox",))
    monkeypatch.setattr(packages, "AUTHORITIES", (found.bin / "authorities",))
    monkeypatch.setattr(packages, "DEBIANS_KEYS", (found.bin / "keys",))
    monkeypatch.setattr(node, "MOUNTS", tmp_path / "mounts")
    monkeypatch.setattr(space, "ROOMS", ())
    found.put("python3", script=f'exec {os.path.realpath("/proc/self/exe")} "$@"')
    return found


@pytest.fixture
def as_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


def test_a_machine_with_everything_is_left_alone_and_nothing_is_said(machine: Machine):
    machine.put_apt()
    machine.put_packages(*BY_NAME)
    assert machine.start("make test", TEST) == 0
    assert machine.heard() == []
    assert machine.asked_of_apt == []


def test_root_gets_what_is_missing_after_one_line_that_says_what_and_why(machine: Machine):
    machine.put_apt()
    machine.put_packages(*(name for name in BY_NAME if name not in ("runc", "buildah")))
    assert machine.start("make demo", DEMO) == 0
    (line,) = machine.heard()
    assert line.startswith("make demo lacks packages of this machine; installing them with apt-get: ")
    assert line.endswith("runc (runs the containers), buildah (builds the images without a Docker engine)")
    assert machine.asked_of_apt == ["update", "install -y --no-install-recommends runc buildah"]


def test_a_bare_machine_gets_every_package_that_a_full_test_needs(machine: Machine):
    machine.put_apt()
    assert machine.start("make test", TEST) == 0
    _, installed = machine.asked_of_apt
    assert set(installed.split()[3:]) == set(BY_NAME) - {"python3", "python3-venv"}


def test_somebody_else_gets_the_one_line_to_type_and_nothing_is_installed(machine: Machine, as_somebody: None):
    machine.put_apt()
    machine.put_packages("make")
    assert machine.start("make check", CHECK) == 2
    assert machine.heard() == [
        "make check cannot start on this machine.",
        "packages of this machine are missing",
        "  why:  git (lists what the checkout tracks)",
        "  next: sudo apt-get update && sudo apt-get install -y --no-install-recommends git",
    ]
    assert machine.asked_of_apt == []


def test_what_needs_root_anyway_asks_for_root_which_also_installs(machine: Machine, as_somebody: None):
    machine.put_apt()
    assert machine.start("make demo", DEMO) == 2
    following = [line for line in machine.heard() if "next:" in line]
    assert len(following) == 1
    assert following[0].startswith("  next: sudo make demo  # or give a cluster of your own:")


def test_settings_of_the_caller_are_kept_when_root_is_asked_for(
    machine: Machine, as_somebody: None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MILLRACE_CLUSTER", "embedded")
    assert machine.start("make demo", DEMO) == 2
    assert any(line.startswith("  next: sudo -E make demo") for line in machine.heard())


def test_apts_own_words_are_shown_when_it_fails(machine: Machine):
    machine.put_apt(fails="E: Unable to locate package git")
    assert machine.start("make check", CHECK) == 2
    heard = machine.heard()
    assert "  why:  E: Unable to locate package git" in heard
    assert heard[-1] == "  next: sudo apt-get update && sudo apt-get install -y --no-install-recommends git make"


def test_a_machine_without_apt_is_told_what_is_missing(machine: Machine):
    assert machine.start("make check", CHECK) == 2
    heard = machine.heard()
    assert "packages of this machine are missing, and it has no apt-get" in heard
    assert heard[-1] == "  next: install what supplies them, then: make check"


def test_too_little_room_is_said_before_anything_is_installed(machine: Machine, monkeypatch: pytest.MonkeyPatch):
    machine.put_apt()
    everything = space.Room("the moon", DEMO, 1e9, lambda: machine.home / "not" / "yet" / "there", lambda: False)
    monkeypatch.setattr(space, "ROOMS", (everything,))
    assert machine.start("make demo", DEMO) == 2
    assert "  why:  1e+09 GiB for the moon" in machine.heard()
    assert machine.asked_of_apt == []


def test_what_is_there_already_takes_no_room(machine: Machine, monkeypatch: pytest.MonkeyPatch):
    machine.put_packages(*BY_NAME)
    there = space.Room("the moon", DEMO, 1e9, lambda: machine.home, lambda: True)
    monkeypatch.setattr(space, "ROOMS", (there,))
    assert machine.start("make demo", DEMO) == 0


def test_rooms_on_one_file_system_add_up(machine: Machine, monkeypatch: pytest.MonkeyPatch):
    free = os.statvfs(machine.home).f_bavail * os.statvfs(machine.home).f_frsize / 2**30
    halves = [space.Room(what, CHECK, 0.6 * free, lambda: machine.home, lambda: False) for what in ("one", "other")]
    monkeypatch.setattr(space, "ROOMS", tuple(halves))
    assert machine.start("make check", CHECK) == 2
    assert any("GiB for one, " in line and line.endswith("GiB for other") for line in machine.heard())


def test_read_only_control_groups_are_said_at_the_start(machine: Machine, monkeypatch: pytest.MonkeyPatch):
    machine.put_packages(*BY_NAME)
    monkeypatch.setattr(os, "access", lambda path, mode, _ask=os.access: mode != os.W_OK and _ask(path, mode))
    assert machine.start("make demo", DEMO) == 2
    assert "this machine does not allow control groups" in machine.heard()


def test_a_machine_that_allows_no_namespaces_says_so_in_its_own_words(machine: Machine):
    machine.put_packages(*BY_NAME)
    machine.put("unshare", script="echo 'unshare: unshare failed: Operation not permitted' >&2; exit 1")
    assert machine.start("make demo", DEMO) == 2
    heard = machine.heard()
    assert "this machine does not allow namespaces" in heard
    assert "  why:  unshare: unshare failed: Operation not permitted" in heard


def test_with_docker_the_demo_needs_neither_root_nor_the_nodes_packages_nor_buildah(
    machine: Machine, as_somebody: None
):
    machine.put_packages("make", "ca-certificates")
    machine.put("docker", script="echo 28.2.2")
    assert machine.start("make demo", DEMO) == 0
    assert machine.heard() == []


def test_a_full_test_tests_the_embedded_cluster_with_docker_too(machine: Machine, as_somebody: None):
    machine.put("docker", script="echo 28.2.2")
    assert machine.start("make test", TEST) == 2
    assert "the embedded cluster needs root" in machine.heard()


def test_kind_without_docker_is_refused(machine: Machine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MILLRACE_CLUSTER", "kind")
    assert machine.start("make demo", DEMO) == 2
    assert "MILLRACE_CLUSTER=kind, and no Docker engine answers" in machine.heard()


def test_a_cluster_of_ones_own_needs_no_node_but_its_kubeconfig_and_a_registry(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, as_somebody: None
):
    machine.put_packages("make", "ca-certificates", "buildah", "mount")
    monkeypatch.setenv("MILLRACE_CLUSTER", "kubeconfig")
    monkeypatch.setenv("BASE_IMAGE", "python:3.11-slim-bookworm")
    assert machine.start("make demo", DEMO) == 2
    assert "no kubeconfig is named" in machine.heard()
    monkeypatch.setenv("MILLRACE_KUBECONFIG", str(machine.home / "mounts"))
    assert machine.start("make demo", DEMO) == 2
    assert "IMAGE_PREFIX is not set" in machine.heard()
    monkeypatch.setenv("IMAGE_PREFIX", "registry.example/team")
    assert machine.start("make demo", DEMO) == 0


def test_a_base_image_that_was_made_before_needs_no_debootstrap(machine: Machine):
    machine.put_packages(*(name for name in BY_NAME if name not in ("debootstrap", "debian-archive-keyring")))
    (places.cache() / "images" / "base-bookworm-1").mkdir(parents=True)
    (places.cache() / "images" / "base-bookworm-1" / "rootfs.tar").touch()
    assert machine.start("make demo", DEMO) == 0


def test_an_unknown_cluster_is_refused_before_anything_else(machine: Machine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MILLRACE_CLUSTER", "minikube")
    assert machine.start("make demo", DEMO) == 2
    assert machine.heard()[1] == "MILLRACE_CLUSTER=minikube is unknown"


def test_where_python3_is_too_old_the_newest_one_of_the_release_is_installed(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(interpreters, "find", lambda: None)
    monkeypatch.setattr(interpreters, "version_of", lambda _: (3, 10))
    machine.put("apt-cache", script='case "$*" in *python3.11) exit 0;; *) exit 100;; esac')
    assert debian._names([BY_NAME["git"], BY_NAME["python3"]]) == ["git", "python3.11", "python3.11-venv"]
    machine.put("apt-cache", script="exit 100")
    with pytest.raises(preflight.Problem, match="not among this release's packages"):
        debian._names([BY_NAME["python3"]])


def test_where_there_is_no_python3_it_comes_with_what_makes_environments(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(interpreters, "version_of", lambda _: None)
    assert debian._names([BY_NAME["python3"]]) == ["python3", "python3-venv"]


def test_a_python_that_was_chosen_and_is_none_is_not_replaced(machine: Machine, monkeypatch: pytest.MonkeyPatch):
    machine.put_apt()
    monkeypatch.setenv("PYTHON", "python9")
    assert machine.start("make check", CHECK) == 2
    assert "PYTHON=python9 is not Python 3.11 or newer" in machine.heard()
    assert machine.asked_of_apt == []


def launch(machine: Machine, *arguments: str) -> subprocess.CompletedProcess[str]:
    """preflight.sh with only bash's own company on its PATH."""
    for program in ("bash", "dirname", "id"):
        if not (machine.bin / program).exists():
            (machine.bin / program).symlink_to(str(shutil.which(program, path="/usr/bin:/bin")))
    command = [str(machine.bin / "bash"), str(LAUNCHER), *arguments]
    return subprocess.run(command, env={"PATH": str(machine.bin)}, capture_output=True, text=True, check=False)


def test_without_any_python_the_launcher_says_what_to_type(machine: Machine):
    (machine.bin / "python3").unlink()
    done = launch(machine, "check")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "make check cannot start on this machine."
    assert done.stderr.splitlines()[-1].startswith("  next: sudo apt-get update && sudo apt-get install -y")


def test_the_launcher_ends_as_the_check_ends(machine: Machine):
    machine.put("make", "git")
    done = launch(machine, "check")
    assert (done.returncode, done.stderr) == (0, "")
    done = launch(machine, "coffee")
    assert (done.returncode, done.stderr) == (2, "usage: python -m millrace_machine venv|check|demo|test|test-long\n")


@pytest.mark.parametrize("path", sorted(SOURCES.glob("*.py")), ids=lambda path: path.name)
def test_a_python_of_2019_can_read_it_and_say_that_it_is_too_old(path: Path):
    ast.parse(path.read_text(), feature_version=(3, 8))


def test_the_chosen_cluster_is_the_one_that_the_cluster_tool_brings_up(machine: Machine):
    assert choice.choose() == ("embedded", "no Docker engine answers")
