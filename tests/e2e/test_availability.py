"""What callers notice of an upgrade, a way back, a rollout, a drain and a crash; and what idle operators write.

One Deployment of two servers and two routers, and one of a single server and a single router, called without a pause by
clients that never try again.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace_demo import imports, objects, release, traffic
from millrace_demo.kubectl import CommandFailed, Kubectl, is_true

NAME = "steady"
SINGLE = "alone"
SINGLE_RATE = 50.0
HARDLY = 5
"""Requests that may fail when the only server or the only router is replaced: a tenth of a second's."""
RATE = 150.0
CALLERS = 32
REQUESTS = 20_000
SUCCESS = 0.995
RECOVERY_SECONDS = 10.0
IDLE_SECONDS = float(os.environ.get("MILLRACE_IDLE_SECONDS", "60"))
QUIET_SECONDS = 5.0
"""In which nothing changed, once nothing is about to: what left a rollout goes half a minute later."""
READS = frozenset({"GET", "LIST"})
WRITTEN = "mds,mtr,mmd,mdep,deployments.apps,services,configmaps,poddisruptionbudgets,jobs"
SERVERS = f"millrace.dev/component=server,millrace.dev/deployment={NAME}"
ROUTERS = f"millrace.dev/component=router,millrace.dev/deployment={NAME}"


@contextlib.contextmanager
def reached(kubectl: Kubectl, name: str = NAME) -> Iterator[str]:
    """The Service's URL as callers in the cluster have it; where this machine has no way there, a forwarded port,
    which ends with the router pod it leads to.
    """
    service = kubectl.get("svc", name)
    assert service is not None
    address = str(service["spec"]["clusterIP"])
    try:
        socket.create_connection((address, 80), timeout=3).close()
    except OSError:
        with kubectl.port_forward(f"svc/{name}", 80) as url:
            yield url
    else:
        yield f"http://{address}"


def called(url: str, slices: Any) -> traffic.Caller:
    """Callers that between them have no more than `CALLERS` requests under way."""
    return traffic.Caller(url, NAME, slices[0].rows, RATE, CALLERS)


def is_settled(item: dict[str, Any], model: str) -> bool:
    """Whether `model` has all traffic, two servers, and nothing moves."""
    status = item.get("status", {})
    stable = status.get("stable", {})
    return bool(
        (stable.get("model"), stable.get("weight"), stable.get("readyReplicas")) == (model, 100, 2)
        and "canary" not in status
        and is_true(item, "Ready")
    )


def settled(kubectl: Kubectl, model: str, timeout: float = 180) -> dict[str, Any]:
    return kubectl.until("mdep", NAME, lambda item: is_settled(item, model), timeout, f"{model} has all traffic")


def ready(kubectl: Kubectl, selector: str) -> list[dict[str, Any]]:
    """Pods that are ready and stay."""
    return [
        pod
        for pod in kubectl.list("pods", selector)
        if "deletionTimestamp" not in pod["metadata"]
        and any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", ()))
    ]


def until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.3)
    return found


