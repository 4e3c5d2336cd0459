"""Labels, annotations and names that the operator puts on objects."""

from __future__ import annotations

GROUP = "millrace.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FIELD_MANAGER = "millrace"

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED_BY_VALUE = "millrace"

COMPONENT = f"{GROUP}/component"
DATASET = f"{GROUP}/dataset"
TRAINING_RUN = f"{GROUP}/training-run"
TRAINING_RUN_UID = f"{GROUP}/training-run-uid"
MODEL_NAME = f"{GROUP}/model-name"
MODEL = f"{GROUP}/model"
DEPLOYMENT = f"{GROUP}/deployment"
DEPLOYMENT_UID = f"{GROUP}/deployment-uid"
REVISION = f"{GROUP}/revision"
TRIGGER = f"{GROUP}/trigger"

CONFIG_HASH = f"{GROUP}/config-hash"
"""Annotation on router pods: a change makes the kubelet refresh the mounted ConfigMap at once."""

APPLIED = f"{GROUP}/applied"
"""Annotation on everything the operator applies: a hash of the whole intent, so that it need not be applied again."""
