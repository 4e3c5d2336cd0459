"""A plain Prometheus, pointed at the cluster, sees operator, servers and routers; every dashboard query has data."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace_demo import data, imports, objects, release, traffic
from millrace_demo.kubectl import Kubectl, is_true

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "manifests" / "dashboards" / "millrace.json"


def configuration(kubectl: Kubectl, directory: Path) -> dict[str, Any]:
    """Prometheus outside the cluster: finds pods by their annotations and reaches them through the API server."""
    view = json.loads(kubectl.run("config", "view", "--raw", "--flatten", "-o", "json"))
    cluster, user = view["clusters"][0]["cluster"], view["users"][0]["user"]
    import base64

    for name, value in (
        ("ca.crt", cluster["certificate-authority-data"]),
        ("client.crt", user["client-certificate-data"]),
        ("client.key", user["client-key-data"]),
    ):
        (directory / name).write_bytes(base64.b64decode(value))
    tls = {
        "ca_file": str(directory / "ca.crt"),
        "cert_file": str(directory / "client.crt"),
        "key_file": str(directory / "client.key"),
    }
    host = urllib.parse.urlparse(cluster["server"])
    pod = "__meta_kubernetes_pod"
    proxy = f"/api/v1/namespaces/{kubectl.namespace}/pods/$1:$2/proxy$3"
    return {
        "global": {"scrape_interval": "2s", "scrape_timeout": "2s"},
        "scrape_configs": [
            {
                "job_name": "millrace",
                "scheme": host.scheme,
                "tls_config": tls,
                "kubernetes_sd_configs": [
                    {
                        "role": "pod",
                        "api_server": cluster["server"],
                        "tls_config": tls,
                        "namespaces": {"names": [kubectl.namespace]},
                    }
                ],
                "relabel_configs": [
                    {
                        "source_labels": [f"{pod}_annotation_prometheus_io_scrape"],
                        "action": "keep",
                        "regex": "true",
                    },
                    {"source_labels": [f"{pod}_phase"], "action": "keep", "regex": "Running"},
                    {
                        "source_labels": [f"{pod}_container_init"],
                        "action": "drop",
                        "regex": "true",
                    },
                    {
                        "source_labels": [
                            f"{pod}_container_port_number",
                            f"{pod}_annotation_prometheus_io_port",
                        ],
                        "regex": "(\\d+);\\1",
                        "action": "keep",
                    },
                    {
                        "source_labels": [
                            f"{pod}_name",
                            f"{pod}_annotation_prometheus_io_port",
                            f"{pod}_annotation_prometheus_io_path",
                        ],
                        "regex": "(.+);(.+);(.+)",
                        "target_label": "__metrics_path__",
                        "replacement": proxy,
                    },
                    {"target_label": "__address__", "replacement": host.netloc},
                    {"source_labels": [f"{pod}_name"], "target_label": "pod"},
                    {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
                    {
                        "source_labels": [f"{pod}_label_millrace_dev_component"],
                        "target_label": "component",
                    },
                    {
                        "source_labels": [f"{pod}_label_millrace_dev_deployment"],
                        "target_label": "deployment",
                    },
                ],
            }
        ],
    }


class Prometheus:
    """A running Prometheus."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The instant vector of a PromQL expression."""
        return list(self._get("/api/v1/query?" + urllib.parse.urlencode({"query": expression}))["data"]["result"])

    def targets(self) -> list[dict[str, Any]]:
        """What is scraped, with its health."""
        return list(self._get("/api/v1/targets?state=active")["data"]["activeTargets"])

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.load(answer)


@pytest.fixture(scope="module")
def prometheus(kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Debian's Prometheus with an empty database."""
    directory = tmp_path_factory.mktemp("prometheus")
    (directory / "prometheus.yml").write_text(json.dumps(configuration(kubectl, directory)))
    log = (directory / "log").open("w")
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={directory}/prometheus.yml",
            f"--storage.tsdb.path={directory}/data",
            "--web.listen-address=127.0.0.1:19090",
        ],
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        yield Prometheus("http://127.0.0.1:19090")
    finally:
        process.terminate()
        process.wait(timeout=20)
        log.close()


def expressions() -> dict[str, str]:
    """Every query of the dashboard, its variables widened to everything."""
    board = json.loads(DASHBOARD.read_text())
    panels = [panel for outer in board["panels"] for panel in (outer, *outer.get("panels", []))]
    found = {}
    for panel in panels:
        for number, target in enumerate(panel.get("targets", [])):
            text = target["expr"].replace("$__rate_interval", "30s").replace("$__range", "5m")
            for variable in board.get("templating", {}).get("list", []):
                for form in (f"${variable['name']}", f"${{{variable['name']}}}"):
                    text = text.replace(form, ".+" if variable["type"] == "query" else ".*")
            found[f"{panel['title']} {number}"] = text
    return found


def test_a_prometheus_scrapes_everything_and_every_dashboard_query_has_data(
    kubectl: Kubectl,
    installed: release.Release,
    importer: Any,
    prometheus: Prometheus,
    slices: tuple[data.Slice, data.Slice],
) -> None:
    importer.approved("watched", 1, imports.logistic(1.0))
    kubectl.apply(
        objects.deployment("watched", "watched", None, monitoring={"drift": {"interval": "2s", "minSamples": 100}})
    )
    kubectl.until("mdep", "watched", lambda item: is_true(item, "Ready"), 120, "Ready")
    with (
        kubectl.port_forward("svc/watched", 80) as url,
        traffic.Caller(url, "watched", slices[0].rows, 20.0),
    ):
        empty: dict[str, str] = expressions()
        deadline = time.monotonic() + 90
        while empty and time.monotonic() < deadline:
            time.sleep(2)
            empty = {title: text for title, text in empty.items() if not prometheus.query(text)}
    components = {target["labels"].get("component") for target in prometheus.targets() if target["health"] == "up"}
    assert {"server", "router", "operator"} <= components
    assert empty == {}