def evict(kubectl: Kubectl, pod: str) -> None:
    """What `kubectl drain` asks for. Raises CommandFailed when a budget refuses."""
    metadata = {"name": pod, "namespace": kubectl.namespace}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    path = f"/api/v1/namespaces/{kubectl.namespace}/pods/{pod}/eviction"
    kubectl.run("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))


def drain(kubectl: Kubectl, selector: str) -> None:
    """Evict two of two, as a drained node does: the second may not go before there are two again, and goes then."""
    first, second = (pod["metadata"]["name"] for pod in ready(kubectl, selector))
    evict(kubectl, first)
    with pytest.raises(CommandFailed, match="disruption budget"):
        evict(kubectl, second)
    until(lambda: len(ready(kubectl, selector)) == 2, 60, "two are ready again")
    until(lambda: is_evicted(kubectl, second), 30, "the budget lets the second one go")
    until(lambda: {first, second} & names(kubectl, selector) == set(), 90, f"{first} and {second} are gone")
    until(lambda: len(ready(kubectl, selector)) == 2, 60, "two are ready again")


def is_evicted(kubectl: Kubectl, pod: str) -> bool:
    """Whether an eviction is accepted now; the budget counts a moment later than the pods are ready."""
    try:
        evict(kubectl, pod)
    except CommandFailed as refused:
        if "disruption budget" not in str(refused):
            raise
        return False
    return True


def replaced(kubectl: Kubectl, selector: str, *pods: str) -> None:
    """Delete pods at once, and wait until they are gone and as many others are ready."""
    kubectl.run("delete", "pod", *pods, "--wait=false")
    until(lambda: set(pods) & names(kubectl, selector) == set(), 120, f"{', '.join(pods)} are gone")
    until(lambda: len(ready(kubectl, selector)) == len(pods), 120, "as many are ready")


def names(kubectl: Kubectl, selector: str) -> set[str]:
    return {pod["metadata"]["name"] for pod in kubectl.list("pods", selector)}


def ask(kubectl: Kubectl, action: dict[str, Any]) -> None:
    kubectl.run("patch", "mdep", NAME, "--type=merge", "-p", json.dumps({"spec": {"actions": action}}))


def abort(kubectl: Kubectl, stable: str, has_answered: Callable[[], bool]) -> None:
    """Stop the canary once it has a weight and callers have met it, which is a moment later."""
    seen = kubectl.until(
        "mdep", NAME, lambda item: item["status"].get("canary", {}).get("weight", 0) > 0, 90, "at 25 %"
    )
    until(has_answered, 60, "the canary has answered")
    ask(kubectl, {"abort": {"revision": seen["status"]["canary"]["revision"], "reason": "a hunch"}})
    kubectl.until("mdep", NAME, lambda item: item["status"]["rollout"].get("lastVerdict") == "Aborted", 60, "aborted")
    settled(kubectl, stable)
    ask(kubectl, {"abort": None})


@pytest.fixture(scope="module")
def serving(kubectl: Kubectl, importer: Any) -> dict[int, str]:
    """`steady-1` behind two routers on two servers; digests of all versions, of which only the first is approved."""
    digests = {version: importer.imported(NAME, version, imports.logistic(float(version))) for version in range(1, 5)}
    errors = {"name": "errors", "builtin": "ErrorRate", "thresholdRange": {"max": 0.02}, "minSamples": 200}
    canary = {"steps": objects.canary_steps(), "analysis": {"metrics": [errors], "maxDuration": "5m"}}
    importer.approve(NAME, 1, digests[1])
    kubectl.apply(objects.deployment(NAME, NAME, None, replicas=2, strategy={"canary": canary}))
    settled(kubectl, f"{NAME}-1")
    until(lambda: len(ready(kubectl, ROUTERS)) == 2, 60, "two routers are ready")
    return digests


@pytest.mark.timeout(1200)
def test_no_request_fails_while_the_operator_changes_versions_and_people_and_drains_interfere(
    serving: dict[int, str], installed: release.Release, importer: Any, current: Any, older: Any, slices: Any
) -> None:
    kubectl = installed.kubectl
    begun = time.monotonic()

    def passed(what: str) -> None:
        tally = caller.tally
        print(f"{time.monotonic() - begun:6.1f} s  {tally.sent:6} sent, {tally.failed} failed: {what}", flush=True)

    def leads(version: Any) -> bool:
        pod = installed.home.get("pod", installed.operator_pod())
        return pod is not None and pod["spec"]["containers"][0]["image"].endswith(version.values["images.operator.tag"])

    with reached(kubectl) as url, called(url, slices) as caller:
        installed.upgrade(older.values, older.chart)
        until(lambda: leads(older), 60, "the older version leads")
        settled(kubectl, f"{NAME}-1")
        passed("downgraded")
        importer.approve(NAME, 2, serving[2])
        settled(kubectl, f"{NAME}-2")
        passed("promoted by the older version")
        installed.upgrade(current.values, current.chart)
        until(lambda: leads(current), 60, "this version leads")
        settled(kubectl, f"{NAME}-2")
        passed("upgraded")
        importer.approve(NAME, 3, serving[3])
        settled(kubectl, f"{NAME}-3")
        passed("promoted")
        importer.approve(NAME, 4, serving[4])
        abort(kubectl, f"{NAME}-3", lambda: "4" in caller.tally.versions)
        passed("aborted")
        stable = settled(kubectl, f"{NAME}-3")["status"]["stable"]["revision"]
        drain(kubectl, f"{SERVERS},millrace.dev/revision={stable}")
        passed("both servers were evicted")
        drain(kubectl, ROUTERS)
        passed("both routers were evicted")
        servers = f"{SERVERS},millrace.dev/revision={stable}"
        replaced(kubectl, servers, *(pod["metadata"]["name"] for pod in ready(kubectl, servers)))
        passed("both servers were deleted at once")
        until(lambda: caller.tally.sent >= REQUESTS, 300, f"{REQUESTS} requests")
    passed("the end")
    assert caller.tally.failures == {}
    assert caller.tally.answered == caller.tally.sent >= REQUESTS
    assert {"1", "2", "3", "4"} == set(caller.tally.versions)


@pytest.fixture
def alone(serving: dict[int, str], kubectl: Kubectl) -> Iterator[None]:
    """One server and one router: there is nobody else to answer while one of them is replaced."""
    kubectl.apply(objects.deployment(SINGLE, NAME, None))
    kubectl.until("mdep", SINGLE, lambda item: is_true(item, "Ready") and "canary" not in item["status"], 180, "Ready")
    yield
    kubectl.delete("mdep", SINGLE, "--wait")


@pytest.mark.parametrize("component", ["server", "router"])
@pytest.mark.timeout(600)
def test_the_only_pod_is_deleted_and_hardly_a_request_fails(
    component: str, alone: None, installed: release.Release, slices: Any
) -> None:
    """It answers until its successor does, which takes seconds."""
    kubectl = installed.kubectl
    selector = f"millrace.dev/component={component},millrace.dev/deployment={SINGLE}"
    (victim,) = ready(kubectl, selector)
    with reached(kubectl, SINGLE) as url, traffic.Caller(url, NAME, slices[0].rows, SINGLE_RATE, CALLERS) as caller:
        until(lambda: caller.tally.answered > SINGLE_RATE, 60, "it is called")
        replaced(kubectl, selector, victim["metadata"]["name"])
        sent = caller.tally.sent
        until(lambda: caller.tally.sent > sent + 5 * SINGLE_RATE, 60, "the successor is called")
    tally = caller.tally
    print(f"{component}: {tally.failed} of {tally.sent} failed: {dict(tally.failures)}")
    assert tally.failed <= HARDLY, tally.failures


def processes(pod: dict[str, Any]) -> list[int]:
    """The pod's processes as this machine sees them; none where its nodes are elsewhere."""
    uid = pod["metadata"]["uid"]
    marks, found = (f"pod{uid}", f"pod{uid.replace('-', '_')}"), []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            is_its = entry.name.isdigit() and any(mark in (entry / "cgroup").read_text() for mark in marks)
            if is_its and (entry / "cmdline").read_bytes().partition(b"\0")[0] != b"/pause":
                found.append(int(entry.name))
    return found


def kill(kubectl: Kubectl, pod: dict[str, Any]) -> None:
    """SIGKILL to the pod's container; where its processes are out of reach, a deletion that does not wait."""
    found = processes(pod)
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    if not found:
        kubectl.delete("pod", pod["metadata"]["name"], "--grace-period=0", "--force", "--wait=false")


def test_a_server_killed_under_load_costs_hardly_a_request_and_is_back_within_seconds(
    serving: dict[int, str], installed: release.Release, slices: Any
) -> None:
    kubectl = installed.kubectl
    with reached(kubectl) as url, called(url, slices) as caller:
        time.sleep(3)
        for _ in range(3):
            victim = ready(kubectl, SERVERS)[0]
            before, last, killed = caller.tally.failed, 0.0, time.monotonic()
            kill(kubectl, victim)
            until(lambda: len(ready(kubectl, SERVERS)) < 2, 20, "its end was noticed")
            seen = before
            while time.monotonic() - killed < RECOVERY_SECONDS + 2 or len(ready(kubectl, SERVERS)) < 2:
                assert time.monotonic() - killed < 90, "two servers are ready again"
                if caller.tally.failed > seen:
                    seen, last = caller.tally.failed, time.monotonic() - killed
                time.sleep(0.1)
            print(
                f"killed {victim['metadata']['name']}: {seen - before} failed, the last after {last:.1f} s; "
                f"two servers after {time.monotonic() - killed:.1f} s"
            )
            assert last <= RECOVERY_SECONDS, caller.tally.failures
    tally = caller.tally
    print(
        f"{tally.answered} of {tally.sent} answered; p99 {1000 * tally.quantile(0.99):.0f} ms; {dict(tally.failures)}"
    )
    assert tally.answered >= SUCCESS * tally.sent, tally.failures


def requests(installed: release.Release) -> Counter[str]:
    """What the API server did for the operators since they started, by method and resource. What it refuses, as it
    should the forged approvals by which they try the admission policies, is left out.
    """
    found: Counter[str] = Counter()
    for pod in installed.operator_pods():
        with installed.home.port_forward(f"pod/{pod}", 8080) as url:
            page = urllib.request.urlopen(f"{url}/metrics", timeout=10).read().decode()
        for line in page.splitlines():
            if line.startswith("rest_client_requests_total{"):
                labels, _, value = line.partition("{")[2].rpartition("} ")
                known = dict(part.split("=", 1) for part in labels.replace('"', "").split(","))
                if known["code"].startswith("2"):
                    found[f"{known['method']} {known['resource']}"] += int(float(value))
    return found


def versions(kubectl: Kubectl) -> dict[str, str]:
    """ResourceVersion of everything that an operator writes, Events included."""
    found = json.loads(kubectl.run("get", f"{WRITTEN},events", "-o", "json"))["items"]
    return {f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["resourceVersion"] for one in found}


def rests(kubectl: Kubectl) -> bool:
    """Whether no revision is on its way out, and nothing was written for a while."""
    before = versions(kubectl)
    time.sleep(QUIET_SECONDS)
    item = kubectl.get("mdep", NAME)
    return item is not None and not item["status"].get("retiring") and versions(kubectl) == before


@pytest.mark.timeout(IDLE_SECONDS + 300)
def test_idle_operators_write_their_lease_and_nothing_else(serving: dict[int, str], installed: release.Release) -> None:
    kubectl = installed.kubectl
    for kind in ("mdep", "mtr", "mds"):  # what other tests left may have reasons to go on
        for one in kubectl.list(kind):
            if one["metadata"]["name"] != NAME:
                kubectl.delete(kind, one["metadata"]["name"], "--wait")
    settled(kubectl, str(kubectl.get("mdep", NAME)["status"]["stable"]["model"]))  # type: ignore[index]
    until(lambda: rests(kubectl), 120, "nothing changes any more")
    pods, before, known = installed.operator_pods(), requests(installed), versions(kubectl)
    time.sleep(IDLE_SECONDS)
    after = requests(installed) - before
    assert installed.operator_pods() == pods, "no operator was replaced meanwhile"
    assert len(pods) == 2
    written = {name: count for name, count in after.items() if name.partition(" ")[0] not in READS}
    print(f"in {IDLE_SECONDS:.0f} s: {dict(after)}")
    assert set(written) == {"UPDATE leases"}
    assert versions(kubectl) == known
