"""A real Envoy on loopback, configured by files that are swapped as a ConfigMap mount swaps them."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
import pytest
import yaml
import yarl

from millrace import programs
from millrace.contract import exposition
from millrace.contract import router as contract
from millrace.programs import router as router_process
from millrace.render import router, router_bootstrap
from millrace_cluster import evidence, ports

sys.path.insert(0, str(Path(__file__).parents[1] / "runtime" / "serving" / "kit"))
sys.path.insert(0, str(Path(__file__).parent / "kit"))

from router_kit import dns
from serving_kit import models, process


def envoy_binary() -> Path:
    package = importlib.util.find_spec("envoy")
    assert package is not None
    assert package.submodule_search_locations
    return Path(package.submodule_search_locations[0]) / "_bin" / "envoy"


@dataclass
class Router:
    """One Envoy; `apply` swaps its files, `settled` waits until it serves by them."""

    directory: Path
    session: aiohttp.ClientSession
    paths: router_bootstrap.RouterPaths = field(init=False)
    process: subprocess.Popen[bytes] | None = None
    hostname: str = "router-0"
    leaving: router_process.Leaving | None = None
    """How it leaves when it is told to end, as in its pod; else Envoy alone is started, and ends."""
    names: int = 0
    """The port of a name server that the clusters ask, in place of this machine's."""

    def __post_init__(self) -> None:
        self.paths = router_bootstrap.RouterPaths(str(self.directory), "127.0.0.1", *ports.free_ports(3))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.paths.port}"

    @property
    def stats_url(self) -> str:
        return f"http://127.0.0.1:{self.paths.stats_port}"

    def start(self) -> None:
        evidence.offer(self, lambda: {"Envoy's log": self.log()})
        with (self.directory / "envoy.log").open("ab") as log:
            command = [
                *(str(envoy_binary()), "-c", str(self.directory / "bootstrap.yaml"), "--concurrency", "1"),
                *("--log-level", "warning", "--disable-hot-restart"),
            ]
            if self.leaving is not None:
                command = [sys.executable, *programs.router_command(self.leaving, command)[1:]]
            self.process = subprocess.Popen(
                command,
                stderr=log,
                stdout=log,
                env={**os.environ, "HOSTNAME": self.hostname},
                start_new_session=True,
            )

    def stop(self) -> None:
        evidence.withdraw(self)
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(10)
            self.process = None

    def write(self, config: router.RouterConfig) -> None:
        """Write a new directory and rename the symlink `..data` to it: what the kubelet does."""
        data = router.config_map_data(config, self.paths)
        if self.names:
            data[router_bootstrap.CLUSTERS_FILE] = self._asking(data[router_bootstrap.CLUSTERS_FILE])
        version = self.directory / f"..{time.time_ns()}"
        version.mkdir()
        for name, text in data.items():
            (version / name).write_text(text)
        temporary = self.directory / "..data_tmp"
        temporary.symlink_to(version.name)
        temporary.rename(self.directory / "..data")
        for name in data:
            if not (self.directory / name).is_symlink():
                (self.directory / name).symlink_to(f"..data/{name}")

    def _asking(self, clusters: str) -> str:
        """The same clusters, resolving their names elsewhere."""
        found = yaml.safe_load(clusters)
        for one in found["resources"]:
            if one["cluster_type"]["name"] == "envoy.clusters.dns":
                one["cluster_type"]["typed_config"]["typed_dns_resolver_config"] = dns.resolver(self.names)
        return yaml.safe_dump(found)

    async def apply(self, config: router.RouterConfig) -> None:
        self.write(config)
        if self.process is None:
            self.start()
        await self.until(lambda: self._applies(config), "the generation is applied")

    async def _applies(self, config: router.RouterConfig) -> bool:
        return await self.text(router_bootstrap.GENERATION_PATH) == config.generation

    async def healthy(self, revision: str, servers: int = 1) -> None:
        async def enough() -> bool:
            found = (await self.traffic()).get(revision)
            return found is not None and found.healthy == servers

        await self.until(enough, f"{revision} has {servers} healthy servers")

    async def until(self, holds: Callable[[], object], what: str, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process is not None
            assert self.process.poll() is None, self.log()
            try:
                if await holds():  # type: ignore[misc]
                    return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.02)
        raise AssertionError(f"not after {seconds} s: {what}; {self.log()}")

    async def text(self, path: str) -> str:
        async with self.session.get(yarl.URL(self.stats_url + path, encoded=True)) as response:
            return await response.text()

    async def traffic(self) -> dict[str, contract.RevisionTraffic]:
        return contract.revisions(exposition.parse(await self.text(contract.SCRAPE_PATH)))

    def log(self) -> str:
        return (self.directory / "envoy.log").read_text()


