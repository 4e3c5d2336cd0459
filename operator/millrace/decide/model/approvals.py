"""What the entries of a Model's approvals are worth.

The API server checks who writes an entry, if the policies that make it do so are there. Whether they were is known of
an entry that appeared while nobody touched them: the policies at the last judgement are, by their epoch, those of now.
Of all others nobody can say who wrote them, and they never count, not even when the policies are back.

    judged at epoch E ── new entries ── still E: counted · another epoch: never counted, but as a rejection
    never judged: counted if the Model was created after the policies last changed
    judged by an operator that kept no epoch: counted, once
"""

from __future__ import annotations

from millrace.api.base import Frozen
from millrace.api.model import MOST_APPROVALS, Admission, Approval, Model


class Votes(Frozen):
    """The latest decision of each person about this digest."""

    granted: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()


class Judgement(Frozen):
    """Which entries were judged, under which policies, and which of them count for nothing."""

    judged: int | None = None
    uncounted: tuple[int, ...] = ()
    epoch: str | None = None
    admission: Admission | None = None

    @property
    def excluded(self) -> frozenset[int]:
        """Positions that do not count, entries that are not judged yet included."""
        later = () if self.judged is None else range(self.judged, MOST_APPROVALS)
        return frozenset((*self.uncounted, *later))


def is_judged(model: Model, epoch: str) -> bool:
    """Whether there is nothing to judge, as long as the policies are those of that epoch."""
    known = model.status.approvals
    entries = len(model.spec.approvals or ())
    return known is not None and (known.judged, known.epoch) == (entries, epoch) and model.status.admission == "Checked"


def judge(model: Model, *, in_force: bool | None, epoch: str, admitted: bool | None, is_own: bool = False) -> Judgement:
    """The judgement as of now; `admitted` says whether the policies were in force when the Model was created, `is_own`
    whether the operator created it.
    """
    known = judgement(model)
    if not in_force or not epoch:
        return known
    entries = len(model.spec.approvals or ())
    judged = known.judged or 0
    # An operator that kept no epoch has counted these entries and said so: that was its judgement.
    kept_none = known.judged is None
    vouched = kept_none or (known.epoch == epoch if known.epoch is not None else admitted is True)
    uncounted = () if vouched else range(min(judged, entries), entries)
    return Judgement(
        judged=entries,
        uncounted=(*known.uncounted, *uncounted),
        epoch=epoch,
        admission="Checked" if kept_none or admitted or is_own or known.admission == "Checked" else "Unchecked",
    )


def judgement(model: Model) -> Judgement:
    """What the status says of earlier judgements; of a Model that nobody has looked at yet, that nothing is judged."""
    known = model.status.approvals
    if known is None:
        return Judgement(judged=0, admission="Unknown")
    return Judgement(
        judged=known.judged, uncounted=known.uncounted, epoch=known.epoch, admission=model.status.admission
    )


def count(model: Model, excluded: frozenset[int] = frozenset()) -> Votes:
    """The latest decision of each person about this digest; the list is append-only, so later means further down.

    Of entries that are `excluded` what holds a model back counts all the same: that needs no proof.
    """
    spec = model.spec
    provenance = spec.provenance
    latest: dict[str, str] = {}
    for position, approval in enumerate(spec.approvals or ()):
        if approval.digest == spec.artifact.digest and (
            position not in excluded or _holds_back(approval, latest.get(approval.user))
        ):
            latest[approval.user] = approval.decision
    own = {provenance.author, provenance.applied_by} if provenance is not None else set()
    barred = own if spec.approval_policy.distinct_from_author else set()
    return Votes(
        granted=tuple(sorted(user for user, said in latest.items() if said == "Approve" and user not in barred)),
        rejected=tuple(sorted(user for user, said in latest.items() if said == "Reject")),
    )


def _holds_back(approval: Approval, before: str | None) -> bool:
    return approval.decision == "Reject" or (approval.decision == "Revoke" and before == "Approve")
