from __future__ import annotations

import json

import pytest

from millrace_killsweep import writes
from millrace_killsweep.points import Points
from millrace_killsweep.writes import Target, Write

BASE = "/apis/millrace.dev/v1alpha1/namespaces/ml"


@pytest.mark.parametrize(
    "path,expected",
    [
        ("/api/v1/namespaces/ml/pods/a/status?x=1", Target("pods", "ml", "a", "status")),
        ("/api/v1/namespaces/ml/configmaps", Target("configmaps", "ml", "")),
        (f"{BASE}/models/a-1", Target("models.millrace.dev", "ml", "a-1")),
        (f"{BASE}/models/a-1/status", Target("models.millrace.dev", "ml", "a-1", "status")),
        ("/api/v1/namespaces/ml", Target("namespaces", "", "ml")),
        ("/apis/millrace.dev/v1alpha1", None),
        ("/version", None),
    ],
)
def test_a_path_names_an_object(path: str, expected: Target | None):
    assert writes.target(path) == expected


@pytest.mark.parametrize(
    "method,path,expected",
    [
        ("PATCH", f"{BASE}/models/a-1/status?fieldManager=millrace&force=true", True),
        ("DELETE", "/apis/batch/v1/namespaces/ml/jobs/a", True),
        ("GET", f"{BASE}/models?watch=true", False),
        ("POST", f"{BASE}/models?dryRun=All", False),
        ("PUT", "/apis/coordination.k8s.io/v1/namespaces/ml/leases/a", False),
        ("POST", "/api/v1/namespaces/ml/events", False),
    ],
)
def test_reads_dry_runs_leases_and_events_are_never_kill_points(method: str, path: str, expected: bool):
    assert writes.is_counted(method, path) is expected


def test_a_write_is_effective_when_it_made_another_version_or_began_a_deletion():
    before = {"metadata": {"resourceVersion": "7"}}
    assert writes.is_effective("PATCH", before, {"metadata": {"resourceVersion": "8"}})
    assert not writes.is_effective("PATCH", before, {"metadata": {"resourceVersion": "7"}})
    assert writes.is_effective("POST", None, {"metadata": {"resourceVersion": "8"}})
    assert not writes.is_effective("POST", None, {"kind": "SelfSubjectReview", "metadata": {}})
    assert writes.is_effective("DELETE", before, {"kind": "Status", "metadata": {}})
    assert not writes.is_effective("DELETE", {"metadata": {"deletionTimestamp": "x"}}, {"kind": "Status"})


def test_content_ignores_times_and_versions_and_nothing_else():
    def body(version: str, moment: str, weight: int) -> dict[str, object]:
        return {"metadata": {"name": "a", "resourceVersion": version}, "status": {"since": moment, "weight": weight}}

    first = writes.content(body("7", "2026-01-01T00:00:00Z", 25))
    assert writes.content(body("8", "2026-01-01T00:00:05.123Z", 25)) == first
    assert writes.content(body("7", "2026-01-01T00:00:00Z", 50)) != first


def _write(name: str, content: str) -> Write:
    body = json.dumps({"metadata": {"name": name}, "spec": content}).encode()
    return writes.made("PATCH", f"/apis/batch/v1/namespaces/ml/jobs/{name}", "application/apply-patch+yaml", body)


def test_the_same_content_kills_once_and_a_place_kills_so_often():
    points = Points(most=2)
    assert points.judge(_write("a-snapshot-0123abcd", "x"))
    assert not points.judge(_write("a-snapshot-0123abcd", "x"))
    assert points.judge(_write("a-snapshot-fedc0123", "x"))
    assert not points.judge(_write("a-snapshot-99990000", "x"))
    assert [one.fate for one in points.seen] == ["killed", "repeated", "killed", "spared"]
    assert [one.ordinal for one in points.seen] == [1, 2, 1, 1]
    assert points.kills == 2
    assert points.created("jobs.batch") == {
        "a-snapshot-0123abcd": 2, "a-snapshot-fedc0123": 1, "a-snapshot-99990000": 1
    }  # fmt: skip


def test_without_kills_every_write_is_still_noted():
    points = Points(most=0)
    assert not points.judge(_write("a", "x"))
    assert [one.fate for one in points.seen] == ["undisturbed"]
    assert points.kills == 0
