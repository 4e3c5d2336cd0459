"""Pure manifests: what should exist in the cluster."""
