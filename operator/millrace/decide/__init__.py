"""Pure decisions: an Observation in, a Plan out. No clock, no network, no randomness."""
