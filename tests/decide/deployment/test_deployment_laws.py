"""A rollout among faults: whatever people, pods, routers and crashes do, the laws of traffic hold."""

from __future__ import annotations

import contextlib
import math
from datetime import datetime, timedelta
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from millrace.api.reasons.deployment import DeploymentReason
from millrace.decide import deployment as decision
from millrace.decide.deployment.finding import Signal
from millrace.decide.deployment.observation import Trouble
from millrace.decide.deployment.rollout import HOPELESS, TRANSITIONS, Stage
from millrace.decide.plan import Plan
from millrace.render import quarantine
from millrace.render import server as servers
from millrace_kit import commands
from millrace_kit.simulation import Crash, Envoy, SimulatedCluster, make_model

VERDICTS = {"Promoted", "RolledBack", "Aborted", "Superseded"}
METRIC = {"name": "errors", "builtin": "ErrorRate", "thresholdRange": {"max": 0.02}, "minSamples": 50}
SLOW = {"name": "slow", "builtin": "LatencyP95", "thresholdRange": {"max": 0.05}, "minSamples": 50}
STRATEGIES: list[dict[str, Any] | None] = [
    None,
    {"canary": {"steps": [{"setWeight": 10}, {"pause": {"duration": "20s"}}, {"setWeight": 50}]}},
    {
        "canary": {
            "steps": [{"setWeight": 5}, {"analysis": {"metrics": [METRIC], "maxDuration": "5m"}}, {"setWeight": 30}],
            "analysis": {"metrics": [SLOW], "maxDuration": "5m"},
        }
    },
    {"canary": {"steps": [{"setWeight": 100}, {"setWeight": 0}, {"setWeight": 1}], "disableDefaults": ["ErrorRate"]}},
    {"canary": {"steps": [{"setWeight": 30}, {"setWeight": 100}, {"pause": {"duration": "20s"}}]}},
]


