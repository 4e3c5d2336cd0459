"""Deployment: which revision serves, how a new one takes over, whether its rows drift, and when to retrain."""

from .decision import decide
from .observation import Observation

__all__ = ["Observation", "decide"]