@dataclass
class Load:
    """Requests at a fixed rate, whether or not the earlier ones were answered; every answer is checked."""

    url: str
    model: models.Model
    rate: float = 100
    beyond: bool = False
    """Send rows on which the `failing` model fails; the regressor takes them."""
    by_version: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0
    sent: int = 0
    _stopping: bool = False

    async def one(self, session: aiohttp.ClientSession) -> None:
        self.sent += 1
        row = self.sent % 400
        request = self.model.rows(row, row + 1)
        if self.beyond:
            request["inputs"][0]["data"][0] = 0.5
        started = time.monotonic()
        try:
            async with session.post(f"{self.url}/v2/models/churn/infer", data=models.dump(request)) as response:
                body = await response.json()
                if response.status != 200:
                    self.failures.append(f"{response.status} {body}")
                    return
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            self.failures.append(f"{type(error).__name__} {error}")
            return
        self.slowest = max(self.slowest, time.monotonic() - started)
        version = body["model_version"]
        self.by_version[version] = self.by_version.get(version, 0) + 1

    async def run(self, session: aiohttp.ClientSession, requests: int | None = None) -> None:
        """Until `stop`, or so many requests."""
        start, tasks = time.monotonic(), []
        while not self._stopping and (requests is None or len(tasks) < requests):
            tasks.append(asyncio.create_task(self.one(session)))
            await asyncio.sleep(max(0.0, start + len(tasks) / self.rate - time.monotonic()))
        await asyncio.gather(*tasks)

    def stop(self) -> None:
        self._stopping = True


@dataclass
class Servers:
    """Server processes by version; the test says when each one starts and ends."""

    directory: Path
    running: dict[str, process.Server] = field(default_factory=dict)

    def start(self, model: models.Model, version: str, **changes: object) -> process.Server:
        directory = self.directory / f"server-{version}-{len(self.running)}"
        directory.mkdir()
        server = process.start(model, directory, model_version=version, revision=revision(version), **changes)
        self.running[version] = server
        return server

    def stop(self) -> None:
        for server in self.running.values():
            server.kill()


def revision(version: str) -> str:
    return f"{int(version):08x}"


def backend(server: process.Server, weight: int, fallback: str | None = None) -> router.Backend:
    return router.Backend(
        server.settings.revision,
        "localhost",
        server.settings.port,
        weight,
        None if fallback is None else revision(fallback),
    )


def config(*backends: router.Backend, **changes: float) -> router.RouterConfig:
    return replace(router.RouterConfig(tuple(backends)), **changes)


@pytest.fixture(scope="session")
def regressor() -> models.Model:
    return models.regressor()


@pytest.fixture(scope="session")
def failing() -> models.Model:
    """Reproduces its golden set, and fails on every row that `Load(beyond=True)` sends."""
    return models.gather()


@pytest.fixture
async def session():
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


@pytest.fixture
def servers(tmp_path) -> Iterator[Servers]:
    servers = Servers(tmp_path)
    yield servers
    servers.stop()


@pytest.fixture
def envoy(tmp_path, session) -> Iterator[Router]:
    directory = tmp_path / "router"
    directory.mkdir()
    running = Router(directory, session)
    yield running
    running.stop()


@pytest.fixture
def load(envoy, regressor) -> Load:
    return Load(envoy.url, regressor)


@pytest.fixture
def wiring():
    """The makers of this folder, as importlib-mode tests cannot import their conftest."""
    return Wiring()


@contextlib.asynccontextmanager
async def another(
    envoy: Router,
    hostname: str,
    applied: router.RouterConfig,
    leaving: Callable[[Router], router_process.Leaving] | None = None,
) -> AsyncIterator[Router]:
    """A further router of the same Deployment."""
    directory = envoy.directory.parent / hostname
    directory.mkdir()
    running = Router(directory, envoy.session, hostname=hostname)
    running.leaving = leaving(running) if leaving is not None else None
    try:
        await running.apply(applied)
        yield running
    finally:
        running.stop()


class Wiring:
    another = staticmethod(another)
    backend = staticmethod(backend)
    config = staticmethod(config)
    revision = staticmethod(revision)
    envoy_binary = staticmethod(envoy_binary)


os.environ["ORT_DISABLE_TELEMETRY"] = "1"
