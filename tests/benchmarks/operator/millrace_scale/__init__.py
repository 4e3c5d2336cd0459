"""The operator at scale, beside Go operators on one API server."""
