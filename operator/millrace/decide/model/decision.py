"""Model: who has approved this version, who serves it, and whether it may be served.

    PendingApproval ──▶ QuorumReached · AutoApproved ──▶ champion (stable somewhere) · challenger (canary somewhere)
         │   ▲
         ▼   │ Revoke
       Rejected            admission policies not in force: no approval counts, whatever the list says

An approval counts for the digest it names, one a person, the latest one, and only if the policies that check who writes
it were in force when it was written (`approvals`). A rejection is about the bytes, whatever name they have.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Literal

from pydantic import ValidationError

from millrace.api import conditions
from millrace.api.base import Frozen
from millrace.api.conditions import Mark
from millrace.api.model import ApprovalCount, DeployedIn, Model, ModelSpec, Quarantine
from millrace.api.reasons.pipeline import ModelReason as Reason
from millrace.decide import status
from millrace.decide.plan import Plan
from millrace.decide.status import Kstatus
from millrace.render.quarantine import Record

from . import approvals, quarantine
from .approvals import Judgement, Votes

APPROVED, IN_USE = "Approved", "InUse"
CHAMPION, CHALLENGER = "champion", "challenger"
POLICY_UNKNOWN_SECONDS = 5.0
POLICY_OFF_SECONDS = 60.0
NORMAL = frozenset({Reason.AutoApproved.name, Reason.QuorumReached.name, Reason.PendingApproval.name})
SHOWN_USERS = 5
CALLER = "the-caller"
_WHO = """'"$(kubectl auth whoami -o jsonpath={.status.userInfo.username})"'"""
"""Leaves the quotes of the patch for a moment, so that the shell puts the caller's user name in."""


class Use(Frozen):
    """What one Deployment says it does with a version."""

    deployment: str
    role: Literal["Stable", "Canary"]
    model: str
    digest: str
    weight: int = 0


class Rejection(Frozen):
    """Who rejected the same bytes under another version's name."""

    model: str
    users: tuple[str, ...]


class Observation(Frozen):
    """What a decision about a Model depends on. `policy_in_force` and `admitted` are None while nobody knows.

    `policy_epoch` is the one under which the entries in `model` were seen: it was read before and after them.
    """

    now: datetime
    model: Model
    uses: tuple[Use, ...] = ()
    elsewhere: tuple[Rejection, ...] = ()
    records: tuple[Record, ...] = ()
    """What is written of quarantines of its bytes."""
    wanting: tuple[str, ...] = ()
    """Deployments that follow or name it."""
    policy_in_force: bool | None = None
    policy_message: str = ""
    policy_epoch: str = ""
    admitted: bool | None = None
    is_own: bool = False
    """Whether the run that it claims says that this is its Model: the operator created it then."""


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
    judgement = approvals.judge(
        model, in_force=seen.policy_in_force, epoch=seen.policy_epoch, admitted=seen.admitted, is_own=seen.is_own
    )
    votes = approvals.count(model, judgement.excluded)
    approval = _approval(seen, votes, judgement)
    deployed = _deployed(seen)
    kstatus = Kstatus(
        ready=approval.holds is True, progress=approval.progress, reason=approval.reason, message=approval.message
    )
    approved = status.mark(APPROVED, approval.holds, approval.reason, approval.message)
    standing = quarantine.standing(seen.records, seen.model.metadata.name)
    condemned = quarantine.mark(model, standing, seen.wanting)
    in_use = _in_use(deployed)
    marks = (*kstatus.marks(), approved, condemned, in_use)
    generation = model.metadata.generation
    new_status = known.model_copy(
        update={
            "observed_generation": generation,
            "phase": _phase(approval, deployed, standing),
            "message": condemned.message if standing is not None and approval.holds else _told(approval, in_use),
            "quarantine": standing,
            "conditions": conditions.merge(known.conditions, marks, seen.now, generation),
            "aliases": _aliases(deployed),
            "admission": judgement.admission,
            "approvals": ApprovalCount(
                required=model.spec.approval_policy.required,
                granted=len(votes.granted),
                rejected=len(votes.rejected),
                judged=judgement.judged,
                uncounted=judgement.uncounted,
                epoch=judgement.epoch,
            ),
            "deployed_in": deployed,
        }
    )
    told = (approved, *((condemned,) if standing is not None else ()))
    events = status.transitions(known.conditions, told, NORMAL, APPROVED, quarantine.QUARANTINED)
    return Plan(status=new_status.wire(), events=tuple(events), wake_after=_wake(seen.policy_in_force))


def _approval(seen: Observation, votes: Votes, judgement: Judgement) -> _Approval:
    """The first finding that holds."""
    rejected = _rejection(seen, votes)
    if rejected is not None:
        return rejected
    if judgement.admission == "Unchecked":
        return _finding(seen, False, Reason.CreatedUnchecked, "", "Stalled")
    # Entries that were not judged yet are no missing approvals: it is the policies that are waited for.
    waiting = approvals.count(seen.model, frozenset(judgement.uncounted))
    if len(waiting.granted) < seen.model.spec.approval_policy.required:
        return _finding(seen, False, Reason.PendingApproval, _missing(seen, votes, judgement), "Stalled")
    return _unless_unguarded(seen, votes)


