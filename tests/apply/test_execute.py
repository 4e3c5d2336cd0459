"""A plan some of whose writes are refused: what depends on them is left out, everything else is done and told."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace import errors
from millrace.api import keys, resources
from millrace.api.resources import ResourceType
from millrace.apply.events import Recorder
from millrace.apply.execute import Executor, Outcome
from millrace.apply.ledger import Ledger
from millrace.clients.kube import Kube
from millrace.clients.store import Key, Manifest, Store
from millrace.controller import failures
from millrace.decide.deployment.decision import CLAIMS
from millrace.decide.plan import Delete, Event, Nudge, Plan
from millrace_kit.clock import ManualClock
from millrace_kit.manifests import make_manifest

OWNER = Key(resources.DEPLOYMENTS, "default", "churn")
FILES = Key(resources.CONFIG_MAPS, "default", "churn-router")
RUN = Key(resources.TRAINING_RUNS, "default", "churn-drift-1")
RECORD = Key(resources.CONTROLLER_REVISIONS, "default", "millrace-quarantine-1")
NEW_SERVICE, NEW = (Key(kind, "default", "churn-new") for kind in (resources.SERVICES, resources.WORKLOADS))
OLD_SERVICE, OLD = (Key(kind, "default", "churn-old") for kind in (resources.SERVICES, resources.WORKLOADS))
BUDGET = Key(resources.BUDGETS, "default", "churn-server")
POD = Key(resources.PODS, "default", "churn-router-1")
CHILDREN, DOOMED = (FILES, NEW_SERVICE, NEW), (OLD_SERVICE, OLD, BUDGET)
WRITES = (RECORD, *CHILDREN, RUN, *DOOMED, POD)

OF_ONE_WRITE: Mapping[str, errors.MillraceError] = {
    "422": errors.Invalid("ConfigMap is invalid: too long", status=422),
    "quota": errors.Forbidden("is forbidden: exceeded quota: small", status=403),
    "400": errors.BadRequest("it makes no sense", status=400),
    "404": errors.NotFound("there is no such kind", status=404),
    "410": errors.Gone("too old", status=410),
    "413": errors.ApiError("too large", status=413),
    "500": errors.Unavailable('failed calling webhook "x"', status=500),
}
OF_THE_SERVER: Mapping[str, errors.MillraceError] = {
    "429": errors.Unavailable("too many requests", status=429),
    "503": errors.Unavailable("not now", status=503),
    "time-out": errors.Unavailable("the API server cannot be reached"),
    "401": errors.Unauthorized("who are you?", status=401),
    "not the leader": errors.NotLeader("this replica does not hold the lease"),
}


@dataclass
class Server:
    """An API server that keeps objects and refuses what it is told to."""

    objects: dict[Key, Manifest] = field(default_factory=dict)
    refuses: dict[Key, errors.MillraceError] = field(default_factory=dict)
    asked: Counter[Key] = field(default_factory=Counter)
    """Writes, the refused ones too."""
    wrote: list[Key] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    """Reasons of Events."""
    version: int = 10

    async def get(self, resource: ResourceType, namespace: str, name: str) -> Manifest:
        try:
            return copy.deepcopy(self.objects[Key(resource, namespace, name)])
        except KeyError:
            raise errors.NotFound("gone", status=404) from None

    async def apply(self, resource: ResourceType, manifest: Manifest) -> Manifest:
        key = Key(resource, manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        return self.write(key, {**self.objects.get(key, {}), **manifest})

    async def create(self, resource: ResourceType, manifest: Manifest) -> Manifest:
        key = Key(resource, manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        if resource == resources.EVENTS:
            self.said.append(manifest["reason"])
            return manifest
        if key in self.objects:
            raise errors.AlreadyExists("it is there", status=409)
        return self.write(key, manifest)

    async def patch(self, resource: ResourceType, namespace: str, name: str, body: Manifest) -> Manifest:
        key = Key(resource, namespace, name)
        return self.write(key, {**self.objects[key], "metadata": {**self.objects[key]["metadata"], **body["metadata"]}})

    async def patch_status(
        self, resource: ResourceType, namespace: str, name: str, status: Manifest, *, resource_version: str
    ) -> Manifest:
        key = Key(resource, namespace, name)
        if self.objects[key]["metadata"]["resourceVersion"] != resource_version:
            raise errors.Conflict("the object has been modified", status=409)
        return self.write(key, {**self.objects[key], "status": status})

    async def delete(
        self, resource: ResourceType, namespace: str, name: str, *, uid: str, resource_version: str
    ) -> None:
        key = Key(resource, namespace, name)
        self.ask(key)
        assert self.objects.pop(key)["metadata"]["uid"] == uid
        self.wrote.append(key)

    def ask(self, key: Key) -> None:
        self.asked[key] += 1
        if key in self.refuses:
            raise self.refuses[key]

    def write(self, key: Key, manifest: Manifest) -> Manifest:
        self.ask(key)
        self.version += 1
        metadata = {"uid": f"uid-{key.name}", **manifest["metadata"], "resourceVersion": str(self.version)}
        self.objects[key] = copy.deepcopy({**manifest, "metadata": metadata})
        self.wrote.append(key)
        return copy.deepcopy(self.objects[key])


class Bench:
    """A Deployment whose canary is promoted, whose last stable revision goes, and that asks for a new run."""

    def __init__(self) -> None:
        self.server, self.clock = Server(), ManualClock()
        before = {"stable": {"revision": "old"}, "retiring": ["older"], "retraining": {"state": "Idle"}}
        self.server.write(OWNER, make_manifest(resources.DEPLOYMENTS, "churn", status=before))
        for key in (*DOOMED, POD):
            owner = self.owner if key != POD else None
            self.server.write(key, make_manifest(key.resource, key.name, uid=f"uid-{key.name}", owner=owner))
        self.server.asked.clear()
        self.server.wrote.clear()

    @property
    def owner(self) -> Manifest:
        return copy.deepcopy(self.server.objects[OWNER])

    @property
    def status(self) -> Any:
        return self.server.objects[OWNER]["status"]

    def plan(self) -> Plan:
        ready = {"type": "Ready", "status": "True", "reason": "Serving", "message": "", "lastTransitionTime": "t"}
        told = {**ready, "type": "RetrainingBlocked", "status": "False", "reason": "RunStarted"}
        return Plan(
            records=(make_manifest(RECORD.resource, RECORD.name, data={"kind": "Condemned"}),),
            children=tuple(make_manifest(key.resource, key.name, data={"a": "b"}) for key in CHILDREN),
            creates=(make_manifest(RUN.resource, RUN.name, spec={"seed": 1}),),
            deletes=tuple(
                Delete(resource=key.resource, namespace="default", name=key.name, uid=f"uid-{key.name}")
                for key in DOOMED
            ),
            nudges=(Nudge(namespace="default", pod=POD.name, annotation=keys.CONFIG_HASH, value="1"),),
            status={
                "stable": {"revision": "new"},
                "retiring": [],
                "retraining": {"state": "Running", "lastRun": RUN.name},
                "conditions": [ready, told],
            },
            claims=CLAIMS,
            events=(
                Event(reason="Promoted", message="p"),
                Event(reason="RetrainingStarted", message="r", made=RUN.name),
            ),
        )

    async def execute(self, plan: Plan | None = None, *, lasting: bool = False) -> Outcome:
        """One pass, by a process that has just started and whose cache is up to date."""
        store, kube = Store(), cast("Kube", self.server)
        for key, manifest in self.server.objects.items():
            store.put(key.resource, manifest)
        executor = Executor(kube, store, Ledger(self.clock.monotonic), Recorder(kube, self.clock, "me"))
        report = partial(failures.reported, self.owner, now=self.clock.now(), lasting=lasting)
        return await executor.execute(OWNER.resource, self.owner, plan or self.plan(), report)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def conditions(bench: Bench) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one["reason"]) for one in bench.status.get("conditions") or ()}


def refusing(most: int = len(WRITES)) -> st.SearchStrategy[dict[Key, errors.MillraceError]]:
    """Some of the writes are refused, each for a reason of its own."""
    refused = st.dictionaries(st.sampled_from(WRITES), st.sampled_from(sorted(OF_ONE_WRITE)), max_size=most)
    return refused.map(lambda found: {key: OF_ONE_WRITE[name] for key, name in found.items()})


@settings(deadline=None)
@given(refusing())
async def test_what_does_not_depend_on_a_refused_write_is_done(refused: dict[Key, errors.MillraceError]) -> None:
    bench = Bench()
    bench.server.refuses = refused
    outcome = await bench.execute()
    held = set()
    if FILES in refused:
        held |= {*DOOMED, POD}  # they are what the new weights ask for, and callers have the old ones
    elif OLD_SERVICE in refused:
        held |= {OLD}  # it is by its workload that a Service is found again
    for key in WRITES:
        assert bench.server.asked[key] == (key not in held), key
        assert (key in bench.server.wrote) is (key not in held and key not in refused), key
    went = {POD} if isinstance(refused.get(POD), errors.NotFound) else set()  # its successor needs no nudge
    assert {one.key for one in outcome.failures} == set(refused) - held - went


async def test_a_record_is_written_before_anything_that_follows_from_it(bench: Bench) -> None:
    await bench.execute()
    assert bench.server.wrote[0] == RECORD


async def test_what_was_written_to_since_it_was_judged_does_not_go(bench: Bench) -> None:
    judged = bench.server.objects[OLD]["metadata"]["resourceVersion"]
    delete = Delete(resource=OLD.resource, namespace="default", name=OLD.name, uid=f"uid-{OLD.name}")
    sure = Plan(deletes=(delete.model_copy(update={"resource_version": judged}),), status={"a": "b"})
    bench.server.write(OLD, bench.server.objects[OLD])
    outcome = await bench.execute(sure)
    assert outcome.stale
    assert OLD in bench.server.objects
    assert not outcome.status_written
    again = bench.server.objects[OLD]["metadata"]["resourceVersion"]
    await bench.execute(Plan(deletes=(delete.model_copy(update={"resource_version": again}),)))
    assert OLD not in bench.server.objects


@settings(deadline=None)
@given(refusing())
async def test_a_status_claims_nothing_that_was_refused(refused: dict[Key, errors.MillraceError]) -> None:
    bench = Bench()
    before = bench.status
    bench.server.refuses = refused
    await bench.execute()
    assert bench.status["stable"] == ({"revision": "old"} if FILES in refused else {"revision": "new"})
    kept = FILES in refused or RUN in refused
    assert bench.status["retraining"] == (before["retraining"] if kept else {"state": "Running", "lastRun": RUN.name})
    kept = FILES in refused or OLD in refused or OLD_SERVICE in refused
    assert bench.status["retiring"] == (["older"] if kept else [])
    assert ("RetrainingStarted" in bench.server.said) is (RUN not in refused and FILES not in refused)
    assert ("Promoted" in bench.server.said) is (FILES not in refused)


@settings(deadline=None)
@given(refusing())
async def test_the_status_says_what_was_refused_in_the_api_servers_words(
    refused: dict[Key, errors.MillraceError],
) -> None:
    bench = Bench()
    bench.server.refuses = refused
    outcome = await bench.execute()
    said = {one["type"]: one for one in bench.status.get("conditions") or ()}
    told = [one for one in outcome.failures if one.is_refusal and one.key not in (POD, RUN)]
    assert ("Stalled" in said) is bool(told)
    for one in told:
        assert str(one.error) in said["Stalled"]["message"]
        assert (said["Stalled"]["status"], said["Stalled"]["reason"]) == ("True", "Refused")
    if RUN in refused:
        assert (said["RetrainingBlocked"]["status"], said["RetrainingBlocked"]["reason"]) == ("True", "Refused")
        assert str(refused[RUN]) in said["RetrainingBlocked"]["message"]
    if "Stalled" in said and FILES not in refused:
        assert said["Ready"]["status"] == "True", "it serves all the same"
    assert bench.server.said.count("Refused") == bool(told) + (RUN in refused)


@settings(deadline=None)
@given(refusing())
async def test_a_plan_that_stays_refused_is_reported_once_and_one_that_is_not_any_more_comes_true(
    refused: dict[Key, errors.MillraceError],
) -> None:
    bench, plain = Bench(), Bench()
    bench.server.refuses = refused
    await bench.execute()
    bench.server.wrote.clear()
    bench.server.said.clear()
    await bench.execute()
    assert bench.server.wrote == [], "the second time nothing is left to be written"
    assert bench.server.said == []
    bench.server.refuses = {}
    await bench.execute()
    await plain.execute()
    for key in WRITES:
        assert (key in bench.server.objects) is (key in plain.server.objects), key
    assert _timeless(bench.status) == _timeless(plain.status)


def _timeless(status: Any) -> Any:
    return {**status, "conditions": [{**one, "lastTransitionTime": ""} for one in status["conditions"]]}


@settings(deadline=None)
@given(refusing(3), st.sampled_from(WRITES))
async def test_a_conflict_begins_the_pass_again_whatever_else_was_refused(
    refused: dict[Key, errors.MillraceError], changed: Key
) -> None:
    """What comes after it was decided on what is no longer so."""
    bench = Bench()
    before = bench.status
    bench.server.refuses = {**refused, changed: errors.Conflict("the object has been modified", status=409)}
    outcome = await bench.execute()
    reached = bench.server.asked[changed] == 1
    ends = reached and changed != POD
    assert outcome.stale is ends
    if ends:
        later = WRITES[WRITES.index(changed) + 1 :]
        assert not [key for key in later if bench.server.asked[key]]
        assert (bench.status, bench.server.said) == (before, [])


@settings(deadline=None)
@given(refusing(3), st.sampled_from(WRITES), st.sampled_from(sorted(OF_THE_SERVER)))
async def test_an_api_server_that_cannot_be_asked_ends_the_pass(
    refused: dict[Key, errors.MillraceError], asked: Key, answer: str
) -> None:
    bench = Bench()
    before = bench.status
    bench.server.refuses = {**refused, asked: OF_THE_SERVER[answer]}
    if bench_holds(asked, refused):
        return
    with pytest.raises(type(OF_THE_SERVER[answer])):
        await bench.execute()
    later = WRITES[WRITES.index(asked) + 1 :]
    assert not [key for key in later if bench.server.asked[key]]
    assert asked == POD or bench.status == before


def bench_holds(key: Key, refused: Mapping[Key, errors.MillraceError]) -> bool:
    """Whether a write is not tried because of another one."""
    files = FILES in refused and key in (*DOOMED, POD)
    return (files and key != FILES) or (key == OLD and OLD_SERVICE in refused)


async def test_what_the_api_server_fails_on_is_reported_once_it_has_failed_for_a_while(bench: Bench) -> None:
    bench.server.refuses = {NEW: OF_ONE_WRITE["500"]}
    await bench.execute()
    assert "Reconciling" not in conditions(bench)
    await bench.execute(lasting=True)
    assert conditions(bench)["Reconciling"] == ("True", "InternalError")
    assert conditions(bench)["Ready"] == ("True", "Serving")


async def test_a_name_that_somebody_has_taken_holds_up_nothing_else(bench: Bench) -> None:
    bench.server.write(NEW, make_manifest(NEW.resource, NEW.name, uid="theirs"))
    await bench.execute()
    assert conditions(bench)["Stalled"] == ("True", "NameConflict")
    assert "churn-new exists and belongs to nobody that Millrace knows" in bench.status["message"]
    assert bench.server.objects[NEW]["metadata"]["uid"] == "theirs"
    assert not {OLD, OLD_SERVICE} & set(bench.server.objects)
    assert "NameConflict" in bench.server.said


async def test_an_object_that_cannot_have_a_status_yet_says_what_it_lacks(bench: Bench) -> None:
    """A run whose Model is refused has nothing else to say in that pass."""
    bench.server.refuses = {RUN: OF_ONE_WRITE["quota"]}
    await bench.execute(Plan(creates=bench.plan().creates))
    assert conditions(bench) == {"Ready": ("False", "Refused"), "Stalled": ("True", "Refused")}
    assert bench.status["stable"] == {"revision": "old"}
    assert bench.status["message"].endswith("kubectl -n default describe resourcequotas,limitranges")


async def test_a_status_that_is_refused_holds_up_no_nudge(bench: Bench) -> None:
    bench.server.refuses = {OWNER: OF_ONE_WRITE["422"]}
    with pytest.raises(errors.Invalid):
        await bench.execute()
    assert POD in bench.server.wrote
    assert bench.server.said == []


async def test_a_process_that_has_just_started_writes_nothing_that_is_so_already(bench: Bench) -> None:
    await bench.execute()
    bench.server.wrote.clear()
    await bench.execute()
    assert bench.server.wrote == []
    bench.server.objects[NEW]["data"] = {"a": "another"}
    await bench.execute()
    assert bench.server.wrote == [NEW], "what somebody changed is put right"
    less = bench.plan()
    children = tuple({name: part for name, part in one.items() if name != "data"} for one in less.children)
    await bench.execute(less.model_copy(update={"children": children}))
    assert set(bench.server.wrote) == set(CHILDREN), "what is not stated any more is taken away"
