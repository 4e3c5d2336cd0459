"""Who is to be forgotten, what is done about it, and who still holds them, as a Dataset says it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from dataset_worlds import NOW, A, B, after, finished, frozen, make_dataset, truth, world
from millrace.api import conditions
from millrace.api.dataset import Dataset
from millrace.contract.erasure import ErasureReport, HeldId, digest, of_list
from millrace.contract.report import SnapshotOutcome, SnapshotReport
from millrace.decide import dataset as decisions
from millrace.decide.dataset import Descendant, Observation
from millrace.decide.plan import Event

C = f"sha256:{'c' * 64}"
ALICE, BOB = (digest(b"a key of sixteen bytes", name) for name in ("alice", "bob"))
LISTED = of_list("customer", [ALICE, BOB])
OLD, NEW = f"sha256-{'a' * 16}", f"sha256-{'c' * 16}"
FOUND = ErasureReport(
    LISTED,
    ids=2,
    rows=7,
    held_ids=1,
    versions=(OLD,),
    trained=(0,),
    held=(HeldId(ALICE[:25], trained=(0,)),),
    account_uri="s3://millrace/datasets/ml/churn/erasures/x.json",
)
FIELDS = [{"name": "customer", "type": "String", "role": "Id"}, {"name": "age", "type": "Int64"}]


def asking(*ids: str, generation: int = 2, **status: Any) -> Dataset:
    """A Dataset with a version of before, whose spec asks to forget them."""
    found = make_dataset(generation=generation, **status).model_dump(by_alias=True)
    found["spec"] |= {
        "schema": {"mode": "Strict", "fields": FIELDS},
        "erasure": {"field": "customer", "keyRef": {"name": "key"}, "ids": dict.fromkeys(ids, "DSR-1")},
    }
    return Dataset.model_validate(found)


def looking(*ids: str) -> Observation:
    """Version 1 is there; the look that is to forget them goes on."""
    first = after(world(make_dataset()))
    job = finished(str(first.dataset.status.job_name), frozen())
    had = after(first.model_copy(update={"jobs": (job,)})).dataset.status
    return after(world(asking(*ids, **had.wire())))


def answered(
    report: SnapshotReport, *models: Descendant, seen: Observation | None = None
) -> tuple[Observation, tuple[Event, ...]]:
    """What the Dataset says once the look has ended so."""
    going = seen or looking(ALICE, BOB)
    job = finished(str(going.dataset.status.job_name), report)
    ended = going.model_copy(update={"jobs": (job,), "models": models})
    plan = decisions.decide(ended)
    left = Dataset.model_validate(ended.dataset.model_dump(by_alias=True) | {"status": plan.status})
    return ended.model_copy(update={"dataset": left, "jobs": ()}), plan.events


def without(found: ErasureReport = FOUND, new: str = C) -> SnapshotReport:
    return dataclasses.replace(frozen(new), erasure=found)


def said(seen: Observation, kind: str = "Erased") -> str:
    found = conditions.find(seen.dataset.status.conditions, kind)
    assert found is not None
    return found.message


def test_a_dataset_that_is_to_forget_nobody_says_nothing_about_it() -> None:
    seen = after(world(make_dataset()))
    assert conditions.find(seen.dataset.status.conditions, "Erased") is None
    assert seen.dataset.status.erasure is None
    assert conditions.find(after(world(asking())).dataset.status.conditions, "Erased") is None


def test_asking_starts_a_look_that_is_told_the_digests_and_given_the_key() -> None:
    (job,) = decisions.decide(looking(ALICE)).children
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert {"prefix": "ERASURE_", "secretRef": {"name": "key"}} in container["envFrom"]
    task = job["spec"]["template"]["metadata"]["annotations"]["millrace.dev/task"]
    assert f'"erasure":{{"field":"customer","ids":{{"{ALICE}":"DSR-1"}}}}' in task
    assert truth(looking(ALICE), "Erased") == ("Unknown", "ErasurePending")


def test_what_still_holds_somebody_is_told_by_version_and_model() -> None:
    seen, events = answered(without(), Descendant(model="churn-1", digest=A), Descendant(model="churn-9", digest=C))
    status = seen.dataset.status.erasure
    assert status is not None
    assert (status.list_digest, status.carried_out, status.ids, status.rows, status.held_ids) == (
        LISTED,
        LISTED,
        2,
        7,
        1,
    )
    assert [one.wire() for one in status.versions] == [{"folder": OLD, "version": 1, "trained": True, "gone": False}]
    assert status.models == ("churn-1",)
    assert [one.wire() for one in status.held] == [{"id": ALICE, "versions": [OLD], "models": ["churn-1"]}]
    assert truth(seen, "Erased") == ("False", "StillHeld")
    text = (
        "Left out of every version from now on: 2 Ids to be forgotten, 7 rows of this source. 1 still in the files of "
    )
    assert said(seen).startswith(f"{text}version 1; Model churn-1 learnt from such rows. Delete the Models")
    assert [one.reason for one in events] == ["VersionFrozen", "StillHeld"]
    assert truth(seen, "Ready")[0] == "True"


def test_a_model_of_a_version_that_was_frozen_without_them_holds_nobody() -> None:
    """A version is looked through, or known to be without; a Model of any other may hold anybody."""
    found = dataclasses.replace(FOUND, held_ids=0, versions=(), trained=(), held=(), clear=("dddddddd",))
    known = [Descendant(model="churn-9", digest=C), Descendant(model="churn-8", digest=f"sha256:{'d' * 64}")]
    seen, _ = answered(without(found), *known)
    assert truth(seen, "Erased") == ("True", "Erased")
    seen, _ = answered(without(found), *known, Descendant(model="churn-1", digest=B))
    assert truth(seen, "Erased") == ("False", "StillHeld")
    assert "Nobody can say whom Model churn-1 learnt from." in said(seen)


def test_a_model_that_was_only_measured_on_somebody_holds_nobody() -> None:
    found = dataclasses.replace(FOUND, trained=(), held=(HeldId(ALICE[:25], tested=(0,)),))
    seen, _ = answered(without(found), Descendant(model="churn-1", digest=A))
    assert "1 still in the files of version 1. Delete" in said(seen)


def test_a_version_whose_files_are_gone_is_named_for_its_models_alone() -> None:
    gone = dataclasses.replace(FOUND, held_ids=0, gone=(0,))
    seen, _ = answered(without(gone), Descendant(model="churn-1", digest=A))
    assert seen.dataset.status.erasure is not None
    assert (seen.dataset.status.erasure.models, seen.dataset.status.erasure.unknown_models) == (("churn-1",), ())
    assert "in the files of" not in said(seen)
    assert "of this source. Model churn-1 learnt from such rows. Delete" in said(seen)
    # The Model is deleted: nobody is left.
    later = after(seen.model_copy(update={"models": ()}))
    assert truth(later, "Erased") == ("True", "Erased")
    assert decisions.decide(seen.model_copy(update={"models": ()})).events[-1].reason == "Erased"


def test_a_version_that_cannot_be_read_keeps_it_from_being_said_that_nobody_is_left() -> None:
    found = dataclasses.replace(FOUND, held_ids=0, versions=(), trained=(), held=(), unread_versions=1)
    seen, _ = answered(without(found))
    assert truth(seen, "Erased") == ("False", "StillHeld")
    assert "Nobody can say whom 1 version may hold." in said(seen)


def test_a_source_that_gives_no_other_version_has_been_gone_through_all_the_same() -> None:
    report = dataclasses.replace(SnapshotReport(SnapshotOutcome.UNCHANGED, digest=A), erasure=FOUND)
    seen, _ = answered(report)
    assert seen.dataset.status.erasure is not None
    assert seen.dataset.status.erasure.carried_out == LISTED


def test_a_source_that_is_refused_leaves_it_to_be_done_and_tells_who_holds_them() -> None:
    report = SnapshotReport(
        SnapshotOutcome.REJECTED, "SourceNotFound", "gone", erasure=dataclasses.replace(FOUND, rows=None)
    )
    seen, _ = answered(report)
    status = seen.dataset.status.erasure
    assert status is not None
    assert (status.carried_out, status.held_ids) == (None, 1)
    assert truth(seen, "Erased") == ("Unknown", "ErasurePending")


@pytest.mark.parametrize(
    "report",
    [
        frozen(C),
        dataclasses.replace(frozen(C), erasure=dataclasses.replace(FOUND, list_digest=of_list("customer", [ALICE]))),
        dataclasses.replace(frozen(C), erasure=dataclasses.replace(FOUND, versions=("no folder",))),
    ],
)
def test_an_answer_about_another_list_or_in_other_words_claims_nothing(report: SnapshotReport) -> None:
    seen, _ = answered(report)
    assert seen.dataset.status.erasure is None
    assert truth(seen, "Erased") == ("Unknown", "ErasurePending")


def test_one_more_id_is_not_forgotten_by_what_was_done_for_the_others() -> None:
    seen, _ = answered(without())
    carol = digest(b"a key of sixteen bytes", "carol")
    more = after(world(asking(ALICE, BOB, carol, generation=3, **seen.dataset.status.wire())))
    assert truth(more, "Erased") == ("Unknown", "ErasurePending")
    assert more.dataset.status.erasure is not None
    assert more.dataset.status.erasure.carried_out == LISTED


def test_without_its_key_nothing_is_frozen_and_a_person_is_told_what_to_do() -> None:
    report = SnapshotReport(SnapshotOutcome.FAILED, "ErasureKeyMissing", "The Secret has 0 keys.")
    seen, _ = answered(report)
    assert truth(seen, "Stalled") == ("True", "ErasureKeyMissing")
    assert "Put that key back into the Secret" in said(seen, "Stalled")
    assert seen.dataset.status.current is not None


def test_nothing_is_written_twice_and_the_answer_outlives_the_operator() -> None:
    seen, _ = answered(without(), Descendant(model="churn-1", digest=A))
    again = decisions.decide(seen)
    assert again.status == seen.dataset.status.wire()
    assert again.events == ()
    assert again.children == ()


def test_the_rows_left_out_are_remembered_when_the_source_is_not_read_again() -> None:
    seen, _ = answered(without())
    unread = dataclasses.replace(FOUND, rows=None)
    look = after(world(asking(ALICE, BOB, generation=3, **seen.dataset.status.wire()), now=NOW))
    seen, _ = answered(
        dataclasses.replace(SnapshotReport(SnapshotOutcome.UNCHANGED, digest=C), erasure=unread), seen=look
    )
    assert seen.dataset.status.erasure is not None
    assert seen.dataset.status.erasure.rows == 7


def test_versions_and_models_are_named_as_far_as_there_is_room() -> None:
    folders = tuple(f"sha256-{at:016x}" for at in range(9))
    many = dataclasses.replace(FOUND, versions=folders, trained=tuple(range(9)), held=())
    models = [Descendant(model=f"churn-{at}", digest=f"sha256:{at:016x}{'0' * 48}") for at in range(9)]
    seen, _ = answered(without(many), *models)
    text = said(seen)
    assert "still in the files of versions 9 that status.versions does not list; Models churn-0, churn-1" in text
    assert "churn-4 and 4 more learnt from such rows" in text
