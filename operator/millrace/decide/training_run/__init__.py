"""TrainingRun: one attempt, from a frozen Dataset version to a Model or a named failure."""

from .attempt import is_no_verdict
from .decision import ModelView, Observation, decide, is_admission_settled, is_over

__all__ = ["ModelView", "Observation", "decide", "is_admission_settled", "is_no_verdict", "is_over"]
