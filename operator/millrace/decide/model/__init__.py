"""Model: who has approved this version, who serves it, and whether it may be served."""

from .decision import Observation, Use, count, decide

__all__ = ["Observation", "Use", "count", "decide"]