def _unless_unguarded(seen: Observation, votes: Votes) -> _Approval:
    """Nothing is missing but, perhaps, that the policies are in force."""
    required, name = seen.model.spec.approval_policy.required, seen.model.metadata.name
    if seen.policy_in_force is False:
        detail = f": {seen.policy_message}" if seen.policy_message else ""
        why = f"The admission policies that check who approves are not in force{detail}"
        why += ". No approval counts until they are"
        return _finding(seen, False, Reason.PolicyNotInForce, why, "Stalled")
    is_counted = len(votes.granted) >= required
    stands = conditions.is_true(seen.model.status.conditions, APPROVED) and is_counted
    if not is_counted or (seen.policy_in_force is None and not stands):
        return _finding(seen, None, Reason.PolicyUnknown, "", "Reconciling")
    if required == 0:
        text = f"{name} is approved by its gates: no person is required."
        return _finding(seen, True, Reason.AutoApproved, text, "Settled")
    why = f"{name} is approved by {_people(votes.granted)} ({len(votes.granted)} of {required})."
    return _finding(seen, True, Reason.QuorumReached, why, "Settled")


def _rejection(seen: Observation, votes: Votes) -> _Approval | None:
    """A verdict is about bytes: under whatever name they were rejected, they are."""
    if votes.rejected:
        why = f"{_people(votes.rejected)} rejected this digest"
        return _finding(seen, False, Reason.Rejected, why, "Stalled", rejected=seen.model.metadata.name)
    if seen.elsewhere:
        first = min(seen.elsewhere, key=lambda one: one.model)
        why = f"{_people(first.users)} rejected this digest under the name {first.model}"
        return _finding(seen, False, Reason.Rejected, why, "Stalled", rejected=first.model)
    return None


def _finding(
    seen: Observation,
    holds: bool | None,
    reason: Reason,
    why: str,
    progress: Literal["Settled", "Reconciling", "Stalled"],
    **more: str,
) -> _Approval:
    whom = seen.model.metadata
    more = {"patch": _patch(seen.model), "rejected": whom.name, **more}
    text = status.message(reason, why, namespace=whom.namespace, name=whom.name, **more)
    return _Approval(holds=holds, reason=reason.name, message=text, progress=progress)


def _missing(seen: Observation, votes: Votes, judgement: Judgement) -> str:
    spec = seen.model.spec
    required = spec.approval_policy.required
    text = f"Waiting for {required - len(votes.granted)} more approval(s) of {required}"
    text += _who_else(spec, votes)
    lost = sorted({*approvals.count(seen.model).granted} - {*votes.granted})
    if judgement.uncounted and lost:
        text += (
            f". What {_people(tuple(lost))} wrote while the admission policies were not in force, or were being "
            "changed, does not count and must be said again"
        )
    return text


def _who_else(spec: ModelSpec, votes: Votes) -> str:
    """Whose approval would bring nothing."""
    origin = spec.provenance if spec.approval_policy.distinct_from_author else None
    text = f", not by the author {origin.author}" if origin is not None and origin.author is not None else ""
    if origin is not None and origin.applied_by is not None and origin.applied_by != origin.author:
        text += f", nor by {origin.applied_by}, who applied it"
    if votes.granted:
        text += f"; {_people(votes.granted)} {'has' if len(votes.granted) == 1 else 'have'} approved it"
    return text


def _patch(model: Model) -> str:
    """The JSON patch that adds the approval of whoever runs the command; their shell asks who that is."""
    entry = {"user": CALLER, "decision": "Approve", "digest": model.spec.artifact.digest}
    path, value = ("/spec/approvals/-", entry) if model.spec.approvals else ("/spec/approvals", [entry])
    patch = json.dumps([{"op": "add", "path": path, "value": value}], separators=(",", ":"))
    return patch.replace(CALLER, _WHO)


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
    listed = ", ".join(f"{use.weight} % of the traffic of mdep/{use.name}" for use in shown[:SHOWN_USERS])
    more = f" and {len(shown) - SHOWN_USERS} more" if len(shown) > SHOWN_USERS else ""
    if stable:
        return status.mark(IN_USE, True, Reason.Stable, f"It serves {listed}{more}.")
    return status.mark(IN_USE, True, Reason.Canary, f"It is tried on {listed}{more}.")


def _told(approval: _Approval, in_use: Mark) -> str:
    """Of a version that may be served also whether it is: that it is approved is so before, during and after."""
    return status.after(approval.message, in_use.message) if approval.holds else approval.message


def _phase(approval: _Approval, deployed: tuple[DeployedIn, ...], standing: Quarantine | None) -> str:
    """For people: never read back."""
    if approval.holds is not True:
        return approval.reason
    if standing is not None and not deployed:
        return Reason.Quarantined.name
    roles = {use.role for use in deployed}
    return "Serving" if "Stable" in roles else "Canary" if roles else "Approved"


def _wake(in_force: bool | None) -> float | None:
    """A change of the policies triggers no pass, so they are looked at again."""
    if in_force is None:
        return POLICY_UNKNOWN_SECONDS
    return None if in_force else POLICY_OFF_SECONDS
