"""Secrets that a Dataset names, credentials and keys, are those that its writer may get; who is forgotten stays so."""

from __future__ import annotations

import copy
from typing import Any

Manifest = dict[str, Any]


def refused(answer: Any, said: str) -> None:
    assert not answer.ok, "it was accepted"
    assert said in answer.message


def accepted(answer: Any) -> None:
    assert answer.ok, answer.message


def may_get(control_plane: Any, user: str, secret: str) -> None:
    role = ["--verb=get", "--resource=secrets", f"--resource-name={secret}"]
    control_plane.kubectl("-n", "ml", "create", "role", secret, *role)
    control_plane.kubectl("-n", "ml", "create", "rolebinding", secret, f"--role={secret}", f"--user={user}")


def test_a_dataset_names_only_secrets_that_its_writer_may_get(
    api: Any, made: Any, samples: dict[str, Manifest], control_plane: Any
) -> None:
    sample = copy.deepcopy(samples["dataset"])
    del sample["spec"]["erasure"]
    refused(api.create(sample, user="alice", dry_run=True), "may not get the Secret lake-reader")
    without = copy.deepcopy(sample)
    del without["spec"]["source"]["secretRef"]
    accepted(api.create(without, user="alice", dry_run=True))

    may_get(control_plane, "carol", "lake-reader")
    stored = made(sample, user="carol")
    accepted(api.patch(stored, {"spec": {"refresh": {"interval": "1h"}}}, user="alice"))
    for source in ({"storageUri": "s3://payroll/"}, {"secretRef": {"name": "payroll"}}):
        refused(api.patch(stored, {"spec": {"source": source}}, user="alice"), "may not get the Secret")
    refused(api.patch(stored, {"spec": {"source": {"secretRef": {"name": "payroll"}}}}, user="carol"), "payroll")
    accepted(api.patch(stored, {"spec": {"source": {"storageUri": "s3://lake/other/"}}}, user="carol"))
    accepted(api.patch(stored, {"spec": {"source": {"secretRef": None}}}, user="alice"))


def test_who_is_forgotten_is_for_those_to_say_who_may_get_the_key_and_then_for_all_to_leave(
    api: Any, made: Any, samples: dict[str, Manifest], control_plane: Any
) -> None:
    sample = copy.deepcopy(samples["dataset"])
    del sample["spec"]["source"]["secretRef"]
    refused(api.create(sample, user="alice", dry_run=True), "may not get the Secret churn-erasure")
    may_get(control_plane, "carol", "churn-erasure")
    stored = made(sample, user="carol")
    accepted(api.patch(stored, {"spec": {"refresh": {"interval": "1h"}}}, user="alice"))
    refused(api.patch(stored, {"spec": {"erasure": {"keyRef": {"name": "mine"}}}}, user="alice"), "the Secret mine")
    refused(api.patch(stored, {"spec": {"erasure": None}}, user="carol"), "put back erasure")
    (digest,) = sample["spec"]["erasure"]["ids"]
    refused(api.patch(stored, {"spec": {"erasure": {"ids": {digest: None}}}}, user="carol"), "stays so")
    # A client that knows nothing of the others adds its own, and an older manifest takes none back.
    more = {"spec": {"erasure": {"ids": {f"{digest[:-1]}0": "DSR-2"}}}}
    accepted(api.patch(stored, more, user="alice"))
    assert sorted(api.get(stored)["spec"]["erasure"]["ids"].values()) == ["DSR-1042", "DSR-2"]


def test_the_longest_list_of_those_who_are_to_be_forgotten_is_taken(
    api: Any, made: Any, samples: dict[str, Manifest]
) -> None:
    sample = copy.deepcopy(samples["dataset"])
    sample["spec"]["erasure"]["ids"] = {f"0f7a41c2-{at:064x}": f"DSR-{at}".ljust(128, ".") for at in range(2048)}
    stored = made(sample)
    accepted(api.patch(stored, {"spec": {"refresh": {"interval": "1h"}}}))
    refused(api.patch(stored, {"spec": {"erasure": {"ids": {f"0f7a41c2-{2048:064x}": ""}}}}), "2048")
