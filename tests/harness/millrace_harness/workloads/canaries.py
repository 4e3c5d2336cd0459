"""Canaries: promoted, rolled back, superseded, aborted, edited and withdrawn.

Where a person must come while a canary is under way the callers are quiet before it begins: its analysis then holds it
for as long as need be, whatever faults do to the operator's pace.
"""

from __future__ import annotations

from typing import Any, Final

from millrace.api.resources import DEPLOYMENTS, MODELS
from millrace_harness.envoy import DEFAULT_RATE, Behaviour
from millrace_harness.people import BOB
from millrace_harness.stage import Stage

from . import manifests
from .manifests import STEPS, analysis, digest, weight
from .pipeline import PENDING, approved
from .serving import CHAMPION, IDLE, approve, serve, serving
from .wanted import Is, Wanted
from .workload import workload

PROMOTED: Final = Wanted(
    (approved("churn-1", facts=IDLE), approved("churn-2", facts=CHAMPION), serving("churn-2", history=2)),
    servers={"churn": {"churn-2": 1}},
)


def kept(verdict: str, second: Is, *, quarantined: bool) -> Wanted:
    """`churn-1` still serves; `churn-2` was tried and ended with that verdict."""
    found = serving("churn-1", verdict=verdict, quarantined="churn-2" if quarantined else "", history=1)
    return Wanted((approved("churn-1", facts=CHAMPION), second, found), servers={"churn": {"churn-1": 1}})


async def hold(stage: Stage, steps: list[dict[str, Any]] | None = None, **spec: Any) -> str:
    """`churn-1` serves, and `churn-2` is held at 25 %: its analysis waits for callers. Its revision."""
    await serve(stage, steps or STEPS, **spec)
    stage.envoys.quiet("churn")
    await approve(stage, 2)
    held = await stage.people.see(DEPLOYMENTS, "churn", "churn-2 is held at 25 %", _is_held)
    return str(held["status"]["canary"]["revision"])


def _is_held(one: dict[str, Any]) -> bool:
    status = one.get("status") or {}
    canary, waits = status.get("canary") or {}, (status.get("rollout") or {}).get("waitingFor") or ""
    return canary.get("model") == "churn-2" and canary.get("weight") == 25 and waits.startswith("the analysis")


def call(stage: Stage) -> None:
    """The callers are back."""
    stage.envoys.advance(stage.clock.monotonic())
    stage.envoys.rate["churn"] = DEFAULT_RATE


@workload("canary-promotes", PROMOTED)
async def _promotes(stage: Stage) -> None:
    """A good model passes every step."""
    await serve(stage, STEPS)
    await approve(stage, 2)
    await stage.people.stable("churn", "churn-2")


@workload("canary-watched-throughout", PROMOTED)
async def _watched(stage: Stage) -> None:
    """An analysis in the background must pass before promotion."""
    strategy = {"canary": {"steps": [weight(20), manifests.pause()], "analysis": analysis()["analysis"]}}
    await serve(stage, strategy=strategy)
    await approve(stage, 2)
    await stage.people.stable("churn", "churn-2")


@workload("bad-canary", kept("RolledBack", approved("churn-2", facts=IDLE), quarantined=True))
async def _bad(stage: Stage) -> None:
    """A model that fails a third of its requests is rolled back and quarantined."""
    stage.envoys.behaviours[digest("churn-2")] = Behaviour(errors=0.34)
    await serve(stage, STEPS)
    await approve(stage, 2)
    await _see_quarantine(stage)


@workload("refusing-canary", kept("RolledBack", approved("churn-2", facts=IDLE), quarantined=True))
async def _refusing(stage: Stage) -> None:
    """A model that refuses what stable takes is rolled back, though nobody wrote an analysis."""
    stage.envoys.behaviours[digest("churn-2")] = Behaviour(refused=1.0)
    await serve(stage, [weight(25), manifests.pause(), weight(50)])
    await approve(stage, 2)
    await _see_quarantine(stage)


@workload(
    "recreated-after-rollback",
    Wanted(
        (
            approved("churn-1", facts=CHAMPION),
            approved("churn-2", facts=IDLE),
            serving("churn-1", quarantined="churn-2", history=1),
        ),
        servers={"churn": {"churn-1": 1}},
    ),
)
async def _recreated(stage: Stage) -> None:
    """A Deployment goes after its canary failed, and comes back: what failed stays out."""
    await _bad(stage)
    await stage.people.stable("churn", "churn-1")
    await stage.people.delete(DEPLOYMENTS, "churn")
    await stage.people.create(manifests.deployment())
    await stage.people.stable("churn", "churn-1")
    await _see_quarantine(stage)


