"""A newer operator brings a newer server image: it changes what runs at the next rollout, or in place when asked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from millrace import api
from millrace.api import conditions
from millrace.decide.deployment.drift import Verdict
from millrace.decide.deployment.observation import RevisionDrift, Trouble
from millrace.render import server as servers
from millrace_kit.simulation import SimulatedCluster, make_model
from retraining_worlds import DRIFTED, RETRAINING, SPEC, dataset

STEPS = [{"setWeight": 25}, {"pause": {"duration": "1h"}}]
ROLLING = {"upgradePolicy": "Rolling"}
FIRST = f"sha256:{1:064x}"


@pytest.fixture
def serving() -> SimulatedCluster:
    """churn-1 serves with three servers of image server:1, and drift has been counted."""
    cluster = SimulatedCluster()
    cluster.change(replicas=3, strategy={"canary": {"steps": STEPS}}, monitoring={"drift": {"interval": "10s"}})
    cluster.add(make_model("churn", 1))
    cluster.settle(6)
    assert cluster.status.stable is not None
    verdict = Verdict("None", 0.02, -0.1, "tenure", 4000, 0.01)
    cluster.drift = RevisionDrift(revision=cluster.status.stable.revision, verdict=verdict)
    cluster.settle(6)
    return cluster


def upgrade(cluster: SimulatedCluster, image: str = "server:2") -> None:
    """A newer operator takes over."""
    cluster.platform = cluster.platform.model_copy(update={"server_image": image})
    cluster.settle(1)


def images(cluster: SimulatedCluster) -> dict[str, str]:
    """What the workloads ask for, by model."""
    found = [bundle for one in cluster.objects.values() if (bundle := servers.read(one)) is not None]
    return {bundle.model: bundle.template.image for bundle in found}


def condition(cluster: SimulatedCluster, kind: str) -> tuple[str, str]:
    found = conditions.find(cluster.status.conditions, kind)
    assert found is not None
    return found.status, found.reason


def test_the_image_of_a_revision_is_in_the_status(serving: SimulatedCluster) -> None:
    assert serving.status.stable is not None
    assert serving.status.stable.image == "server:1"


def test_a_newer_operator_starts_no_canary_and_changes_no_server(serving: SimulatedCluster) -> None:
    before = serving.status
    upgrade(serving)
    serving.settle(10)
    assert serving.status == before
    assert images(serving) == {"churn-1": "server:1"}
    assert serving.pending() == []


def test_the_next_rollout_takes_the_newer_image_and_leaves_stable_its_own(serving: SimulatedCluster) -> None:
    upgrade(serving)
    serving.add(make_model("churn", 2))
    serving.settle(5)
    assert images(serving) == {"churn-1": "server:1", "churn-2": "server:2"}
    assert serving.status.canary is not None
    assert serving.status.canary.image == "server:2"


def test_a_canary_with_traffic_keeps_the_image_that_it_began_with(serving: SimulatedCluster) -> None:
    serving.add(make_model("churn", 2))
    serving.settle(5)
    assert serving.status.canary is not None
    before = serving.status.canary
    assert before.weight == 25
    upgrade(serving)
    serving.settle(5)
    assert serving.status.canary == before
    assert images(serving) == {"churn-1": "server:1", "churn-2": "server:1"}


def test_a_canary_that_waits_for_an_image_which_nobody_has_goes_on_with_the_corrected_one(
    serving: SimulatedCluster,
) -> None:
    serving.broken_images["server:typo"] = Trouble(reason="ImagePullBackOff", message="no such image")
    upgrade(serving, "server:typo")
    serving.add(make_model("churn", 2))
    serving.settle(30, seconds=60)
    assert serving.status.canary is not None
    assert (serving.status.canary.image, serving.status.quarantined) == ("server:typo", ())
    upgrade(serving, "server:2")
    serving.settle(4)
    assert serving.status.canary.weight == 25
    assert images(serving) == {"churn-1": "server:1", "churn-2": "server:2"}


def test_rolling_changes_the_image_in_place_and_nothing_else(serving: SimulatedCluster) -> None:
    serving.change(server=ROLLING)
    serving.settle(1)
    stable, drift = serving.status.stable, serving.status.monitoring
    assert stable is not None
    upgrade(serving)
    assert condition(serving, "Reconciling") == ("True", "ServersUpgrading")
    assert condition(serving, "Ready") == ("True", "Serving")
    serving.settle(6)
    after = serving.status.stable
    assert after is not None
    assert images(serving) == {"churn-1": "server:2"}
    assert (after.revision, after.image, after.since) == (stable.revision, "server:2", stable.since)
    assert (serving.status.canary, serving.status.retiring) == (None, ())
    assert serving.status.monitoring == drift, "what drift has been counted stays"
    assert condition(serving, "Reconciling") == ("False", "Settled")
    told = [event.reason for event in serving.events]
    assert (told.count("ServersUpgrading"), told.count("ServersUpgraded")) == (1, 1)
    assert serving.pending() == []


def test_an_upgrade_in_place_blocks_no_retraining(serving: SimulatedCluster) -> None:
    trained = {"name": "customers", "version": 1, "digest": f"sha256:{1:064x}"}
    serving.add(make_model("churn", 1, dataset=trained))
    serving.run = api.TrainingRun.model_validate({"metadata": {"name": "churn-gb", "namespace": "ml"}, "spec": SPEC})
    serving.dataset = dataset(2)
    retraining: dict[str, Any] = {**RETRAINING, "triggers": [{"name": "drifted", "drift": {}}]}
    serving.change(server=ROLLING, retraining=retraining)
    serving.broken_images["server:2"] = Trouble(reason="ImagePullBackOff", message="no such image")
    upgrade(serving)
    assert serving.status.stable is not None
    serving.drift = RevisionDrift(revision=serving.status.stable.revision, verdict=DRIFTED)
    serving.settle(4)
    assert condition(serving, "Reconciling") == ("True", "ServersUpgrading")
    assert len(serving.created) == 1


def test_an_upgrade_waits_for_its_turn(serving: SimulatedCluster) -> None:
    serving.change(server=ROLLING)
    serving.may_upgrade = False
    upgrade(serving)
    assert images(serving) == {"churn-1": "server:1"}
    assert serving.pass_once().wake_after is not None
    serving.may_upgrade = True
    serving.settle(2)
    assert images(serving) == {"churn-1": "server:2"}


def test_an_image_that_does_not_start_stalls_the_upgrade_and_goes_on_by_itself(serving: SimulatedCluster) -> None:
    serving.change(server=ROLLING)
    serving.broken_images["server:2"] = Trouble(reason="GoldenSetMismatch", message="row 3 differs")
    upgrade(serving)
    serving.settle(13, seconds=60)
    assert condition(serving, "Stalled") == ("True", "ProgressDeadlineExceeded")
    assert condition(serving, "Ready") == ("True", "Serving"), "those of before still answer"
    assert "0 of 3 servers of churn-1 run server:2: GoldenSetMismatch, row 3 differs" in (serving.status.message or "")
    assert serving.status.quarantined == (), "the bytes were good under the image before"
    serving.broken_images.clear()
    serving.settle(6)
    assert condition(serving, "Stalled")[0] == "False"
    assert images(serving) == {"churn-1": "server:2"}


def test_a_server_that_starts_again_is_no_upgrade(serving: SimulatedCluster) -> None:
    serving.change(server=ROLLING)
    upgrade(serving)
    serving.settle(6)
    serving.change(replicas=5)
    serving.pass_once()
    assert condition(serving, "Reconciling")[1] != "ServersUpgrading"


def test_stable_takes_todays_image_when_its_own_is_gone(serving: SimulatedCluster) -> None:
    upgrade(serving)
    serving.broken[FIRST] = Trouble(reason="ImagePullBackOff", message="server:1 is gone")
    serving.settle(1)
    assert images(serving) == {"churn-1": "server:2"}
    assert serving.status.stable is not None
    assert serving.status.stable.model == "churn-1"


def test_a_revision_that_was_named_after_its_image_is_not_taken_for_another_one(serving: SimulatedCluster) -> None:
    stable = serving.status.stable
    assert stable is not None
    (name,) = [name for kind, name in serving.objects if kind == "Deployment" and name.endswith(stable.revision)]
    older = "0123abcd"
    for kind in ("Deployment", "Service"):
        text = json.dumps(serving.objects.pop((kind, name))).replace(stable.revision, older)
        # What the API server fills in where an operator says nothing about it, as those of then did.
        text = text.replace('"terminationGracePeriodSeconds": 60', '"terminationGracePeriodSeconds": 30')
        serving.objects[kind, name.replace(stable.revision, older)] = json.loads(text)
    status = serving.status.model_copy(update={"stable": stable.model_copy(update={"revision": older, "image": None})})
    serving.deployment = serving.deployment.model_copy(update={"status": status})
    serving.settle(6)
    assert serving.status.canary is None
    assert serving.status.stable is not None
    assert (serving.status.stable.revision, serving.status.stable.image) == (older, "server:1")
