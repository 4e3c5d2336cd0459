"""Where things are in the store: one place each, and nothing else is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contract import places

STORE = "s3://millrace/prefix"
names = st.from_regex(r"[a-z][-a-z0-9]{0,20}[a-z0-9]", fullmatch=True)


@given(names, names, st.from_regex(r"[0-9a-f]{64}", fullmatch=True))
def test_a_version_is_where_a_version_may_be(namespace: str, dataset: str, digest: str) -> None:
    folder = places.version(STORE, namespace, dataset, f"sha256:{digest}")
    assert places.is_version(folder, STORE, namespace, dataset)
    assert places.is_version(folder.rstrip("/"), f"{STORE}/", namespace, dataset)
    assert not places.is_run(folder, STORE, namespace)
    assert not places.is_version(folder, STORE, f"{namespace}x", dataset)
    assert not places.is_version(f"{folder}x", STORE, namespace, dataset)


@given(names, names, st.uuids().map(str))
def test_a_run_is_where_a_run_may_be(namespace: str, model: str, uid: str) -> None:
    folder = places.run(STORE, namespace, model, uid)
    assert places.is_run(folder, STORE, namespace)
    assert places.folder_of(f"{folder}/model.onnx") == folder
    assert places.is_in(f"{folder}/model.onnx", folder)
    assert not places.is_in(f"{folder}x/model.onnx", folder)
    assert not places.is_version(folder, STORE, namespace, model)


@pytest.mark.parametrize("name", ["", ".", "..", "a/..", "../a", "a//b", "*", "a?", "-a", "a b", "a\n"])
def test_what_is_no_plain_name_is_no_place(name: str) -> None:
    assert not places.is_version(f"{STORE}/datasets/ml/churn/{name}", STORE, "ml", "churn")
    assert not places.is_run(f"{STORE}/models/ml/churn/{name}", STORE, "ml")


def test_every_folder_above_a_file_is_named_once_and_the_scheme_is_none() -> None:
    assert list(places.above("s3://b/a/c/f.txt")) == ["s3://b/a/c", "s3://b/a", "s3://b"]
    assert list(places.above("s3://b/a/c/")) == ["s3://b/a", "s3://b"]
    assert list(places.above("f.txt")) == []
