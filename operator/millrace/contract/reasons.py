"""Every reason a pod may give for what became of its work: CamelCase facts, equal to condition and event reasons."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """One fact; `doc` is its sentence for people."""

    doc: str

    def __new__(cls, value: str, doc: str = "") -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.doc = doc
        return member

    # The store and the source of a Dataset
    SOURCE_NOT_FOUND = "SourceNotFound", "There is no object at the source URI."
    SOURCE_EMPTY = "SourceEmpty", "The source holds no rows."
    SOURCE_MALFORMED = "SourceMalformed", "The source cannot be parsed in the stated format."
    SCHEMA_MISMATCH = "SchemaMismatch", "The source's columns are not those of the schema."
    RULE_VIOLATED = "RuleViolated", "A rule of the Dataset does not hold for the source."
    STORE_UNAVAILABLE = "StoreUnavailable", "The object store did not answer."
    STORE_DENIED = "StoreDenied", "The object store refused the credentials."

    # A training run
    TRAINER_CRASHED = "TrainerCrashed", "The trainer ended with an error."
    TRAINER_OUT_OF_MEMORY = "TrainerOutOfMemory", "The trainer used more memory than its limit."
    DEADLINE_EXCEEDED = "DeadlineExceeded", "The run did not end within its deadline."
    NO_MODEL_WRITTEN = "NoModelWritten", "The trainer ended without writing a model."
    NOT_ONNX = "NotOnnx", "The file the trainer wrote is not an ONNX model."
    EXTERNAL_DATA = "ExternalData", "The model refers to data outside its file."
    OPERATOR_NOT_ALLOWED = "OperatorNotAllowed", "The model uses an operator that is not on the allow-list."
    MODEL_TOO_LARGE = "ModelTooLarge", "The model is larger than the limit."
    PARITY_FAILED = "ParityFailed", "The ONNX model does not answer as the trained estimator does."
    UNKNOWN_PARAMETER = "UnknownParameter", "The estimator has no such parameter."
    UNKNOWN_ESTIMATOR = "UnknownEstimator", "There is no such built-in estimator."
    LABEL_MISSING = "LabelMissing", "The snapshot has no label column."
    EVALUATION_FAILED = "EvaluationFailed", "The model could not be measured on the held-out rows."
    GATES_FAILED = "GatesFailed", "A gate of the run did not hold."

    # A server
    DIGEST_MISMATCH = "DigestMismatch", "The bytes loaded are not those that were approved."
    MODEL_NOT_LOADABLE = "ModelNotLoadable", "The runtime cannot load the model."
    GOLDEN_SET_MISMATCH = "GoldenSetMismatch", "The loaded model does not reproduce its golden set."
