"""TrainingRun: one attempt, from a frozen Dataset version to a Model or a named failure."""

from .decision import ModelView, Observation, decide, is_over

__all__ = ["ModelView", "Observation", "decide", "is_over"]
