"""Custom resources mutated from their own schemas, against a real API server and the real operator."""
