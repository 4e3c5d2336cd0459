"""Input and output: the API server, the cache of its watches, the clock."""
