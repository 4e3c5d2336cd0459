"""A plain Prometheus, pointed at the cluster, sees operator, servers and routers; every dashboard query has data."""

from __future__ import annotations

import base64
import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace_demo import data, imports, marker, objects, release, traffic
from millrace_demo.kubectl import Kubectl, is_true

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "manifests" / "dashboards" / "millrace.json"


def configuration(kubectl: Kubectl, directory: Path) -> dict[str, Any]:
    """Prometheus outside the cluster reaches pods through the API server; Debian's has no Kubernetes discovery."""
    view = json.loads(kubectl.run("config", "view", "--raw", "--flatten", "--minify", "-o", "json"))
    cluster, user = view["clusters"][0]["cluster"], view["users"][0]["user"]
    for name, value in (
        ("ca.crt", cluster["certificate-authority-data"]),
        ("client.crt", user["client-certificate-data"]),
        ("client.key", user["client-key-data"]),
    ):
        (directory / name).write_bytes(base64.b64decode(value))
    job = {
        "job_name": "millrace",
        "scheme": urllib.parse.urlparse(cluster["server"]).scheme,
        "tls_config": {
            "ca_file": str(directory / "ca.crt"),
            "cert_file": str(directory / "client.crt"),
            "key_file": str(directory / "client.key"),
        },
        "file_sd_configs": [{"files": [str(directory / "targets.json")], "refresh_interval": "2s"}],
    }
    return {"global": {"scrape_interval": "2s", "scrape_timeout": "2s"}, "scrape_configs": [job]}


def targets(kubectl: Kubectl, server: str) -> list[dict[str, Any]]:
    """What a discovery by pod annotations finds, where the team is and where the operator is."""
    found = []
    for pod in [*kubectl.list("pods"), *kubectl.within(marker.home(kubectl.namespace)).list("pods")]:
        meta = pod["metadata"]
        notes, labels = meta.get("annotations", {}), meta.get("labels", {})
        if notes.get("prometheus.io/scrape") != "true" or pod["status"].get("phase") != "Running":
            continue
        where = f"{meta['name']}:{notes['prometheus.io/port']}/proxy{notes['prometheus.io/path']}"
        given = {
            "__metrics_path__": f"/api/v1/namespaces/{meta['namespace']}/pods/{where}",
            "namespace": meta["namespace"],
            "pod": meta["name"],
            "component": labels.get("millrace.dev/component", ""),
            "deployment": labels.get("millrace.dev/deployment", ""),
        }
        found.append({"targets": [server], "labels": given})
    return found


class Prometheus:
    """A running Prometheus."""

    def __init__(self, url: str, discovered: Path) -> None:
        self.url = url
        self._discovered = discovered

    def discover(self, kubectl: Kubectl) -> None:
        """Look at the pods again."""
        view = kubectl.run("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
        server = urllib.parse.urlparse(view)
        self._discovered.write_text(json.dumps(targets(kubectl, server.netloc)))

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
    (directory / "targets.json").write_text("[]")
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
        yield started("http://127.0.0.1:19090", process, directory)
    finally:
        process.terminate()
        process.wait(timeout=20)
        log.close()


def started(url: str, process: subprocess.Popen[bytes], directory: Path) -> Prometheus:
    """Wait until it answers; its own log is the message when it does not."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=5):
                return Prometheus(url, directory / "targets.json")
        except OSError:
            time.sleep(0.3)
    pytest.fail(f"Prometheus did not start: {(directory / 'log').read_text()[-1500:]}")


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
            prometheus.discover(kubectl)
            time.sleep(2)
            empty = {title: text for title, text in empty.items() if not prometheus.query(text)}
    components = {target["labels"].get("component") for target in prometheus.targets() if target["health"] == "up"}
    assert {"server", "router", "operator"} <= components
    assert empty == {}
