"""The closed loop once, end to end, with the operator killed at five named points and a caller that must not notice."""

from __future__ import annotations

import time

from millrace_demo import crash, data, objects, release, sources, timeline, traffic
from millrace_demo.kubectl import Kubectl, is_true

NAME = "story"
RATE = 100.0
PATIENCE = 600.0


def test_the_loop_closes_by_itself_although_the_operator_is_killed_at_five_points(
    installed: release.Release,
    kubectl: Kubectl,
    store: sources.Sources,
    slices: tuple[data.Slice, data.Slice],
) -> None:
    first, second = slices
    uri = store.put(f"sources/{NAME}/a.csv", first.csv).rsplit("/", 1)[0] + "/"
    killer = crash.Killer(installed)
    with timeline.Timeline(kubectl, say=killer, only=NAME) as seen:
        kubectl.apply(
            objects.dataset(NAME, uri),
            objects.training_run(NAME, NAME, NAME, kubectl.whoami()),
            objects.deployment(NAME, NAME, NAME),
        )
        kubectl.until("mdep", NAME, lambda item: is_true(item, "Ready"), PATIENCE, "Ready")
        with (
            kubectl.port_forward(f"svc/{NAME}", 80) as url,
            traffic.Caller(url, NAME, first.rows, RATE) as caller,
        ):
            time.sleep(15)
            store.put(f"sources/{NAME}/b.csv", second.csv)
            caller.rows = second.rows
            deadline = time.monotonic() + PATIENCE
            while len(seen.words()) < len(timeline.STORY) and time.monotonic() < deadline:
                time.sleep(0.5)
            time.sleep(5)
    for moment in seen.moments:
        print(f"{moment.at:7.1f} s  {moment.word:<10} {moment.detail}")

    # Killed between the two, a run may say that it succeeded after its Model was approved.
    assert sorted(seen.words()) == sorted(timeline.STORY)
    swapped = ("succeeded", "approved")
    assert [word for word in seen.words() if word not in swapped] == [w for w in timeline.STORY if w not in swapped]
    assert sorted(killer.killed) == sorted(crash.POINTS)
    assert caller.tally.failures == {}
    assert caller.tally.answered == caller.tally.sent > 2000

    clones = kubectl.list("mtr", "millrace.dev/trigger=drifted")
    assert len([run for run in clones if run["metadata"]["name"].startswith(NAME)]) == 1
    models = kubectl.list("mmd", f"millrace.dev/model-name={NAME}")
    assert [model["metadata"]["name"] for model in models] == [f"{NAME}-1", f"{NAME}-2"]
    final = kubectl.get("mdep", NAME)
    assert final is not None
    assert final["status"]["stable"]["model"] == f"{NAME}-2"
    assert final["status"]["stable"]["weight"] == 100

    second_run = clones[0]["status"]
    candidate = {metric["name"]: float(metric["value"]) for metric in second_run["metrics"]}
    champion = {metric["name"]: float(metric["value"]) for metric in second_run["championMetrics"]}
    assert candidate["roc_auc"] > champion["roc_auc"]
