"""What a pytest run leaves for the last lines, from small trees of tests that fail in every way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from millrace_cluster import evidence
from millrace_tiers import failures

pytest_plugins = ["pytester"]

LEAN = ["-p", "no:cacheprovider", "-p", "no:asyncio", "-p", "no:hypothesispytest", "-p", "no:timeout"]
TESTS = Path(failures.__file__).parents[2]
CONFTEST = "from millrace_tiers import failures\n\ndef pytest_configure(config):\n    failures.register(config)\n"


class Tree:
    """A folder of tests, run by a pytest in this process, or with workers in processes of their own."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        pytester.makeini("[pytest]\n")
        pytester.makeconftest(CONFTEST)

    def run(self, *options: str, test_it: str) -> list[str]:
        """The lines of the report; empty where none was written."""
        self.pytester.makepyfile(test_it=test_it)
        run = self.pytester.runpytest_subprocess if options else self.pytester.runpytest_inprocess
        self.printed = run(*LEAN, *options).stdout.str()
        report = self.pytester.path / "report"
        return report.read_text().splitlines() if report.exists() else []


@pytest.fixture
def tree(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Tree:
    monkeypatch.setattr(evidence, "_offered", [])
    monkeypatch.setenv(failures.VARIABLE, str(pytester.path / "report"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(str(TESTS / folder) for folder in ("tiers", "cluster")))
    return Tree(pytester)


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "with workers"])
def test_a_failed_test_is_named_with_its_place_its_assertion_and_how_to_see_it_again(tree: Tree, options: tuple[str]):
    lines = tree.run(*options, test_it="""
        def test_good():
            pass

        def test_bad():
            assert {"weight": 25} == {"weight": 50}
    """)  # fmt: skip
    assert lines[0] == "FAILED test_it.py::test_bad"
    assert lines[1] == "  test_it.py:5: AssertionError: assert {'weight': 25} == {'weight': 50}"
    assert lines[-1] == "  again: .venv/bin/python -m pytest test_it.py::test_bad"


def test_nothing_is_written_where_nothing_failed(tree: Tree):
    assert tree.run(test_it="def test_good():\n    pass\n") == []


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "with workers"])
def test_the_last_lines_of_what_a_fixture_runs_come_before_what_failed(tree: Tree, options: tuple[str]):
    lines = tree.run(*options, test_it="""
        import pytest
        from millrace_cluster import evidence

        @pytest.fixture
        def envoy():
            with evidence.offered(lambda: {"envoy.log": "\\n".join(f"line {n}" for n in range(100)), "silent": ""}):
                yield

        def test_bad(envoy):
            raise RuntimeError("no route")
    """)  # fmt: skip
    assert lines[:2] == ["--- the last 40 lines of envoy.log", "line 60"]
    assert lines[40:43] == ["line 99", "", "FAILED test_it.py::test_bad"]
    assert lines[43] == "  test_it.py:10: RuntimeError: no route"
    assert "silent" not in "".join(lines)
    assert "line 99" in tree.printed


def test_a_process_that_ended_before_is_nobodys_evidence(tree: Tree):
    lines = tree.run(test_it="""
        from millrace_cluster import evidence

        def test_bad():
            with evidence.offered(lambda: {"gone.log": "long ago"}):
                pass
            raise RuntimeError("no route")
    """)  # fmt: skip
    assert lines[0] == "FAILED test_it.py::test_bad"


def test_a_log_that_cannot_be_read_says_why_and_hides_no_failure(tree: Tree):
    lines = tree.run(test_it="""
        import pytest
        from millrace_cluster import evidence

        def test_bad():
            evidence.offer("me", lambda: {}["pods"])
            raise RuntimeError("no route")
    """)  # fmt: skip
    assert lines[:2] == ["--- the last 40 lines of what could not be read", "KeyError: 'pods'"]
    assert "  test_it.py:6: RuntimeError: no route" in lines


def test_a_fixture_that_fails_is_told_apart_from_a_test_that_does(tree: Tree):
    lines = tree.run(test_it="""
        import pytest

        @pytest.fixture
        def cluster():
            raise RuntimeError("the cluster is not up")

        def test_it(cluster):
            pass
    """)  # fmt: skip
    assert lines[:2] == [
        "FAILED in setup of test_it.py::test_it",
        "  test_it.py:5: RuntimeError: the cluster is not up",
    ]


def test_a_file_that_cannot_be_imported_is_told(tree: Tree):
    lines = tree.run(test_it="import no_such_module\n")
    assert lines[0] == "FAILED in collect of test_it.py"
    assert any("ModuleNotFoundError: No module named 'no_such_module'" in line for line in lines)


def test_a_worker_that_dies_names_its_test(tree: Tree):
    lines = tree.run("-n", "1", test_it="import os\n\ndef test_bad():\n    os._exit(3)\n")
    assert lines[0].endswith("test_it.py::test_bad")
    assert any("crashed while running" in line for line in lines)


def test_a_long_message_is_cut_and_every_failure_is_named(tree: Tree):
    lines = tree.run(test_it="""
        import pytest

        @pytest.mark.parametrize("case", ["one", "two words"])
        def test_bad(case):
            raise RuntimeError("\\n".join(map(str, range(100))))
    """)  # fmt: skip
    assert lines[0] == "FAILED test_it.py::test_bad[one]"
    assert lines[failures.MESSAGE_LINES : failures.MESSAGE_LINES + 2] == ["  24", "  ..."]
    assert lines[-1] == "  again: .venv/bin/python -m pytest 'test_it.py::test_bad[two words]'"
    assert len(lines) == 2 * (failures.MESSAGE_LINES + 3)


def test_only_the_first_failures_are_looked_into(tree: Tree):
    tree.run(test_it="""
        import pytest
        from millrace_cluster import evidence

        asked = []
        evidence.offer("me", lambda: asked.append(1) or {"log": "words"})

        @pytest.mark.parametrize("n", range(10))
        def test_bad(n):
            assert not asked or n < 9, f"asked {len(asked)} times"
            raise RuntimeError
    """)  # fmt: skip
    assert f"asked {failures.WITNESSED} times" in tree.printed
