"""Reads the world into one frozen Observation a kind."""