class Rollouts(RuleBasedStateMachine):
    """A cluster in which anything may happen between two passes."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = SimulatedCluster()
        self.version = 0
        self.ended: dict[str, datetime] = {}
        """When a revision was last seen with weight at any router."""
        self.carried: set[str] = set()
        self.verdicts_told = 0

    # --- people

    @initialize(strategy=st.sampled_from(STRATEGIES), replicas=st.integers(1, 4))
    def install(self, strategy: Any, replicas: int) -> None:
        self.cluster.change(strategy=strategy, replicas=replicas)
        self.train(approved=True)
        self.all_goes_on_for_a_while(rounds=4, errors=0.0)

    @rule(approved=st.sampled_from([True, True, True, False]))
    def train(self, approved: bool) -> None:
        self.version += 1
        self.cluster.add(make_model("churn", self.version, approved=approved))

    @precondition(lambda self: self.version)
    @rule(data=st.data(), approved=st.booleans())
    def approve_or_revoke(self, data: st.DataObject, approved: bool) -> None:
        version = data.draw(st.integers(max(1, self.version - 2), self.version))
        self.cluster.add(make_model("churn", version, approved=approved))

    @rule(strategy=st.sampled_from(STRATEGIES), replicas=st.integers(1, 4))
    def edit(self, strategy: Any, replicas: int) -> None:
        self.cluster.change(strategy=strategy, replicas=replicas)

    @rule(memory=st.sampled_from(["256Mi", "512Mi"]))
    def resize(self, memory: str) -> None:
        self.cluster.change(server={"resources": {"limits": {"memory": memory}}})

    @rule(action=st.sampled_from(["abort", "retry", "unquarantine"]), reason=st.sampled_from(["a", "b"]))
    def ask(self, action: str, reason: str) -> None:
        status = self.cluster.status
        known = [one.revision for one in status.quarantined]
        revision = status.canary.revision if status.canary is not None else known[-1] if known else None
        wanted = {action: {"revision": revision, "reason": reason}} if revision is not None else None
        self.cluster.change(actions=wanted)

    @rule(in_force=st.sampled_from([True, False, None]))
    def guard(self, in_force: bool | None) -> None:
        self.cluster.policy_in_force = in_force

    # --- machines

    @rule()
    def pods_start(self) -> None:
        self.cluster.kubelet()

    @rule(data=st.data())
    def pods_crash(self, data: st.DataObject) -> None:
        for revision in list(self.cluster.ready):
            self.cluster.ready[revision] = data.draw(st.integers(0, self.cluster.ready[revision]))

    @precondition(lambda self: self.version)
    @rule(reason=st.sampled_from(sorted(HOPELESS | {"ImagePullBackOff"})), heal=st.booleans())
    def newest_model_is_broken(self, reason: str, heal: bool) -> None:
        digest = f"sha256:{self.version:064x}"
        self.cluster.broken.pop(digest, None)
        if not heal:
            self.cluster.broken[digest] = Trouble(reason=reason, message="no")

    @rule(data=st.data())
    def some_routers_read_their_files(self, data: st.DataObject) -> None:
        for router in self.cluster.routers:
            if data.draw(st.booleans()):
                self.cluster.sync(router)
        self._check_routers()

    @rule(count=st.integers(1, 3))
    def routers_are_scaled(self, count: int) -> None:
        found = self.cluster.objects.get(("ConfigMap", "churn-router"))
        while len(self.cluster.routers) < count:
            files = dict(found["data"]) if found is not None else {}
            self.cluster.routers.append(Envoy(f"router-{len(self.cluster.routers)}", files))
        del self.cluster.routers[count:]
        self._check_routers()

    @rule()
    def operator_asks_the_routers(self) -> None:
        self.cluster.scrape()

    @rule(
        requests=st.integers(1, 2000),
        errors=st.sampled_from([0.0, 0.001, 0.5]),
        slow=st.sampled_from([0.0, 0.3]),
        refused=st.sampled_from([0.0, 0.4]),
    )
    def callers_call(self, requests: int, errors: float, slow: float, refused: float) -> None:
        self.cluster.serve(requests, errors=errors, slow=slow, refused=refused)

    @rule(seconds=st.sampled_from([1, 5, 31, 700]))
    def time_passes(self, seconds: int) -> None:
        self.cluster.tick(seconds)

    @rule(errors=st.sampled_from([0.0, 0.0, 0.3]))
    def a_new_model_is_tried(self, errors: float) -> None:
        self.train(approved=True)
        self.all_goes_on_for_a_while(rounds=4, errors=errors)

    @rule(rounds=st.integers(1, 8), errors=st.sampled_from([0.0, 0.0, 0.3]))
    def all_goes_on_for_a_while(self, rounds: int, errors: float) -> None:
        for _ in range(rounds):
            self.cluster.kubelet()
            self.cluster.sync()
            self._check_routers()
            self.every_share_has_servers()
            self.cluster.scrape()
            self.operator_passes()
            self.cluster.serve(300, errors=errors)
            self.cluster.tick(6)

    # --- the operator

    @rule()
    def operator_passes(self) -> None:
        before = self.cluster.status
        seen = self.cluster.observe()
        plan = decision.decide(seen)
        assert plan == decision.decide(seen)
        self._check_intent(plan)
        self._check_messages(plan)
        told = [event for event in plan.events if event.reason in VERDICTS]
        self.cluster.pass_once()
        if plan.deletes or plan.records:  # these are changes: old pods are gone, or a person has let something go
            assert not self.cluster.pass_once().deletes
        assert self.cluster.pending() == []
        self._check_weights_set_now(before)
        assert len({event.message for event in told}) == len(told)
        if before.canary is not None and self.cluster.status.canary != before.canary:
            ended = self.cluster.status.canary is None or (
                self.cluster.status.canary.revision != before.canary.revision
            )
            assert bool(told) or not ended

    @rule(writes=st.integers(0, 6))
    def operator_dies_in_a_pass(self, writes: int) -> None:
        self._check_intent(decision.decide(self.cluster.observe()))
        with contextlib.suppress(Crash):
            self.cluster.pass_once(crash_after=writes)

    def _check_intent(self, plan: Plan) -> None:
        """Nothing that carries traffic is deleted or starved."""
        weights = [router.weights for router in self.cluster.routers]
        carrying = {revision for one in weights for revision, weight in one.items() if weight}
        for delete in plan.deletes:
            revision = delete.name.removeprefix("churn-")
            assert revision not in carrying
            left = self.ended.get(revision)
            assert left is None or self.cluster.now - left >= timedelta(seconds=30)
        wanted = {
            bundle.revision: child["spec"]["replicas"]
            for child in plan.children
            if child["kind"] == "Deployment" and (bundle := servers.read(child)) is not None
        }
        replicas = self.cluster.deployment.spec.replicas
        status = plan.status or {}
        stable = status.get("stable")
        if stable is not None and stable["weight"] and stable["revision"] in wanted:
            assert wanted[stable["revision"]] >= replicas
        total = sum((status.get(role) or {}).get("weight", 0) for role in ("stable", "canary"))
        assert total in ((100,) if stable is not None else (0, 100))

    def _check_messages(self, plan: Plan) -> None:
        """A condition ends in the next command of its reason, if there is one; nothing is left to fill in."""
        status = plan.status or {}
        for condition in status["conditions"]:
            reason = DeploymentReason[condition["reason"]]
            assert condition["message"].count(" Next: ") == bool(reason.next_step)
        of_conditions = [condition["message"] for condition in status["conditions"]]
        for text in (status["message"], *of_conditions, *(event.message for event in plan.events)):
            assert text
            assert commands.fault(text) == "", text

    def _check_weights_set_now(self, before: Any) -> None:
        """A share grows only for a canary with enough ready servers that every router finds healthy."""
        old, new = before.canary, self.cluster.status.canary
        weight = old.weight if old is not None and new is not None and old.revision == new.revision else 0
        if new is None or new.weight <= weight:
            return
        seen = self.cluster.observe()
        need = max(1, math.ceil(seen.deployment.spec.replicas * new.weight / 100))
        assert seen.ready(new.revision) >= need
        assert seen.healthy(new.revision)
        assert new.digest not in self._condemned()

    def _condemned(self) -> set[str]:
        """Digests that failed and were not let go, as it is written."""
        facts = [fact for fact in map(quarantine.read, self.cluster.records.values()) if fact is not None]
        lifted = {one for fact in facts if isinstance(fact, quarantine.Released) for one in fact.lifts}
        held = {fact.digest for fact in facts if isinstance(fact, quarantine.Condemned) and fact.record not in lifted}
        stable = self.cluster.status.stable
        return held - ({stable.digest} if stable is not None else set())

    def _check_routers(self) -> None:
        for router in self.cluster.routers:
            weights = router.weights
            assert sum(weights.values()) in (0, 100)
            assert set(weights) <= router.clusters
            if self.carried:
                assert sum(weights.values()) == 100, "somebody served, and now nobody does"

    @invariant()
    def every_share_has_servers(self) -> None:
        made = {bundle.revision for one in self.cluster.objects.values() if (bundle := servers.read(one)) is not None}
        for router in self.cluster.routers:
            for revision, weight in router.weights.items():
                if weight:
                    self.ended[revision] = self.cluster.now
                    assert revision in made, "traffic goes to pods that were deleted"
        if self.cluster.status.stable is not None and all(sum(r.weights.values()) for r in self.cluster.routers):
            self.carried = {self.cluster.status.stable.revision}

    def teardown(self) -> None:
        """With the faults over, everything comes to rest, and rests."""
        cluster = self.cluster
        cluster.policy_in_force = True
        cluster.broken.clear()
        cluster.change(strategy=None, actions=None)
        rests = 0
        for _ in range(12):
            cluster.settle(5, seconds=5)
            rests = rests + 1 if self._rests() else 0
            if rests == 2:
                break
            cluster.tick(300 if rests else 0)  # what would still come with time comes now
        assert cluster.pending() == []
        assert cluster.status.canary is None
        assert not cluster.status.retiring
        left = [one for one in cluster.objects.values() if servers.read(one) is not None]
        assert len(left) == (1 if cluster.status.stable is not None else 0)

    def _rests(self) -> bool:
        status = self.cluster.status
        return status.canary is None and not status.retiring and self.cluster.pending() == []


Rollouts.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestRollouts = Rollouts.TestCase


def test_every_signal_of_a_person_or_a_fault_is_answered_at_every_stage() -> None:
    told = {
        Signal.ABORTED, Signal.WITHDRAWN, Signal.SUPERSEDED, Signal.BROKEN, Signal.FAILED, Signal.RESUMED,
    }  # fmt: skip
    for stage in Stage:
        if stage is not Stage.IDLE:
            assert told <= {signal for at, signal in TRANSITIONS if at is stage}
