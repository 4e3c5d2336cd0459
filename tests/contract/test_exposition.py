"""Reading the text format, and adding up what the router's statistics say."""

from __future__ import annotations

import pytest

from millrace.contract import exposition, router

PAGE = """\
# HELP x y
# TYPE envoy_cluster_upstream_rq_total counter
envoy_cluster_upstream_rq_total{envoy_cluster_name="aaaa"} 12
envoy_cluster_upstream_rq_pending_failure_eject{envoy_cluster_name="aaaa"} 3
envoy_cluster_upstream_rq_total{envoy_cluster_name="aaaa-route"} 99
envoy_cluster_membership_healthy{envoy_cluster_name="aaaa"} 2
envoy_cluster_membership_total{envoy_cluster_name="aaaa"} 3
envoy_cluster_upstream_rq_completed{envoy_cluster_name="aaaa-route"} 10
envoy_cluster_upstream_rq_retry_success{envoy_cluster_name="aaaa-route"} 4
envoy_cluster_upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="aaaa-route"} 1
envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="aaaa-route"} 9
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="aaaa-route",le="0.5"} 7
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="aaaa-route",le="+Inf"} 10
envoy_cluster_upstream_rq_total{envoy_cluster_name="admin"} 500
envoy_server_live 1
"""


def test_statistics_add_up_by_revision():
    (found,) = router.revisions(exposition.parse(PAGE)).items()
    assert found == (
        "aaaa",
        router.RevisionTraffic(
            attempts=15, completed=10, saved=4, lost=1, healthy=2, latency_ms={0.5: 7, float("inf"): 10}
        ),
    )
    assert found[1].failed == 5


@pytest.mark.parametrize(
    "line,labels,value",
    [
        ("a 1", {}, 1.0),
        ("a{} 1 1700000000000", {}, 1.0),
        ('a{x="1",y="2",} 2.5e-3', {"x": "1", "y": "2"}, 0.0025),
        (r'a{x="q\"u\\o\nte, }="} +Inf', {"x": 'q"u\\o\nte, }='}, float("inf")),
    ],
)
def test_a_sample_is_read(line, labels, value):
    assert list(exposition.parse(line)) == [exposition.Sample("a", labels, value)]


@pytest.mark.parametrize("line", ["a", "a{ 1", "1a 2", "<html>", "a b"])
def test_what_is_no_sample_is_refused(line):
    with pytest.raises(ValueError, match=r"not a sample|could not convert"):
        list(exposition.parse(line))


@pytest.mark.parametrize("letter", ["\r", "\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"])
def test_only_a_line_feed_ends_a_line(letter):
    page = f'a{{x="one{letter}two"}} 1\nb{{x="three{letter}"}} 2\r\n\r\n'
    assert [(sample.labels["x"], sample.value) for sample in exposition.parse(page)] == [
        (f"one{letter}two", 1.0),
        (f"three{letter}", 2.0),
    ]
