"""Perturbation of the operator: the same workloads on a deterministic model of the API server and on a real one."""
