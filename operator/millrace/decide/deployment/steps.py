"""Where a canary is in its steps, and how many servers that takes."""

from __future__ import annotations

import math
from datetime import datetime

from millrace.api import deployment as spec
from millrace.api.deployment_status import DeploymentStatus

from .observation import Observation


def steps_of(seen: Observation, state: DeploymentStatus) -> list[spec.Step]:
    """The canary's steps; none for the first model, which has nothing to be compared with."""
    strategy = seen.deployment.spec.strategy
    return strategy.canary.steps if strategy is not None and state.stable is not None else []


def index_of(seen: Observation, state: DeploymentStatus) -> int:
    """The step the canary is at; the number of steps once it is past the last, also when steps were removed from the
    spec.
    """
    index = (state.rollout.current_step_index or 0) if state.rollout is not None else 0
    return min(index, len(steps_of(seen, state)))


def current(seen: Observation, state: DeploymentStatus) -> spec.Step | None:
    """The step the canary is at; None after the last."""
    steps, index = steps_of(seen, state), index_of(seen, state)
    return steps[index] if index < len(steps) else None


def began(seen: Observation, state: DeploymentStatus) -> datetime:
    """When the step began."""
    return (state.rollout.step_started_time if state.rollout is not None else None) or seen.now


def need(seen: Observation, weight: int) -> int:
    """Servers that a share of the traffic needs; at least one, so that there is something to measure."""
    return max(1, math.ceil(seen.deployment.spec.replicas * weight / 100))


def wanted_weight(seen: Observation, state: DeploymentStatus) -> int:
    """The weight the canary has, or is to get in this step if that is more."""
    canary, step = state.canary, current(seen, state)
    if canary is None:
        return 0
    if step is None:
        return 100
    return max(canary.weight, step.set_weight or 0)


def servers_wanted(seen: Observation, state: DeploymentStatus) -> int:
    """How many servers the canary is to have now."""
    return need(seen, wanted_weight(seen, state))
