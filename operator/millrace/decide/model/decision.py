"""Model: who has approved this version, who serves it, and whether it may be served.

    PendingApproval ──▶ QuorumReached · AutoApproved ──▶ champion (stable somewhere) · challenger (canary somewhere)
         │   ▲
         ▼   │ Revoke
       Rejected            admission policies not in force: no approval counts, whatever the list says

An approval counts for the digest it names, one a person, the latest one. Who wrote it was checked by the API server
when it was written; that is worth nothing unless the policy that checks is in force.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Literal

from pydantic import ValidationError

from millrace.api import conditions
from millrace.api.base import Frozen
from millrace.api.conditions import Mark
from millrace.api.model import ApprovalCount, DeployedIn, Model
from millrace.api.reasons.pipeline import ModelReason as Reason
from millrace.decide import status
from millrace.decide.plan import Plan
from millrace.decide.status import Kstatus

APPROVED, IN_USE = "Approved", "InUse"
CHAMPION, CHALLENGER = "champion", "challenger"
POLICY_UNKNOWN_SECONDS = 5.0
POLICY_OFF_SECONDS = 60.0
NORMAL = frozenset({Reason.AutoApproved.name, Reason.QuorumReached.name, Reason.PendingApproval.name})
SHOWN_USERS = 5


class Use(Frozen):
    """What one Deployment says it does with a version."""

    deployment: str
    role: Literal["Stable", "Canary"]
    model: str
    digest: str
    weight: int = 0


class Observation(Frozen):
    """What a decision about a Model depends on. `policy_in_force` is None while nobody knows."""

    now: datetime
    model: Model
    uses: tuple[Use, ...] = ()
    policy_in_force: bool | None = None
    policy_message: str = ""


class Votes(Frozen):
    """The latest decision of each person about this digest."""

    granted: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()


class _Approval(Frozen):
    """The condition Approved, and what it means for the other conditions."""

    holds: bool | None
    reason: str
    message: str
    progress: Literal["Settled", "Reconciling", "Stalled"]


def decide(seen: Observation) -> Plan:
    """One pass. Total: never raises."""
    model, known = seen.model, seen.model.status
    if model.metadata.deletion_timestamp is not None:
        return Plan()
    votes = count(model)
    approval = _approval(seen, votes)
    deployed = _deployed(seen)
    kstatus = Kstatus(
        ready=approval.holds is True, progress=approval.progress, reason=approval.reason, message=approval.message
    )
    approved = status.mark(APPROVED, approval.holds, approval.reason, approval.message)
    marks = (*kstatus.marks(), approved, _in_use(deployed))
    generation = model.metadata.generation
    new_status = known.model_copy(
        update={
            "observed_generation": generation,
            "phase": _phase(approval, deployed),
            "message": approval.message,
            "conditions": conditions.merge(known.conditions, marks, seen.now, generation),
            "aliases": _aliases(deployed),
            "approvals": ApprovalCount(
                required=model.spec.approval_policy.required, granted=len(votes.granted), rejected=len(votes.rejected)
            ),
            "deployed_in": deployed,
        }
    )
    events = status.transitions(known.conditions, (approved,), NORMAL, APPROVED)
    return Plan(status=new_status.wire(), events=tuple(events), wake_after=_wake(seen.policy_in_force))


def count(model: Model) -> Votes:
    """The latest decision of each person about this digest; the list is append-only, so later means further down."""
    spec = model.spec
    author = spec.provenance.author if spec.provenance is not None else None
    latest: dict[str, str] = {}
    for approval in spec.approvals or ():
        if approval.digest == spec.artifact.digest:
            latest[approval.user] = approval.decision
    excluded = author if spec.approval_policy.distinct_from_author else None
    return Votes(
        granted=tuple(sorted(user for user, decision in latest.items() if decision == "Approve" and user != excluded)),
        rejected=tuple(sorted(user for user, decision in latest.items() if decision == "Reject")),
    )


def _approval(seen: Observation, votes: Votes) -> _Approval:
    """The first finding that holds."""
    required = seen.model.spec.approval_policy.required
    if votes.rejected:
        why = f"{_people(votes.rejected)} rejected this digest"
        return _finding(seen, False, Reason.Rejected, why, "Stalled")
    if len(votes.granted) < required:
        return _finding(seen, False, Reason.PendingApproval, _missing(seen, votes), "Reconciling")
    if seen.policy_in_force is False:
        detail = f": {seen.policy_message}" if seen.policy_message else ""
        why = f"The admission policies that check who approves are not in force{detail}"
        why += ". No approval counts until they are"
        return _finding(seen, False, Reason.PolicyNotInForce, why, "Stalled")
    if seen.policy_in_force is None and not conditions.is_true(seen.model.status.conditions, APPROVED):
        return _finding(seen, None, Reason.PolicyUnknown, "", "Reconciling")
    if required == 0:
        name = seen.model.metadata.name
        return _finding(
            seen, True, Reason.AutoApproved, f"{name} is approved by its gates: no person is required", "Settled"
        )
    why = f"{seen.model.metadata.name} is approved by {_people(votes.granted)} ({len(votes.granted)} of {required})"
    return _finding(seen, True, Reason.QuorumReached, why, "Settled")


def _finding(
    seen: Observation,
    holds: bool | None,
    reason: Reason,
    why: str,
    progress: Literal["Settled", "Reconciling", "Stalled"],
) -> _Approval:
    whom = seen.model.metadata
    text = status.message(reason, why, namespace=whom.namespace, name=whom.name, patch=_patch(seen.model))
    return _Approval(holds=holds, reason=reason.name, message=text, progress=progress)


def _missing(seen: Observation, votes: Votes) -> str:
    spec = seen.model.spec
    required = spec.approval_policy.required
    text = f"Waiting for {required - len(votes.granted)} more approval(s) of {required}"
    author = spec.provenance.author if spec.provenance is not None else None
    if author is not None and spec.approval_policy.distinct_from_author:
        text += f", not by the author {author}"
    return text


def _patch(model: Model) -> str:
    """The JSON patch that adds an approval; the reader puts in their own name."""
    entry = {"user": "<your user name>", "decision": "Approve", "digest": model.spec.artifact.digest}
    path, value = ("/spec/approvals/-", entry) if model.spec.approvals else ("/spec/approvals", [entry])
    return json.dumps([{"op": "add", "path": path, "value": value}], separators=(",", ":"))


def _people(users: tuple[str, ...]) -> str:
    more = len(users) - SHOWN_USERS
    shown = ", ".join(user[:64] for user in users[:SHOWN_USERS])
    return f"{shown} and {more} more" if more > 0 else shown


def _deployed(seen: Observation) -> tuple[DeployedIn, ...]:
    """Who serves exactly these bytes under this name."""
    model = seen.model
    found = []
    for use in sorted(seen.uses, key=lambda use: (use.deployment, use.role)):
        if use.model == model.metadata.name and use.digest == model.spec.artifact.digest:
            try:
                found.append(DeployedIn(name=use.deployment, role=use.role, weight=use.weight))
            except ValidationError:
                continue
    return tuple(found[:64])


def _aliases(deployed: tuple[DeployedIn, ...]) -> tuple[str, ...]:
    roles = {use.role for use in deployed}
    return tuple(alias for role, alias in (("Stable", CHAMPION), ("Canary", CHALLENGER)) if role in roles)


def _in_use(deployed: tuple[DeployedIn, ...]) -> Mark:
    if not deployed:
        return status.mark(IN_USE, False, Reason.NotDeployed, Reason.NotDeployed.sentence)
    stable = [use for use in deployed if use.role == "Stable"]
    shown = stable or list(deployed)
    listed = ", ".join(f"{use.name} at {use.weight} %" for use in shown[:SHOWN_USERS])
    more = f" and {len(shown) - SHOWN_USERS} more" if len(shown) > SHOWN_USERS else ""
    return status.mark(IN_USE, True, Reason.Stable if stable else Reason.Canary, f"Deployment {listed}{more}.")


def _phase(approval: _Approval, deployed: tuple[DeployedIn, ...]) -> str:
    """For people: never read back."""
    if approval.holds is not True:
        return approval.reason
    return "Serving" if any(use.role == "Stable" for use in deployed) else "Approved"


def _wake(in_force: bool | None) -> float | None:
    """A change of the policies triggers no pass, so they are looked at again."""
    if in_force is None:
        return POLICY_UNKNOWN_SECONDS
    return None if in_force else POLICY_OFF_SECONDS