@workload("failed-then-released", PROMOTED)
async def _failed_then_released(stage: Stage) -> None:
    """A canary failed for a reason that is gone: an approver lets it try again, and it is judged anew."""
    await _bad(stage)
    found = await stage.people.see(DEPLOYMENTS, "churn", "a quarantine", lambda one: one["status"].get("quarantined"))
    stage.envoys.behaviours.clear()
    revision = found["status"]["quarantined"][0]["revision"]
    await stage.people.edit(DEPLOYMENTS, "churn", BOB, actions={"unquarantine": {"revision": revision}})
    await stage.people.stable("churn", "churn-2")


@workload("slow-canary", kept("RolledBack", approved("churn-2", facts=IDLE), quarantined=True))
async def _slow(stage: Stage) -> None:
    """A model that is slow for a third of its requests is rolled back by the analysis in the background."""
    stage.envoys.behaviours[digest("churn-2")] = Behaviour(slow=0.34)
    background = analysis(0.5, builtin="LatencyP95")["analysis"]
    await serve(stage, strategy={"canary": {"steps": [weight(20), manifests.pause("300s")], "analysis": background}})
    await approve(stage, 2)
    await _see_quarantine(stage)


@workload("cannot-load", kept("RolledBack", approved("churn-2", facts=IDLE), quarantined=True))
async def _cannot_load(stage: Stage) -> None:
    """A model that the server cannot load never gets traffic."""
    stage.envoys.behaviours[digest("churn-2")] = Behaviour(trouble="ModelNotLoadable")
    await serve(stage, STEPS)
    await approve(stage, 2)
    await _see_quarantine(stage)


async def _see_quarantine(stage: Stage) -> None:
    await stage.people.see(DEPLOYMENTS, "churn", "a quarantine", lambda one: one["status"].get("quarantined"))


@workload(
    "bad-canary-then-good",
    Wanted(
        (
            approved("churn-1", facts=IDLE),
            approved("churn-2", facts=IDLE),
            approved("churn-3", facts=CHAMPION),
            serving("churn-3", quarantined="churn-2", history=2),
        ),
        servers={"churn": {"churn-3": 1}},
    ),
)
async def _bad_then_good(stage: Stage) -> None:
    """After a bad model the next one is rolled out as usual."""
    await _bad(stage)
    await approve(stage, 3)
    await stage.people.stable("churn", "churn-3")


@workload(
    "superseded",
    Wanted(
        (
            approved("churn-1", facts=IDLE),
            approved("churn-2", facts=IDLE),
            approved("churn-3", facts=CHAMPION),
            serving("churn-3", history=2),
        ),
        servers={"churn": {"churn-3": 1}},
    ),
)
async def _superseded(stage: Stage) -> None:
    """A newer model comes while one is tried, which makes way."""
    await hold(stage)
    await approve(stage, 3)
    await stage.people.canary("churn", "churn-3")
    call(stage)
    await stage.people.stable("churn", "churn-3")


@workload(
    "scaled-during-canary",
    Wanted(
        (
            approved("churn-1", facts=IDLE),
            approved("churn-2", facts=CHAMPION),
            serving("churn-2", facts={"status.readyReplicas": 3}),
        ),
        servers={"churn": {"churn-2": 3}},
    ),
)
async def _scaled(stage: Stage) -> None:
    """One server becomes three while a canary is held."""
    await hold(stage)
    await stage.people.edit(DEPLOYMENTS, "churn", replicas=3)
    await stage.people.see(
        DEPLOYMENTS, "churn", "3 are ready", lambda one: one["status"]["stable"]["readyReplicas"] == 3
    )
    call(stage)
    await stage.people.stable("churn", "churn-2")


@workload("aborted", kept("Aborted", approved("churn-2", facts=IDLE), quarantined=True))
async def _aborted(stage: Stage) -> None:
    """A person stops the canary, and it stays stopped."""
    revision = await hold(stage)
    await stage.people.edit(DEPLOYMENTS, "churn", BOB, actions={"abort": {"revision": revision}})
    call(stage)
    await _see_quarantine(stage)


@workload("aborted-then-released", PROMOTED)
async def _released(stage: Stage) -> None:
    """A person stops the canary and later lets it try again."""
    revision = await hold(stage)
    await stage.people.edit(DEPLOYMENTS, "churn", BOB, actions={"abort": {"revision": revision}})
    await _see_quarantine(stage)
    call(stage)
    await stage.people.edit(DEPLOYMENTS, "churn", BOB, actions={"abort": None, "unquarantine": {"revision": revision}})
    await stage.people.stable("churn", "churn-2")


