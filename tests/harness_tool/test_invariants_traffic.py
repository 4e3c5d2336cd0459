"""Each law about traffic holds in a good history, and finds the one thing that is wrong in a bad one."""

from __future__ import annotations

from millrace.render import router
from millrace_harness import invariants
from millrace_harness.history import History

STABLE, CANARY, OTHER = "aaaaaaaa", "bbbbbbbb", "cccccccc"
DIGESTS = {STABLE: "sha256:" + "a" * 64, CANARY: "sha256:" + "b" * 64, OTHER: "sha256:" + "c" * 64}
NAMES = {STABLE: "churn-1", CANARY: "churn-2", OTHER: "churn-3"}
OWNER = "uid-('Deployment', 'churn')"


class Told:
    """A history told object by object; versions and times count by themselves."""

    def __init__(self) -> None:
        self.history = History()
        self.now = 0.0
        self._objects: dict[tuple[str, str], dict] = {}

    def put(self, manifest: dict, sender: str = "operator-1", after: float = 1.0) -> Told:
        self.now += after
        key = (manifest["kind"], manifest["metadata"]["name"])
        before = self._objects.get(key)
        metadata = {"namespace": "ml", "uid": f"uid-{key}", "generation": 1, **manifest["metadata"]}
        metadata["resourceVersion"] = str(int(self.now * 10))
        self._objects[key] = {**manifest, "metadata": metadata}
        self.history.add(self.now, sender, before, self._objects[key])
        self.history.ended = self.now
        return self

    def later(self, seconds: float) -> Told:
        self.now += seconds
        self.history.ended = self.now
        return self

    @property
    def laws(self) -> set[str]:
        return {one.law for one in invariants.check(self.history)}


def model(revision: str, *decisions: str) -> dict:
    approvals = [{"user": "bob", "decision": one, "digest": DIGESTS[revision]} for one in decisions]
    spec = {"modelName": "churn", "artifact": {"digest": DIGESTS[revision]}, "approvals": approvals}
    return {"apiVersion": "millrace.dev/v1alpha1", "kind": "Model", "metadata": {"name": NAMES[revision]}, "spec": spec}


def workload(revision: str) -> dict:
    env = [
        {"name": "MILLRACE_DIGEST", "value": DIGESTS[revision]},
        {"name": "MILLRACE_MODEL", "value": NAMES[revision]},
    ]
    labels = {"millrace.dev/deployment": "churn", "millrace.dev/revision": revision}
    pod = {"spec": {"containers": [{"name": "server", "env": env}]}}
    metadata = {"name": f"churn-{revision}", "labels": labels, "ownerReferences": [{"uid": OWNER}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {"replicas": 1, "template": pod},
    }


def files(owner: str = OWNER, **weights: int) -> dict:
    backends = tuple(router.Backend(revision, "host", weight=weight) for revision, weight in weights.items())
    data = {"rds.yaml": router.routes(router.RouterConfig(backends))}
    labels = {"millrace.dev/deployment": "churn"}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "churn-router", "labels": labels, "ownerReferences": [{"uid": owner}]},
        "data": data,
    }


def deployment(stable: tuple[str, int] | None = None, canary: tuple[str, int] | None = None, **more) -> dict:
    status = dict(more.pop("status", {}))
    for role, said in (("stable", stable), ("canary", canary)):
        if said is not None:
            status[role] = {"revision": said[0], "digest": DIGESTS[said[0]], "model": NAMES[said[0]], "weight": said[1]}
    spec = {"replicas": 1, **more}
    kind = {"apiVersion": "millrace.dev/v1alpha1", "kind": "Deployment", "metadata": {"name": "churn"}}
    return {**kind, "spec": spec, "status": status}


def serving() -> Told:
    """Stable serves everything, and a canary that is approved waits at nothing."""
    told = Told()
    told.put(deployment(), "user").put(model(STABLE, "Approve"), "user").put(workload(STABLE))
    told.put(files(aaaaaaaa=100)).put(deployment((STABLE, 100)))
    return told.put(model(CANARY, "Approve"), "user").put(workload(CANARY)).put(deployment((STABLE, 100), (CANARY, 0)))


def canary_at(told: Told, weight: int) -> Told:
    told.put(files(aaaaaaaa=100 - weight, bbbbbbbb=weight))
    return told.put(deployment((STABLE, 100 - weight), (CANARY, weight)))


def test_a_canary_that_is_promoted_breaks_no_law():
    told = canary_at(canary_at(serving(), 20), 100)
    assert told.put(deployment((CANARY, 100))).laws == set()


def test_i1_weights_that_do_not_add_up_are_found_in_the_files():
    text = files(aaaaaaaa=80, bbbbbbbb=20)
    text["data"]["rds.yaml"] = text["data"]["rds.yaml"].replace("weight: 80", "weight: 70")
    assert "I1" in serving().put(text).laws


