"""Runs the tiers of the tests, some side by side, and says last what failed."""
