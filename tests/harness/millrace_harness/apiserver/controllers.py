"""What kube-controller-manager does beside the API server. It writes as "controllers" and is never disturbed."""

from __future__ import annotations

from .garbage import GarbageCollector
from .jobs import JobController
from .server import ApiServer
from .workloads import WorkloadController


class Controllers:
    """Jobs, workloads and garbage of one server."""

    def __init__(self, server: ApiServer) -> None:
        self.jobs = JobController(server)
        self.workloads = WorkloadController(server)
        self.garbage = GarbageCollector(server)
