"""Runs of the three stages, on this machine's disk."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "kit"))
sys.path.insert(0, str(Path(__file__).parents[1] / "snapshot" / "kit"))

from data_kit import data
from run_kit import here, runs

from millrace_runtime.training import child


@pytest.fixture
def bench(tmp_path) -> runs.Bench:
    return runs.Bench(tmp_path)


@pytest.fixture
def one_process(monkeypatch) -> None:
    """The evaluator's other processes run in this one: for tests of what is measured, not of what is allowed."""
    monkeypatch.setattr(child, "_exit_code", here.exit_code)


@pytest.fixture(scope="session")
def cancer(tmp_path_factory) -> runs.Bench:
    """breast_cancer frozen once: 30 numbers, one text column, gaps in both."""
    made = runs.Bench(tmp_path_factory.mktemp("cancer"))
    made.freeze(data.bundled("breast_cancer"), label="Int64")
    return made


@pytest.fixture(scope="session")
def diabetes(tmp_path_factory) -> runs.Bench:
    made = runs.Bench(tmp_path_factory.mktemp("diabetes"))
    made.freeze(data.bundled("diabetes"), label="Float64")
    return made


@pytest.fixture(scope="session")
def wine(tmp_path_factory) -> runs.Bench:
    """Three classes, named by text."""
    rows = data.bundled("wine")
    made = runs.Bench(tmp_path_factory.mktemp("wine"))
    named = rows.assign(label=rows.label.map({0: "barolo", 1: "grignolino", 2: "barbera"}))
    made.freeze(named, label="Category", split={"method": "Stratified", "field": "label"})
    return made


@pytest.fixture(scope="session")
def trained(cancer) -> runs.Bench:
    """cancer, with one run that succeeded."""
    cancer.run("first")
    return cancer
