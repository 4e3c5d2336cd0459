"""Configuration files of the node: containerd, CNI, kubelet, kube-proxy and CoreDNS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from millrace_cluster import addresses

PAUSE_IMAGE = "localhost/pause:1"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"


def containerd(cni_plugins: Path, cni_config: Path, runc: str, snapshotter: str) -> str:
    """The config.toml of containerd, version 3."""
    return f"""version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.erofs"]

[grpc]
address = "{CONTAINERD_SOCKET}"

[plugins.'io.containerd.cri.v1.images']
snapshotter = "{snapshotter}"

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "{PAUSE_IMAGE}"

[plugins.'io.containerd.cri.v1.runtime']
# Without CAP_SYS_RESOURCE runc may not lower a score; it would die instead.
restrict_oom_score_adj = true

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = "{runc}"
SystemdCgroup = false

[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["{cni_plugins}"]
conf_dir = "{cni_config}"
"""


def cni() -> str:
    """The pod network: a routed cable per pod (no bridge, so services need no br_netfilter) and host ports."""
    ipam = {
        "type": "host-local",
        "ranges": [[{"subnet": addresses.NODE_POD_RANGE}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": "/run/cni-addresses",
    }
    plugins: list[dict[str, Any]] = [
        {"type": "ptp", "ipMasq": False, "ipam": ipam},
        {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
    ]
    return json.dumps({"cniVersion": "1.0.0", "name": "millrace", "plugins": plugins}, indent=1)


def kubelet(client_authority: Path, resolver: Path, plugin_directory: Path) -> str:
    """KubeletConfiguration. Nothing is evicted or collected for want of disk: images here cannot be pulled again."""
    signals = ("memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree")
    return json.dumps({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "0.0.0.0",
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True},
                           "x509": {"clientCAFile": str(client_authority)}},
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{addresses.CGROUP}",
        "clusterDNS": [addresses.NODE_IP],
        "clusterDomain": addresses.DNS_DOMAIN,
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "enforceNodeAllocatable": [],
        "evictionHard": dict.fromkeys(signals, "0%"),
        "failCgroupV1": False,
        "failSwapOn": False,
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "imageMinimumGCAge": "8760h",
        "imageMaximumGCAge": "0s",
        "maxPods": 200,
        "oomScoreAdj": 0,
        "registerNode": True,
        "resolvConf": str(resolver),
        "serializeImagePulls": False,
        "shutdownGracePeriod": "0s",
        "syncFrequency": "10s",
        "volumePluginDir": str(plugin_directory),
    }, indent=1)  # fmt: skip


def kube_proxy(kubeconfig: Path) -> str:
    """KubeProxyConfiguration, iptables mode; the machine-wide conntrack table is left as it is."""
    return json.dumps({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "clusterCIDR": addresses.POD_RANGE,
        "conntrack": {"maxPerCore": 0, "min": 0},
        "hostnameOverride": addresses.NODE_NAME,
        "iptables": {"minSyncPeriod": "100ms", "syncPeriod": "5m"},
        "mode": "iptables",
        "oomScoreAdj": 0,
    }, indent=1)  # fmt: skip


def coredns(kubeconfig: Path) -> str:
    """Corefile: the cluster's own names, the machine's alias, and a prompt "no such name" for everything else."""
    bind = f"    bind {addresses.NODE_IP}\n    errors\n"
    return f"""{addresses.DNS_DOMAIN} in-addr.arpa {{
{bind}    kubernetes {addresses.DNS_DOMAIN} in-addr.arpa {{
        kubeconfig {kubeconfig} dns
        pods insecure
        ttl 2
    }}
}}
millrace.internal {{
{bind}    hosts {{
        {addresses.HOST_IP} {addresses.HOST_ALIAS}
        ttl 60
    }}
}}
. {{
{bind}    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""
