"""What people ask for in spec.actions. Each request is carried out once, although it may stay in the spec for ever.

A request is known by a hash of what it says. It is put into status.rollout.handled when it is carried out and taken out
when it leaves the spec: to ask again, remove it first or give another reason.
"""

from __future__ import annotations

from millrace.api.deployment import RevisionAction
from millrace.api.deployment_status import DeploymentStatus, Rollout
from millrace.render import names

from .observation import Observation

ABORT, RETRY, UNQUARANTINE = "abort", "retry", "unquarantine"


def abort_of(seen: Observation, state: DeploymentStatus, revision: str) -> RevisionAction | None:
    """The request to stop this canary, unless it was carried out."""
    return _open(seen, state, ABORT, revision)


def retry_of(seen: Observation, state: DeploymentStatus, revision: str) -> RevisionAction | None:
    """The request to try this revision again, unless it was carried out."""
    return _open(seen, state, RETRY, revision)


def quarantine_lifted(seen: Observation, state: DeploymentStatus) -> str | None:
    """The name of an open request that names a quarantined revision."""
    for entry in state.quarantined:
        for action in (RETRY, UNQUARANTINE):
            if _open(seen, state, action, entry.revision) is not None:
                return action
    return None


def requested(seen: Observation, action: str) -> RevisionAction | None:
    """What the spec says of an action."""
    actions = seen.deployment.spec.actions
    return getattr(actions, action) if actions is not None else None


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