@workload("aborted-then-retried", PROMOTED)
async def _retried(stage: Stage) -> None:
    """The same with `retry`, while the request to stop stays in the spec: it is not carried out twice."""
    revision = await hold(stage)
    await stage.people.edit(DEPLOYMENTS, "churn", BOB, actions={"abort": {"revision": revision}})
    await _see_quarantine(stage)
    call(stage)
    await stage.people.edit(DEPLOYMENTS, "churn", BOB, actions={"retry": {"revision": revision}})
    await stage.people.stable("churn", "churn-2")


@workload("edited-during-canary", PROMOTED)
async def _edited(stage: Stage) -> None:
    """The steps are replaced by fewer while the canary is held at one that is gone then."""
    await hold(stage)
    await stage.people.edit(DEPLOYMENTS, "churn", strategy={"canary": {"steps": [weight(10)]}})
    call(stage)
    await stage.people.stable("churn", "churn-2")


@workload("template-changed-during-canary", PROMOTED)
async def _template(stage: Stage) -> None:
    """The server's resources change while a canary is held: another revision of the same model is tried instead."""
    before = await hold(stage)
    wanted = {"requests": {"cpu": "20m"}}
    await stage.people.edit(DEPLOYMENTS, "churn", server={"resources": wanted})
    await stage.people.see(DEPLOYMENTS, "churn", "another revision", lambda one: _canary(one) not in ("", before))
    call(stage)
    await stage.people.stable("churn", "churn-2")


def _canary(one: dict[str, Any]) -> str:
    return str(((one.get("status") or {}).get("canary") or {}).get("revision") or "")


@workload(
    "approval-revoked-during-canary", kept("RolledBack", Is("Model", "churn-2", PENDING, IDLE), quarantined=False)
)
async def _withdrawn(stage: Stage) -> None:
    """The canary's approval is taken back: it loses its traffic and is not quarantined."""
    await hold(stage)
    await stage.people.decide("churn-2", "Revoke")
    await stage.people.stable("churn", "churn-1")
    call(stage)


@workload("revoked-and-approved-again", PROMOTED)
async def _approved_again(stage: Stage) -> None:
    """An approval is taken back during the canary and given again after."""
    await hold(stage)
    await stage.people.decide("churn-2", "Revoke")
    await stage.people.stable("churn", "churn-1")
    await stage.people.standing(MODELS, "churn-2", "Stalled", "PendingApproval")
    call(stage)
    await stage.people.decide("churn-2")
    await stage.people.stable("churn", "churn-2")


@workload(
    "first-aborted",
    Wanted(
        (
            approved("churn-1", facts=IDLE),
            Is(
                "Deployment",
                "churn",
                {"Ready": "False/Quarantined", "Stalled": "True/Quarantined", "Progressing": "False/Quarantined"},
                {"status.stable": None, "status.canary": None, "status.retiring": None, "status.quarantined.#": 1},
            ),
        ),
        servers={"churn": {}},
    ),
)
async def _first_aborted(stage: Stage) -> None:
    """A person stops the first model while its servers cannot start: nothing serves, and it stays so."""
    stage.kubelet.frozen.add("server")
    await approve(stage, 1)
    await stage.people.create(manifests.deployment())
    seen = await stage.people.canary("churn", "churn-1")
    revision = seen["status"]["canary"]["revision"]
    await stage.people.edit(DEPLOYMENTS, "churn", BOB, actions={"abort": {"revision": revision}})
    await _see_quarantine(stage)
    stage.kubelet.frozen.clear()


@workload(
    "follows-another-model",
    Wanted(
        (
            approved("churn-1", facts=IDLE),
            approved("churn-2", facts=IDLE),
            approved("other-1", facts=CHAMPION),
            serving("other-1", history=2),
        ),
        servers={"churn": {"other-1": 1}},
    ),
)
async def _another_model(stage: Stage) -> None:
    """While a canary is held the Deployment is told to follow another model, whose versions count on their own."""
    await stage.people.create(manifests.model(1, name="other"))
    await stage.people.decide("other-1")
    await hold(stage)
    await stage.people.edit(DEPLOYMENTS, "churn", modelSelector={"modelName": "other"}, strategy=None)
    await stage.people.stable("churn", "other-1")
