"""The laws that hold in every history, whatever was done to the operator.

    I1  weights add up                        I8  the artifact of a Model never changes
    I2  traffic only with a live approval     I9  observedGeneration never goes back
    I3  at most one canary                    I10 a trigger makes one run or one suppression
    I4  one Job a TrainingRun                 I11 only what is ours is deleted, and it is said which
    I5  approvals are never lost              I12 what a status claims is so
    I6  what was aborted stays out            I13 one operator writes
    I7  stable keeps its servers              I14 a spec is its user's
    I15 files go after whatever names them

Each is a pure function of a `History`. I1 to I12 are those of the research; I13 and I14 are what follows from having a
leader and from never fighting a user, I15 from erasing anything at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from millrace_harness.history import History

from . import finding, records, retention, traffic, work
from .finding import Finding

__all__ = ["LAWS", "Finding", "check"]

Law = Callable[[History], Iterable[Finding]]
LAWS: Final[dict[str, Law]] = {
    "I1": traffic.weights_add_up,
    "I2": traffic.traffic_has_approval,
    "I3": traffic.at_most_one_canary,
    "I4": work.one_job_per_run,
    "I5": records.approvals_stay,
    "I6": traffic.aborted_stays_out,
    "I7": work.capacity_stays,
    "I8": records.digests_stay,
    "I9": records.generations_grow,
    "I10": work.one_run_per_trigger,
    "I11": work.deletions_are_ours,
    "I12": traffic.status_is_true,
    "I13": work.one_operator_writes,
    "I14": records.specs_are_the_users,
    "I15": retention.files_go_last,
}


def check(history: History) -> list[Finding]:
    """Everything that did not hold, in the order in which it happened; each sentence once."""
    return finding.unique(one for law in LAWS.values() for one in law(history))
