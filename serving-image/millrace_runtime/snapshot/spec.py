"""The task of a snapshot, read in the pod."""

from __future__ import annotations

import re
from collections.abc import Mapping

from millrace.contract import erasure
from millrace.contract.dataset import DatasetSpec, Method, Mode
from millrace.contract.environment import SnapshotTask
from millrace.contract.record import MalformedRecord
from millrace_runtime.outcome import TaskError, task_text


def read(environ: Mapping[str, str]) -> SnapshotTask:
    """Raises TaskError naming the field at fault."""
    text = task_text(environ)
    try:
        task = SnapshotTask.from_json(text)
    except MalformedRecord as error:
        raise TaskError(str(error)) from error
    _check(task.spec)
    if task.spec.erasure is not None and not all(re.fullmatch(erasure.PATTERN, one) for one in task.spec.erasure.ids):
        raise TaskError("erasure.ids: expected digests of Ids as keys")
    return task


def _check(spec: DatasetSpec) -> None:
    shares = spec.split.fractions
    total = shares.train + shares.validation + shares.test
    if min(shares.train, shares.validation, shares.test) < 0 or abs(total - 1) > 1e-6:
        raise TaskError(f"split.fractions: expected shares that add up to 1, got {total:g}")
    if spec.split.method is Method.STRATIFIED and not spec.split.field:
        raise TaskError("split.field: required with Stratified")
    if spec.split.method is Method.TIME and spec.split.group_by:
        raise TaskError("split.groupBy: Time divides by when a row happened, not by whose it is")
    if spec.schema.mode is not Mode.INFER and not spec.schema.fields:
        raise TaskError(f"schema.fields: required with mode {spec.schema.mode}")
    names = [field.name for field in spec.schema.fields]
    if len(set(names)) != len(names):
        raise TaskError("schema.fields: a name appears twice")
    for rule in spec.validation.rules:
        if [rule.row_count, rule.null_fraction, rule.unique].count(None) != 2:
            raise TaskError(f"validation.rules: {rule.name} needs exactly one of rowCount, nullFraction, unique")
