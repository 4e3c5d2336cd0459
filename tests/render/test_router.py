"""The router's files as values; that Envoy does what they say is shown in tests/router."""

from __future__ import annotations

import pytest
import yaml

from millrace.render import router
from millrace.render.router import Backend, RouterConfig

STABLE = Backend("aaaaaaaa", "churn-aaaaaaaa.ml.svc", weight=75)
CANARY = Backend("bbbbbbbb", "churn-bbbbbbbb.ml.svc", weight=25, fallback="aaaaaaaa")


def clusters(config):
    return {cluster["name"]: cluster for cluster in yaml.safe_load(router.clusters(config))["resources"]}


def inference(config):
    (resource,) = yaml.safe_load(router.routes(config))["resources"]
    return resource["virtual_hosts"][1]["routes"][0]


def weights(config):
    return {item["name"]: item["weight"] for item in inference(config)["route"]["weighted_clusters"]["clusters"]}


def test_weights_go_to_the_route_cluster_of_each_revision():
    assert weights(RouterConfig((STABLE, CANARY))) == {"aaaaaaaa-route": 75, "bbbbbbbb-route": 25}


def test_a_revision_of_weight_0_keeps_its_cluster_and_has_no_route():
    config = RouterConfig((Backend("aaaaaaaa", "a", weight=100), Backend("bbbbbbbb", "b")))
    assert set(clusters(config)) == {"aaaaaaaa", "bbbbbbbb", "aaaaaaaa-route", "bbbbbbbb-route"}
    assert weights(config) == {"aaaaaaaa-route": 100}


def test_a_canary_falls_back_to_stable_and_stable_to_nobody():
    found = clusters(RouterConfig((STABLE, CANARY)))
    order = {
        name: found[f"{name}-route"]["cluster_type"]["typed_config"]["clusters"] for name in ("aaaaaaaa", "bbbbbbbb")
    }
    assert order == {"aaaaaaaa": ["aaaaaaaa"], "bbbbbbbb": ["bbbbbbbb", "aaaaaaaa"]}


def test_a_canary_may_retry_every_failure_and_stable_a_fifth():
    found = clusters(RouterConfig((STABLE, CANARY)))
    budgets = {
        name: found[name]["circuit_breakers"]["thresholds"][0]["retry_budget"]["budget_percent"]["value"]
        for name in ("aaaaaaaa-route", "bbbbbbbb-route")
    }
    assert budgets == {"aaaaaaaa-route": 20.0, "bbbbbbbb-route": 100.0}


def test_servers_are_ejected_for_silence_and_never_for_answers():
    detection = clusters(RouterConfig((Backend("aaaaaaaa", "a", weight=100),)))["aaaaaaaa"]["outlier_detection"]
    enforced = {name for name, value in detection.items() if name.startswith("enforcing") and value}
    assert enforced == {"enforcing_consecutive_local_origin_failure"}


def test_the_generation_changes_with_weights_and_with_nothing_else():
    config = RouterConfig((STABLE, CANARY))
    assert config.generation == RouterConfig((CANARY, STABLE)).generation
    assert config.generation == RouterConfig((Backend("aaaaaaaa", "elsewhere", weight=75), CANARY)).generation
    other = RouterConfig(
        (Backend("aaaaaaaa", "a", weight=76), Backend("bbbbbbbb", "b", weight=24, fallback="aaaaaaaa"))
    )
    assert config.generation != other.generation
    assert config.generation in router.routes(config)


def test_the_same_configuration_gives_the_same_bytes_in_any_order():
    one, other = (router.config_map_data(RouterConfig(pair)) for pair in ((STABLE, CANARY), (CANARY, STABLE)))
    assert one == other
    assert router.config_hash(one) == router.config_hash(other)
    assert router.config_hash(one) != router.config_hash(router.config_map_data(RouterConfig()))


def test_the_bootstrap_does_not_depend_on_revisions():
    data = [
        router.config_map_data(config)["bootstrap.yaml"] for config in (RouterConfig(), RouterConfig((STABLE, CANARY)))
    ]
    assert data[0] == data[1]
    assert set(router.config_map_data(RouterConfig())) == {"bootstrap.yaml", "cds.yaml", "rds.yaml"}


def test_administration_listens_on_loopback_only():
    bootstrap = yaml.safe_load(router.bootstrap())
    assert bootstrap["admin"]["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 9901}
    ports = {item["name"]: item["address"]["socket_address"] for item in bootstrap["static_resources"]["listeners"]}
    assert ports == {
        "public": {"address": "0.0.0.0", "port_value": 8080},
        "stats": {"address": "0.0.0.0", "port_value": 9902},
    }


def test_without_weights_every_request_is_answered_503():
    assert inference(RouterConfig())["direct_response"]["status"] == 503
    assert inference(RouterConfig((Backend("aaaaaaaa", "a"),)))["direct_response"]["status"] == 503


@pytest.mark.parametrize(
    "backends,words",
    [
        ((Backend("a", "a", weight=99),), "add up to 99, expected 100"),
        ((Backend("a", "a", weight=101),), "add up to 101"),
        ((Backend("a", "a", weight=150), Backend("b", "b", weight=-50)), "add up to 100"),
        ((Backend("a", "a", weight=50), Backend("a", "b", weight=50)), "not distinct: a, a"),
        ((Backend("a", "a", weight=100, fallback="z"),), "a falls back to z, which is no other backend"),
        ((Backend("a", "a", weight=100, fallback="a"),), "a falls back to a"),
    ],
)
def test_what_does_not_fit_together_is_refused(backends, words):
    with pytest.raises(ValueError, match=words):
        RouterConfig(backends)