def test_i1_weights_that_do_not_add_up_are_found_in_the_status():
    assert "I1" in serving().put(deployment((STABLE, 70), (CANARY, 20))).laws


def test_i2_traffic_without_an_approval_is_found():
    told = serving().put(model(CANARY, "Approve", "Revoke"), "user").later(60)
    assert canary_at(told, 20).laws == {"I2"}


def test_i2_a_revocation_that_is_as_fresh_as_the_write_is_no_fault():
    told = serving().put(model(CANARY, "Approve", "Revoke"), "user")
    assert canary_at(told, 20).laws == set()


def test_i2_an_approval_of_the_author_does_not_count():
    mine = model(CANARY, "Approve")
    mine["spec"]["provenance"] = {"author": "bob"}
    told = serving().later(60)
    told._objects.pop(("Model", "churn-2"))
    assert "I2" in canary_at(told.put(mine, "user").later(60), 20).laws


def test_i2_stable_gets_back_what_a_canary_loses_even_if_its_approval_is_gone():
    told = canary_at(serving(), 20).put(model(STABLE, "Approve", "Revoke"), "user").later(60)
    told.put(files(aaaaaaaa=100))
    assert told.put(deployment((STABLE, 100))).laws == set()


def test_i2_traffic_without_servers_is_found_but_for_new_files_of_an_owner_who_is_gone():
    late = files("uid-of-an-earlier-churn", aaaaaaaa=100)
    assert Told().put(deployment(), "user").put(late).laws == set()
    assert Told().put(deployment(), "user").put(files(aaaaaaaa=100)).laws == {"I2"}
    assert Told().put(deployment(), "user").put(files(aaaaaaaa=0)).put(late).laws == {"I2"}


def test_i3_a_second_canary_is_found():
    told = serving().put(model(OTHER, "Approve"), "user").put(workload(OTHER))
    assert "I3" in told.put(files(aaaaaaaa=60, bbbbbbbb=20, cccccccc=20)).laws


QUARANTINE = {"quarantined": [{"revision": CANARY, "digest": DIGESTS[CANARY], "reason": "AnalysisFailed"}]}


def test_i6_traffic_of_a_quarantined_digest_is_found():
    told = serving().put(deployment((STABLE, 100), status=QUARANTINE)).later(10)
    assert "I6" in told.put(files(aaaaaaaa=80, bbbbbbbb=20)).laws


def test_i6_a_quarantine_that_is_lifted_unasked_is_found():
    told = serving().put(deployment((STABLE, 100), status=QUARANTINE))
    assert told.put(deployment((STABLE, 100))).laws == {"I6"}


def test_i6_a_quarantine_that_a_person_lifts_is_no_fault():
    told = serving().put(deployment((STABLE, 100), status=QUARANTINE))
    actions = {"unquarantine": {"revision": CANARY}}
    told.put(deployment((STABLE, 100), status=QUARANTINE, actions=actions), "user")
    assert told.put(deployment((STABLE, 100), actions=actions)).laws == set()


def record(name: str, kind: str, **data) -> dict:
    """What is written of a quarantine."""
    facts = {"kind": kind, "digest": DIGESTS[CANARY], **data}
    return {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": name}, "data": facts}


def test_i6_traffic_of_what_failed_in_another_deployment_is_found():
    told = serving().put(record("q", "Condemned")).later(10)
    assert "I6" in told.put(files(aaaaaaaa=80, bbbbbbbb=20)).laws


def test_i6_traffic_of_what_was_let_go_is_no_fault():
    told = serving().put(record("q", "Condemned")).put(record("r", "Released", lifts=["q"])).later(10)
    assert "I6" not in told.put(files(aaaaaaaa=80, bbbbbbbb=20)).laws


def test_i6_a_record_that_is_changed_is_found():
    told = serving().put(record("q", "Condemned"))
    assert told.put(record("q", "Condemned", reason="another")).laws == {"I6"}


def test_i6_a_quarantine_that_was_lifted_in_another_deployment_is_no_fault():
    told = serving().put(deployment((STABLE, 100), status=QUARANTINE)).put(record("r", "Released", lifts=["q"]))
    assert told.put(deployment((STABLE, 100))).laws == set()


def test_i12_weights_that_are_claimed_before_they_are_applied_are_found():
    told = serving().put(deployment((STABLE, 80), (CANARY, 20)))
    assert told.put(files(aaaaaaaa=80, bbbbbbbb=20)).laws == {"I12"}


def test_i12_weights_that_nobody_claims_for_long_are_found():
    assert serving().put(files(aaaaaaaa=80, bbbbbbbb=20)).later(60).laws == {"I12"}


def test_i12_a_model_that_never_was_is_found():
    run = {"apiVersion": "millrace.dev/v1alpha1", "kind": "TrainingRun", "metadata": {"name": "run"}, "spec": {}}
    told = serving().put(run, "user")
    assert told.put({**run, "status": {"modelRef": {"name": "churn-9"}}}).laws == {"I12"}
