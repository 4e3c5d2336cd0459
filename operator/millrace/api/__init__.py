"""The four kinds as users write them."""

from .dataset import Dataset, DatasetSpec
from .dataset_status import DatasetStatus
from .deployment import Deployment, DeploymentSpec, DeploymentStatus
from .model import Model, ModelSpec, ModelStatus
from .training_run import TrainingRun, TrainingRunSpec, TrainingRunStatus

__all__ = [
    "Dataset",
    "DatasetSpec",
    "DatasetStatus",
    "Deployment",
    "DeploymentSpec",
    "DeploymentStatus",
    "Model",
    "ModelSpec",
    "ModelStatus",
    "TrainingRun",
    "TrainingRunSpec",
    "TrainingRunStatus",
]
