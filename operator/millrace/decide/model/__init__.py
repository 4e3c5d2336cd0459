"""Model: who has approved this version, who serves it, and whether it may be served."""

from .decision import Observation, Rejection, Use, decide

__all__ = ["Observation", "Rejection", "Use", "decide"]
