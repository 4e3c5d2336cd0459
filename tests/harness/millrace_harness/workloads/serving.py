"""Deployments without a canary in trouble: the first model, the next one, the one that a person pins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from millrace.api.resources import DEPLOYMENTS, MODELS
from millrace_harness.stage import Stage

from . import manifests
from .pipeline import PENDING, approved
from .wanted import NONE, Is, Wanted
from .workload import workload

SERVING: Final = {"Ready": "True/Serving", "Available": "True", "Reconciling": "False", "Stalled": "False"}
CHAMPION: Final = {"status.aliases": ["champion"], "status.deployedIn.0.weight": 100}
IDLE: Final[Mapping[str, Any]] = {"status.aliases": None, "status.deployedIn": None}


def serving(
    model: str,
    name: str = "churn",
    *,
    verdict: str = "Promoted",
    quarantined: str = "",
    stalled: str = "",
    history: int | None = None,
    facts: Mapping[str, Any] = NONE,
) -> Is:
    """A Deployment that serves this Model and nothing else, with nothing under way; `stalled` is the reason why a
    person must act.
    """
    filled: dict[str, Any] = {
        "status.stable.model": model,
        "status.stable.weight": 100,
        "status.canary": None,
        "status.retiring": None,
        "status.history.0.model": model,
        "status.rollout.lastVerdict": verdict,
    }
    filled |= {"status.quarantined.#": 1, "status.quarantined.0.model": quarantined} if quarantined else {}
    filled |= {"status.quarantined": None} if not quarantined else {}
    filled |= {"status.history.#": history} if history is not None else {}
    conditions = {**SERVING, "Stalled": f"True/{stalled}"} if stalled else SERVING
    return Is("Deployment", name, conditions, {**filled, **facts})


async def approve(stage: Stage, version: int, content: str = "") -> None:
    """`churn-<version>` is imported and approved."""
    await stage.people.create(manifests.model(version, content))
    await stage.people.decide(f"churn-{version}")
    await stage.people.standing(MODELS, f"churn-{version}", "Approved", "QuorumReached")


async def serve(stage: Stage, steps: list[dict[str, Any]] | None = None, **spec: Any) -> None:
    """`churn-1` is served by `churn`."""
    await approve(stage, 1)
    await stage.people.create(manifests.deployment(steps=steps, **spec))
    await stage.people.stable("churn", "churn-1")


@workload(
    "first-deployment",
    Wanted(
        (approved("churn-1", facts=CHAMPION), serving("churn-1", facts={"status.readyReplicas": 2})),
        servers={"churn": {"churn-1": 2}},
    ),
)
async def _first(stage: Stage) -> None:
    """The first model goes straight to all traffic, on two servers behind two routers."""
    await serve(stage, replicas=2)


@workload(
    "deployment-before-approval",
    Wanted((approved("churn-1", facts=CHAMPION), serving("churn-1")), servers={"churn": {"churn-1": 1}}),
)
async def _before_approval(stage: Stage) -> None:
    """A Deployment waits for a Model, then for its approval, then serves it."""
    await stage.people.create(manifests.deployment())
    await stage.people.standing(DEPLOYMENTS, "churn", "Reconciling", "NoApprovedModel")
    await approve(stage, 1)
    await stage.people.stable("churn", "churn-1")


@workload(
    "next-at-once",
    Wanted(
        (approved("churn-1", facts=IDLE), approved("churn-2", facts=CHAMPION), serving("churn-2", history=2)),
        servers={"churn": {"churn-2": 1}},
    ),
)
async def _next(stage: Stage) -> None:
    """Without a strategy a newer model takes over as soon as it is ready."""
    await serve(stage)
    await approve(stage, 2)
    await stage.people.stable("churn", "churn-2")


@workload(
    "pinned-back",
    Wanted(
        (approved("churn-1", facts=CHAMPION), approved("churn-2", facts=IDLE), serving("churn-1", history=3)),
        servers={"churn": {"churn-1": 1}},
    ),
)
async def _pinned(stage: Stage) -> None:
    """A person goes back to an earlier version by naming it."""
    await serve(stage)
    await approve(stage, 2)
    await stage.people.stable("churn", "churn-2")
    await stage.people.edit(DEPLOYMENTS, "churn", modelSelector=None, modelRef={"name": "churn-1"})
    await stage.people.stable("churn", "churn-1")


@workload(
    "two-deployments",
    Wanted(
        (
            approved("churn-1", facts=IDLE),
            approved("churn-2", facts={"status.aliases": ["champion"], "status.deployedIn.#": 2}),
            serving("churn-2"),
            serving("churn-2", "other"),
        ),
        servers={"churn": {"churn-2": 1}, "other": {"churn-2": 1}},
    ),
)
async def _two(stage: Stage) -> None:
    """Two Deployments of one model, one with a canary, one at once."""
    await stage.people.create(manifests.deployment("other"))
    await serve(stage, manifests.STEPS)
    await stage.people.stable("other", "churn-1")
    await approve(stage, 2)
    await stage.people.stable("other", "churn-2")
    await stage.people.stable("churn", "churn-2")


@workload(
    "approval-of-stable-revoked",
    Wanted(
        (Is("Model", "churn-1", PENDING, CHAMPION), serving("churn-1", stalled="NoApprovedModel")),
        servers={"churn": {"churn-1": 1}},
    ),
)
async def _stable_revoked(stage: Stage) -> None:
    """What serves keeps serving when its approval is taken back."""
    await serve(stage)
    await stage.people.decide("churn-1", "Revoke")
    await stage.people.see(
        DEPLOYMENTS, "churn", "it says so", lambda one: "not approved any more" in one["status"]["message"]
    )


@workload(
    "scaled",
    Wanted(
        (approved("churn-1", facts=CHAMPION), serving("churn-1", facts={"status.readyReplicas": 1})),
        servers={"churn": {"churn-1": 1}},
    ),
)
async def _scaled(stage: Stage) -> None:
    """Up to three servers and down to one."""
    await serve(stage)
    await stage.people.edit(DEPLOYMENTS, "churn", replicas=3)
    await stage.people.see(DEPLOYMENTS, "churn", "3 are ready", lambda one: one["status"]["readyReplicas"] == 3)
    await stage.people.edit(DEPLOYMENTS, "churn", replicas=1)
