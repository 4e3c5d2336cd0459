"""What is erased, in which order, what is refused, and what an attempt that ends early leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_kit import gateway, tasks

from millrace_runtime import store as stores
from millrace_runtime.removal import erase
from millrace_runtime.removal.__main__ import main
from millrace_runtime.snapshot import manifest

MODULE = "millrace_runtime.removal"
VERSION = ("train.parquet", "validation.parquet", "test.parquet", "manifest.json", "profile.json")
RUN = ("model.onnx", "golden.json", "profile.json", "card.html", "report.json")
A, B = "sha256-aaaaaaaaaaaaaaaa", "sha256-bbbbbbbbbbbbbbbb"


class Held:
    """A store with two versions of `churn`, two runs, and what belongs to others."""

    def __init__(self, root: str) -> None:
        self.root = root
        for name in (A, B):
            self.put(f"datasets/ml/churn/{name}", VERSION)
        for name in ("uid-1", "uid-11"):
            self.put(f"models/ml/churn/{name}", RUN)
        self.put("datasets/ml/churn-2/x", VERSION)
        self.put("datasets/fraud/churn/x", VERSION)
        self.put("models/fraud/churn/uid-1", RUN)
        self.put("sources/ml/churn", ("rows.csv",))

    def put(self, folder: str, names: tuple[str, ...]) -> None:
        for name in names:
            stores.write_bytes(f"{self.root}/{folder}/{name}", name.encode())

    def names(self, folder: str = "") -> set[str]:
        root = f"{self.root}/{folder}".rstrip("/")
        return {uri.removeprefix(f"{self.root}/") for uri in stores.sizes(root)}

    def task(self, *folders: str) -> dict[str, object]:
        return {
            "namespace": "ml",
            "dataset": "churn",
            "storeUri": self.root,
            "folders": [one if "://" in one else f"{self.root}/{one}" for one in folders],
        }


@pytest.fixture
def held(tmp_path) -> Held:
    return Held((tmp_path / "store").as_uri())


def test_what_is_named_is_erased_and_nothing_else(held, tmp_path):
    before = held.names()
    gone = held.names(f"datasets/ml/churn/{A}") | held.names("models/ml/churn/uid-1")
    task = held.task(f"datasets/ml/churn/{A}/", "models/ml/churn/uid-1")
    code, report, _ = tasks.contained(main, task, tmp_path)
    assert (code, report["outcome"], report["objects"]) == (0, "Erased", len(VERSION) + len(RUN))
    assert report["bytes"] == sum(len(name) for name in (*VERSION, *RUN))
    assert held.names() == before - gone


def test_a_second_time_nothing_is_there_and_that_is_no_failure(held, tmp_path):
    task = held.task(f"datasets/ml/churn/{A}/", "models/ml/churn/never-was")
    assert tasks.contained(main, task, tmp_path)[0] == 0
    code, report, _ = tasks.contained(main, task, tmp_path)
    assert (code, report["outcome"], report["objects"], report["bytes"]) == (0, "Erased", 0, 0)


FOREIGN = (
    "datasets/ml/churn",
    "datasets/ml/churn/",
    "datasets/ml/churn//",
    f"datasets/ml/churn/{A}/deeper",
    "datasets/ml/churn-2/x",
    "datasets/fraud/churn/x",
    "datasets/ml/churn/../churn-2",
    "datasets/ml/churn/..",
    "datasets/ml/churn/*",
    "models/ml",
    "models/ml/churn",
    "models/ml/churn/",
    "models/ml/churn/uid-1/model.onnx",
    "models/ml/../fraud/churn/uid-1",
    "models/fraud/churn/uid-1",
    "sources/ml/churn",
    "",
    "file:///etc/passwd",
)


@pytest.mark.parametrize("folder", FOREIGN)
def test_one_folder_that_is_not_its_own_and_nothing_at_all_is_erased(held, tmp_path, folder):
    before = held.names()
    code, report, _ = tasks.contained(main, held.task(f"datasets/ml/churn/{A}/", folder), tmp_path)
    assert (code, report["outcome"], report["reason"]) == (0, "Failed", "EraseRefused")
    assert held.names() == before


def test_what_makes_it_a_version_or_a_model_goes_first(held, monkeypatch, tmp_path):
    gone = []
    monkeypatch.setattr(stores, "erase", lambda uri, real=stores.erase: (gone.append(uri), real(uri))[1])
    tasks.contained(main, held.task(f"datasets/ml/churn/{A}/", "models/ml/churn/uid-1"), tmp_path)
    assert [uri.rpartition("/")[2] for uri in (gone[0], gone[len(VERSION)])] == ["manifest.json", "model.onnx"]


class Killed(BaseException):
    """The pod is gone."""


@pytest.mark.parametrize("after", range(len(VERSION) + len(RUN)))
def test_killed_after_any_file_the_next_attempt_does_the_rest(held, monkeypatch, tmp_path, after):
    before, gone = held.names(), held.names(f"datasets/ml/churn/{A}") | held.names("models/ml/churn/uid-1")
    task = held.task(f"datasets/ml/churn/{A}/", "models/ml/churn/uid-1")
    real, count = stores.erase, [0]

    def dies(uri):
        if count[0] == after:
            raise Killed
        count[0] += 1
        real(uri)

    with monkeypatch.context() as patched:
        patched.setattr(stores, "erase", dies)
        with pytest.raises(Killed):
            tasks.contained(main, task, tmp_path)
    assert held.names() >= before - gone
    assert tasks.contained(main, task, tmp_path)[1]["objects"] == len(gone) - after
    assert held.names() == before - gone


def test_an_attempt_that_fails_says_what_it_erased_before(held, monkeypatch, tmp_path):
    real, count = stores.erase, [0]

    def fails(uri):
        count[0] += 1
        if count[0] == 3:
            raise stores.StoreUnavailable("no answer")
        real(uri)

    monkeypatch.setattr(stores, "erase", fails)
    code, report, _ = tasks.contained(main, held.task(f"datasets/ml/churn/{A}/"), tmp_path)
    assert (code, report["outcome"], report["reason"], report["objects"]) == (1, "Failed", "StoreUnavailable", 2)
    assert report["bytes"] > 0


def test_a_folder_in_which_somebody_writes_is_not_said_to_be_empty(held, monkeypatch, tmp_path):
    monkeypatch.setattr(stores, "erase", lambda _: None)
    code, report, _ = tasks.contained(main, held.task(f"datasets/ml/churn/{A}/"), tmp_path)
    assert (code, report["reason"]) == (1, "EraseFailed")
    assert "somebody writes there" in report["message"]


@pytest.mark.parametrize("wanted", ["{", {"namespace": "ml"}])
def test_a_task_of_another_version_is_named(tmp_path, wanted):
    code, report, _ = tasks.contained(main, wanted, tmp_path)
    assert (code, report["outcome"], report["reason"]) == (0, "Failed", "MalformedReport")


def test_a_store_that_does_not_answer_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "PAUSES_SECONDS", ())
    with gateway.down(tmp_path) as dead:
        task = {
            "namespace": "ml",
            "dataset": "churn",
            "storeUri": "s3://lake/m",
            "folders": ["s3://lake/m/models/ml/c/u"],
        }
        code, report, _ = tasks.contained(main, task, tmp_path, **dead.environment())
    assert (code, report["reason"]) == (1, "StoreUnavailable")


@pytest.mark.programs
def test_in_a_real_store_what_is_named_is_erased_and_nothing_else(store, tmp_path, monkeypatch):
    for name, value in store.environment().items():
        monkeypatch.setenv(name, value)
    held = Held("s3://lake/millrace")
    before, gone = held.names(), held.names("models/ml/churn/uid-1") | held.names(f"datasets/ml/churn/{B}")
    task = held.task("models/ml/churn/uid-1", f"datasets/ml/churn/{B}/")
    code, report, _ = tasks.in_a_process(MODULE, task, tmp_path, **store.environment())
    assert (code, report["outcome"], report["objects"]) == (0, "Erased", len(gone)), report
    assert held.names() == before - gone
    again = tasks.contained(main, task, tmp_path, **store.environment())
    assert (again[0], again[1]["objects"]) == (0, 0)


@pytest.mark.programs
def test_keys_that_may_not_erase_are_named(store, tmp_path):
    environ = store.environment(secret="not-the-secret")
    task = {"namespace": "ml", "dataset": "churn", "storeUri": "s3://lake/m", "folders": ["s3://lake/m/models/ml/c/u"]}
    code, report, log = tasks.contained(main, task, tmp_path, **environ)
    assert (code, report["outcome"], report["reason"]) == (0, "Failed", "StoreDenied")
    assert "may erase" in report["message"]
    assert "not-the-secret" not in log


def test_a_half_erased_version_is_none(held, tmp_path):
    """Whoever reads it meanwhile finds that it is not there, and not that it is damaged."""
    folder = f"{held.root}/datasets/ml/churn/{A}"
    stores.erase(f"{folder}/{manifest.FILE}")
    with pytest.raises(erase.StageError) as error:
        manifest.load(folder, "sha256:x")
    assert "does not exist" in error.value.message


def test_the_folder_of_the_task_is_where_the_stages_write(tmp_path):
    root = (tmp_path / "s").as_uri()
    folder = Path(manifest.location(root, "ml", "churn", "sha256:" + "a" * 64))
    assert folder.name == A
