"""Every reason a pod may give for what became of its work, as it stands in conditions and events.

What each means to people, and what to do next, is said once: in `millrace.api.reasons`.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """One fact."""

    # The store and the source of a Dataset
    SOURCE_NOT_FOUND = "SourceNotFound"
    SOURCE_EMPTY = "SourceEmpty"
    SOURCE_MALFORMED = "SourceMalformed"
    SCHEMA_MISMATCH = "SchemaMismatch"
    RULE_VIOLATED = "RuleViolated"
    STORE_UNAVAILABLE = "StoreUnavailable"
    STORE_DENIED = "StoreDenied"
    SNAPSHOT_OUT_OF_MEMORY = "SnapshotOutOfMemory"
    SNAPSHOT_OUT_OF_DISK = "SnapshotOutOfDisk"
    SNAPSHOT_CRASHED = "SnapshotCrashed"
    ERASURE_KEY_MISSING = "ErasureKeyMissing"

    # What is erased
    ERASE_REFUSED = "EraseRefused"
    ERASE_FAILED = "EraseFailed"

    # A training run
    FETCH_FAILED = "FetchFailed"
    TRAINER_CRASHED = "TrainerCrashed"
    TRAINER_OUT_OF_MEMORY = "TrainerOutOfMemory"
    NO_MODEL_WRITTEN = "NoModelWritten"
    NOT_ONNX = "NotOnnx"
    EXTERNAL_DATA = "ExternalData"
    OPERATOR_NOT_ALLOWED = "OperatorNotAllowed"
    MODEL_TOO_LARGE = "ModelTooLarge"
    PARITY_FAILED = "ParityFailed"
    UNKNOWN_PARAMETER = "UnknownParameter"
    UNKNOWN_ESTIMATOR = "UnknownEstimator"
    LABEL_MISSING = "LabelMissing"
    TEST_ROWS_TRAINED = "TestRowsTrained"
    LABEL_NOT_SUITABLE = "LabelNotSuitable"
    ONE_CLASS = "OneClass"
    FEATURE_MISSING = "FeatureMissing"
    TOO_MANY_FEATURES = "TooManyFeatures"
    NOT_A_FEATURE = "NotAFeature"
    NUMBER_NOT_EXACT = "NumberNotExact"
    EVALUATION_FAILED = "EvaluationFailed"

    # Frozen bytes and a server
    DIGEST_MISMATCH = "DigestMismatch"
    MODEL_NOT_LOADABLE = "ModelNotLoadable"
    GOLDEN_SET_MISMATCH = "GoldenSetMismatch"
    MODEL_NOT_FOUND = "ModelNotFound"
    """The store has no such object now; it may have one again."""

    MALFORMED_REPORT = "MalformedReport"
    """Operator and image do not understand each other: they are of different versions."""
