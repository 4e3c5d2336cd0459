"""Laws about what is written down: I5, I8, I9, and I14 (a spec is its user's)."""

from __future__ import annotations

from collections.abc import Iterator

from millrace_harness.history import Change, History

from . import finding
from .finding import OWN, Finding


def approvals_stay(history: History) -> Iterator[Finding]:
    """I5: an approval, once recorded, is never lost or altered: the list only grows at its end."""
    for change in _changed(history, "models"):
        old = finding.spec_of(change.before).get("approvals") or []
        new = finding.spec_of(change.after).get("approvals") or []
        if list(new[: len(old)]) != list(old):
            yield Finding("I5", change.at, f"approvals of {change.name} were {len(old)} and are not kept by {new}")


def digests_stay(history: History) -> Iterator[Finding]:
    """I8: the artifact of a Model never changes."""
    for change in _changed(history, "models"):
        old, new = finding.spec_of(change.before)["artifact"], finding.spec_of(change.after)["artifact"]
        if old != new:
            yield Finding("I8", change.at, f"the artifact of {change.name} was {old} and is {new}")


def generations_grow(history: History) -> Iterator[Finding]:
    """I9: status.observedGeneration never goes back, and never tells of a generation that has not been."""
    for change in _changed(history, *OWN):
        old = finding.status_of(change.before).get("observedGeneration") or 0
        new = finding.status_of(change.after).get("observedGeneration") or 0
        present = (change.after or {})["metadata"].get("generation") or 0
        if new < old or new > present:
            text = f"observedGeneration of {change.name} went from {old} to {new} at generation {present}"
            yield Finding("I9", change.at, text)


def specs_are_the_users(history: History) -> Iterator[Finding]:
    """I14: the operator never writes the spec of an object that is there."""
    for change in _changed(history, *OWN):
        if change.is_ours and finding.spec_of(change.before) != finding.spec_of(change.after):
            yield Finding("I14", change.at, f"{change.sender} wrote the spec of {change.name}")


def _changed(history: History, *kinds: str) -> Iterator[Change]:
    """Changes of objects that were there before and are there after, and are the same ones."""
    for change in history.of(*kinds):
        before, after = change.before, change.after
        if before is not None and after is not None and finding.uid(before) == finding.uid(after):
            yield change
