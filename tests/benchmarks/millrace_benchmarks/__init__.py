"""Which benchmarks there are, on what machine they ran, and the one table of all of them."""
