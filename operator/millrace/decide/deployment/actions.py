"""What people ask for in spec.actions. Each request is carried out once, although it may stay in the spec for ever.

A request is known by a hash of what it says. It is put into status.rollout.handled when it is carried out and taken out
when it leaves the spec: to ask again, remove it first or give another reason.
"""

from __future__ import annotations

from millrace.api.base import rfc3339
from millrace.api.deployment import RevisionAction
from millrace.api.deployment_status import DeploymentStatus, Quarantined, RevisionStatus, Rollout
from millrace.render import names, quarantine

from .observation import Observation

ABORT, RETRY, UNQUARANTINE = "abort", "retry", "unquarantine"


def abort_of(seen: Observation, state: DeploymentStatus, revision: str) -> RevisionAction | None:
    """The request to stop this canary, unless it was carried out."""
    return _open(seen, state, ABORT, revision)


def retry_of(seen: Observation, state: DeploymentStatus, revision: str) -> RevisionAction | None:
    """The request to try this revision again, unless it was carried out."""
    return _open(seen, state, RETRY, revision)


def lifting(entry: Quarantined) -> dict[str, str]:
    """What the command that lifts this quarantine is to be filled in with."""
    return {"revision": entry.revision, "asked": quarantine.request(entry.time)}


def retrying(canary: RevisionStatus, rollout: Rollout | None) -> dict[str, str]:
    """The same for the command that gives a held step more time."""
    began = rollout.step_started_time if rollout is not None else None
    return {"revision": canary.revision, "asked": f"held since {rfc3339(began or canary.since)}"}


def requested(seen: Observation, action: str) -> RevisionAction | None:
    """What the spec says of an action."""
    actions = seen.deployment.spec.actions
    return getattr(actions, action) if actions is not None else None


def is_open(seen: Observation, state: DeploymentStatus, action: str, revision: str) -> bool:
    """Whether the spec asks for it of this revision, and it was not carried out."""
    return _open(seen, state, action, revision) is not None


def fingerprint(seen: Observation, action: str) -> str:
    """Hash of what the spec says of an action; empty when it says nothing."""
    return _fingerprint(action, requested(seen, action))


def carried_out(seen: Observation, state: DeploymentStatus, request: str) -> DeploymentStatus:
    """The memory after the request of that hash was carried out, if the spec still asks for it."""
    for action in (ABORT, RETRY, UNQUARANTINE):
        if request and request == fingerprint(seen, action):
            return handled(seen, state, action)
    return state


def handled(seen: Observation, state: DeploymentStatus, action: str | None = None) -> DeploymentStatus:
    """The status after an action was carried out; without one, after requests have left the spec."""
    rollout = state.rollout or Rollout()
    current = {_fingerprint(name, requested(seen, name)) for name in (ABORT, RETRY, UNQUARANTINE)} - {""}
    done = {mark for mark in rollout.handled if mark in current}
    if action is not None:
        done.add(_fingerprint(action, requested(seen, action)))
    marks = tuple(sorted(done - {""}))
    if marks == rollout.handled:
        return state
    return state.model_copy(update={"rollout": rollout.model_copy(update={"handled": marks})})


def _open(seen: Observation, state: DeploymentStatus, action: str, revision: str) -> RevisionAction | None:
    request = requested(seen, action)
    if request is None or request.revision != revision:
        return None
    done = state.rollout.handled if state.rollout is not None else ()
    return request if _fingerprint(action, request) not in done else None


def _fingerprint(action: str, request: RevisionAction | None) -> str:
    return names.digest(action, request.revision, request.reason) if request is not None else ""
