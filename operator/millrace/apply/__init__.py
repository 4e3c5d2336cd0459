"""The only place that writes to the cluster: a Plan is carried out."""
