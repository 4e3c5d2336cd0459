"""Commands say what is wrong in a sentence, and `plan` explains offline."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
import yaml

from millrace import cli
from millrace.contract import erasure

SAMPLES = Path(__file__).parents[1] / "manifests" / "samples"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MILLRACE_NAMESPACE", "MILLRACE_TRAINER_IMAGE"):
        monkeypatch.delenv(name, raising=False)


def test_run_without_settings_names_them_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("millrace run: MILLRACE_NAMESPACE is not set")
    assert "Traceback" not in said


@pytest.mark.parametrize("command", ["admission", "rbac"])
def test_generated_manifests_are_printed_as_yaml(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command]) == 0
    documents = list(yaml.safe_load_all(capsys.readouterr().out))
    assert documents
    assert all("kind" in one for one in documents)


def test_plan_says_what_would_be_made_for_a_dataset(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "-f", str(SAMPLES / "dataset.yaml")]) == 0
    (explained,) = yaml.safe_load_all(capsys.readouterr().out)
    assert explained["object"].startswith("Dataset ")
    assert [one["kind"] for one in explained["children"]] == ["Job"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "cannot be read as YAML"),
        ("kind: Dataset", "object 1 of .* has no metadata.name"),
        ("{apiVersion: v1, kind: Potato, metadata: {name: p}}", "Potato p is not a kind Millrace knows"),
    ],
)
def test_plan_refuses_what_it_cannot_read_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, says: str
) -> None:
    path = tmp_path / "objects.yaml"
    path.write_text(text)
    assert cli.main(["plan", "-f", str(path)]) == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert re.search(says, said)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text("a key of sixteen bytes\n")
    return path


def asked(monkeypatch: pytest.MonkeyPatch, key: Path, lines: str, *more: str) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    return cli.main(["erasure", "--key-file", str(key), *more])


def test_erasure_prints_a_patch_that_adds_digests_and_no_id(
    key: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(monkeypatch, key, "alice@example.com\n\n4711\n", "--reference", "DSR-1") == 0
    text = capsys.readouterr().out
    ids = json.loads(text)["spec"]["erasure"]["ids"]
    assert ids == {erasure.digest(b"a key of sixteen bytes", one): "DSR-1" for one in ("alice@example.com", "4711")}
    assert "alice" not in text


@pytest.mark.parametrize(
    ("content", "lines", "reference", "says"),
    [
        ("short", "4711", "DSR-1", "the key has 5 bytes, 16 are needed"),
        ("a key of sixteen bytes", "\n", "DSR-1", "expected 1 to 2048 Ids"),
        ("a key of sixteen bytes", "4711\n" * 2049, "DSR-1", "got 2049"),
        ("a key of sixteen bytes", "4711", "04711", "kept in clear"),
    ],
)
def test_erasure_refuses_in_a_sentence_without_the_id(
    key: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: str,
    lines: str,
    reference: str,
    says: str,
) -> None:
    key.write_text(content)
    assert asked(monkeypatch, key, lines, "--reference", reference) == 1
    said = capsys.readouterr().err
    assert says in said
    assert "4711" not in said
