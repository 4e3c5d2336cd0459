"""Dataset: when to look at the source, and what becomes of the answer."""

from .decision import Observation, decide, looks_at

__all__ = ["Observation", "decide", "looks_at"]
