"""Fixed names and addresses of the embedded cluster.

The whole node lives in namespaces of its own (network, mount, PID, UTS, IPC), joined to the machine by one virtual
cable: `LINK` with `HOST_IP` on the machine's side, `NODE_IP` on the node's. The node has no other way out.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

# Clusters with different numbers (0 to 7) share nothing and can be up together; the tests of this tool use that.
INSTANCE = int(os.environ.get("MILLRACE_CLUSTER_INSTANCE") or "0")
_SUFFIX = str(INSTANCE or "")

NODE_NAME = "millrace"
HOST_IP = f"10.243.255.{4 * INSTANCE + 1}"
NODE_IP = f"10.243.255.{4 * INSTANCE + 2}"
CABLE = f"10.243.255.{4 * INSTANCE}/30"
POD_RANGE = f"10.{244 + INSTANCE}.0.0/16"
NODE_POD_RANGE = f"10.{244 + INSTANCE}.0.0/24"
SERVICE_RANGE = f"10.{96 + INSTANCE}.0.0/16"
API_SERVICE_IP = f"10.{96 + INSTANCE}.0.1"
DNS_DOMAIN = "cluster.local"
API_PORT = 6443
PREFERRED_HOST_PORT = 16443 + INSTANCE
LINK = f"millrace{INSTANCE}"
NODE_LINK = "node0"
GUARD_CHAIN = f"MILLRACE-GUARD{_SUFFIX}"
CGROUP = f"millrace{_SUFFIX}"
HOST_ALIAS = "host.millrace.internal"

# Everything of a running cluster but the built programs. Not under /run, which may be a small tmpfs, nor under a
# directory the node mounts over (/var/lib, /var/log, /run).
STATE = Path(f"/var/cache/millrace-cluster{_SUFFIX}")


def overlaps(one: str, other: str) -> bool:
    """Whether two IPv4 ranges share an address."""
    return ipaddress.ip_network(one, strict=False).overlaps(ipaddress.ip_network(other, strict=False))
