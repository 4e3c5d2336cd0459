"""Who may say yes: checked by the API server, and only then traffic."""

from __future__ import annotations

import dataclasses
import time

import pytest

from millrace_demo import data, imports, objects, sources
from millrace_demo.kubectl import CommandFailed, Kubectl, condition, has_reason, is_true


def acting_as(kubectl: Kubectl, user: str) -> Kubectl:
    """The same kubectl with somebody else's name, known to the API server as that user."""
    return dataclasses.replace(kubectl, extra=("--as", user, "--as-group", "system:authenticated"))


def grant(kubectl: Kubectl, user: str, role: str) -> None:
    """Bind a cluster role to a user in the namespace."""
    name = f"{user}-{role}"
    kubectl.run("create", "rolebinding", name, f"--clusterrole={role}", f"--user={user}")


def test_the_author_cannot_approve_another_person_can_and_only_then_there_is_traffic(
    kubectl: Kubectl, store: sources.Sources, slices: tuple[data.Slice, data.Slice]
) -> None:
    for user, role in (("alice", "edit"), ("alice", "millrace-approver"), ("bob", "millrace-approver")):
        grant(kubectl, user, role)
    alice, bob = acting_as(kubectl, "alice"), acting_as(kubectl, "bob")
    uri = store.put("sources/manual/a.csv", slices[0].csv)
    alice.apply(
        objects.dataset("manual", uri, interval=None),
        objects.training_run("manual", "manual", "manual", "alice", required=1),
        objects.deployment("manual", "manual", None),
    )
    kubectl.until("mtr", "manual", lambda item: is_true(item, "Complete"), 180, "Complete")
    waiting = kubectl.until("mmd", "manual-1", has_reason("Approved", "PendingApproval"), 30, "pending")
    assert waiting["spec"]["provenance"]["author"] == "alice"
    digest = waiting["spec"]["artifact"]["digest"]

    with pytest.raises(CommandFailed, match="author"):
        alice.run("patch", "mmd", "manual-1", "--type=merge", "-p", imports.approval("alice", digest))
    with pytest.raises(CommandFailed, match="your own user name"):
        alice.run("patch", "mmd", "manual-1", "--type=merge", "-p", imports.approval("bob", digest))
    time.sleep(3)
    untouched = kubectl.get("mdep", "manual")
    assert untouched is not None
    assert "stable" not in untouched["status"]
    assert condition(untouched, "Ready")["reason"] == "NoApprovedModel"

    bob.run("patch", "mmd", "manual-1", "--type=merge", "-p", imports.approval("bob", digest))
    served = kubectl.until("mdep", "manual", lambda item: is_true(item, "Ready"), 90, "Ready")
    assert served["status"]["stable"]["model"] == "manual-1"


def test_a_run_in_another_name_or_with_automatic_approval_is_refused_without_the_right(kubectl: Kubectl) -> None:
    grant(kubectl, "dave", "edit")
    dave = acting_as(kubectl, "dave")
    with pytest.raises(CommandFailed, match="author"):
        dave.apply(objects.training_run("forged", "manual", "manual", "alice", required=1))
    with pytest.raises(CommandFailed, match="approve"):
        dave.apply(objects.training_run("automatic", "manual", "manual", "dave", required=0))
