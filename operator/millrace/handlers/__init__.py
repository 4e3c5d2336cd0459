"""The only place that knows kopf: watch events become keys."""
