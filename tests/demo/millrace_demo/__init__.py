"""The story on real data: what `make demo` tells and what the end-to-end tests check."""
