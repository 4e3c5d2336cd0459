"""Dataset: when to look at the source, and what becomes of the answer."""

from .decision import Observation, decide, looks_at
from .erasing import Descendant

__all__ = ["Descendant", "Observation", "decide", "looks_at"]
