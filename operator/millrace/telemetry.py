"""What the operator says about itself: structured logs and Prometheus series.

Series that controller-runtime has too carry its names and labels, so dashboards made for it work; ours begin with
``millrace_``. Logs are one JSON object a line with a constant ``msg`` and key-values; a traceback is one field.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.04, 0.06, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Log:
    """A logger whose messages are constant and whose details are key-values."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, message: str, **values: Any) -> None:
        self._logger.debug(message, extra={"values": values})

    def info(self, message: str, **values: Any) -> None:
        self._logger.info(message, extra={"values": values})

    def warning(self, message: str, *, error: BaseException | None = None, **values: Any) -> None:
        self._logger.warning(message, exc_info=error, extra={"values": values})

    def failure(self, message: str, *, error: BaseException | None = None, **values: Any) -> None:
        self._logger.error(message, exc_info=error, extra={"values": values})


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
        }
        line.update(getattr(record, "values", None) or {})
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = str(record.exc_info[1])
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logs(level: str) -> None:
    """Send everything to stderr as JSON; kopf, which logs every handled event, only from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("kopf", "aiohttp.access", "asyncio"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))


class Series:
    """The operator's own series, in a registry of their own so that two operators fit into one test process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.depth = Gauge("workqueue_depth", "Keys that wait for a worker.", ["name"], registry=registry)
        self.adds = Counter("workqueue_adds", "Keys added to the queue.", ["name"], registry=registry)
        self.retries = Counter("workqueue_retries", "Keys added again after a failure.", ["name"], registry=registry)
        self.queued = Histogram(
            "workqueue_queue_duration_seconds", "From add to a worker.", ["name"], buckets=SECONDS, registry=registry
        )
        self.reconciles = Counter(
            "controller_runtime_reconcile", "Passes over an object.", ["controller", "result"], registry=registry
        )
        self.reconcile_time = Histogram(
            "controller_runtime_reconcile_time_seconds",
            "Duration of a pass, writes included.",
            ["controller"],
            buckets=SECONDS,
            registry=registry,
        )
        self.reconcile_errors = Counter(
            "controller_runtime_reconcile_errors", "Passes that failed.", ["controller"], registry=registry
        )
        self.requests = Counter(
            "rest_client_requests", "Requests to the API server.", ["code", "method", "resource"], registry=registry
        )
        self.request_time = Histogram(
            "rest_client_request_duration_seconds",
            "Duration of a request to the API server.",
            ["verb", "resource"],
            buckets=SECONDS,
            registry=registry,
        )
        self.leader = Gauge("leader_election_master_status", "1 on the leader.", ["name"], registry=registry)
        self.event_to_reconcile = Histogram(
            "millrace_event_to_reconcile_seconds",
            "From a watch event to the start of the pass it asked for.",
            ["controller"],
            buckets=SECONDS,
            registry=registry,
        )
        self.cached = Gauge("millrace_store_objects", "Objects in the cache.", ["resource"], registry=registry)
        self.stale = Gauge(
            "millrace_watch_stale_objects",
            "Objects of which the API server had a newer version than the cache for over 2 s at the last audit.",
            ["resource"],
            registry=registry,
        )
        self.ghosts = Counter(
            "millrace_watch_ghosts", "Objects the cache held although they were gone.", ["resource"], registry=registry
        )
        self.audited = Gauge(
            "millrace_audit_last_success_timestamp_seconds",
            "When the last audit ended.",
            ["resource"],
            registry=registry,
        )
        self.loop_lag = Gauge("millrace_loop_lag_seconds", "Lateness of the event loop's last beat.", registry=registry)

    def observe_request(self, verb: str, resource: str, code: str, seconds: float) -> None:
        """Count one request; the signature is ``clients.kube.Observer``."""
        self.requests.labels(code=code, method=verb.upper(), resource=resource).inc()
        self.request_time.labels(verb=verb, resource=resource).observe(seconds)


class QueueSeries:
    """A queue's series; the methods are ``controller.queue.Observer``."""

    def __init__(self, series: Series, name: str) -> None:
        self._depth = series.depth.labels(name=name)
        self._adds = series.adds.labels(name=name)
        self._retries = series.retries.labels(name=name)
        self._queued = series.queued.labels(name=name)

    def added(self) -> None:
        self._adds.inc()

    def retried(self) -> None:
        self._retries.inc()

    def depth(self, ready: int) -> None:
        self._depth.set(ready)

    def waited(self, seconds: float) -> None:
        self._queued.observe(seconds)
