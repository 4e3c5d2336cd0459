"""Values that mean nothing, whatever the schema says: what people type by mistake, and what would never work.

Found by the place's meaning, not by its schema: a pattern that is dropped or too wide is noticed here. Where the value
is an object the message may name it or anything in it.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from typing import Any

DURATIONS = ("5", "-5m", "1d", "5 m", "1h30", "forever", "m5", "1w", "PT5M", "1,5h", "\u0665m")
URIS = (
    "http://lake/x", "file:///etc/passwd", "s3://", "s3:///key", "s3://LAKE/key", "lake/key", "s3://la ke/key",
    "s3:/lake/key", "s3://lake\n/key", "S3://lake/key", "s3://la/key", "s3://a..b/key", "s3://-lake/key",
    "s3://lake-/key", "s3://" + "a" * 64 + "/key", "s3://la_ke/key",
)  # fmt: skip
DIGESTS = (
    "sha256:", f"sha256:{'A' * 64}", f"sha512:{'a' * 64}", "a" * 64, f"sha256:{'a' * 63}", f"sha256:{'g' * 64}",
)  # fmt: skip
NAMES = ("Churn", "churn_1", "-churn", "churn-", "chürn", "churn.v1", "a b", "7churn", "churn/1", "x" * 64)
SECRETS = ("Lake", "lake_reader", "-lake", "lake-", "a..b", ".a", "a.", "a.-b", "lake/reader", "a b")
AMOUNTS = ("-1", "1 Gi", "1GiB", "", ".5", "5.", "one", "1.2.3", "1mm", "1,5", "0x10", "\uff11", "Infinity", "NaN")
ESTIMATORS = (
    "os.system", "sklearn", "sklearn.ensemble", "sklearn.svm.SVC()", "sklearn..SVC", "sklearn.svm.__import__",
    "sklearn.svm.SVC;import os", "Sklearn.svm.SVC", "sklearn/svm/SVC", "sklearn.svm.SVC.fit", "xgboost.XGBClassifier",
)  # fmt: skip
VERSIONS = ("0", "-1", "01", "v1", "1.0", "latest", "1e3", "1 ")
REVISIONS = ("3AA210C4", "3aa210c", "3aa210c45", "stable", "zzzzzzzz", "0x3aa210")
TIMES = ("yesterday", "2026-11-20", "2026-13-20T09:00:00Z", "2026-11-20T25:00:00Z", "2026-11-20 09:00:00Z", "0")
RESOURCES: tuple[dict[str, Any], ...] = (
    {"limits": {"nvidia.com/gpu": "0.5"}},
    {"limits": {"nvidia.com/gpu": "500m"}},
    {"requests": {"nvidia.com/gpu": "1"}},
    {"requests": {"nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": "2"}},
    {"limits": {"nvidia.com/": "1"}},
    {"limits": {"/gpu": "1"}},
    {"limits": {"a/b/c": "1"}},
    {"limits": {"NVIDIA.com/gpu": "1"}},
    {"limits": {"nvidia.com/g pu": "1"}},
    {"limits": {"requests.nvidia.com/gpu": "1"}},
    {"limits": {"gpu": "1"}},
    {"limits": {"CPU": "1"}},
    {"requests": {"cpus": "1"}},
    {"requests": {"": "1"}},
    {"requests": {"cpu": "2"}, "limits": {"cpu": "1900m"}},
    {"requests": {"memory": "1Gi"}, "limits": {"memory": "1G"}},
)
COLUMNS: tuple[dict[str, Any], ...] = (
    {"name": "plan", "type": "String", "minimum": 3},
    {"name": "flag", "type": "Bool", "maximum": 1},
    {"name": "born", "type": "Timestamp", "minimum": 0, "maximum": 5},
)

BY_PLACE: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("*.interval", DURATIONS),
    ("*.duration", DURATIONS),
    ("*.maxDuration", DURATIONS),
    ("*.progressDeadline", DURATIONS),
    ("*.cooldown", DURATIONS),
    ("*.for", DURATIONS),
    ("*Uri", URIS),
    ("*.digest", DIGESTS),
    ("*.secretRef.name", SECRETS),
    ("*.keyRef.name", SECRETS),
    ("*Ref.name", NAMES),
    ("*.modelName", NAMES),
    ("*.provenance.dataset.name", NAMES),
    ("*.rules[[][]].name", NAMES),
    ("*.gates[[][]].name", NAMES),
    ("*.metrics[[][]].name", NAMES),
    ("*.triggers[[][]].name", NAMES),
    ("*.requests.*", AMOUNTS),
    ("*.limits.cpu", AMOUNTS),
    ("*.limits.memory", AMOUNTS),
    ("*.limits.nvidia*", AMOUNTS),
    ("*.estimator", ESTIMATORS),
    ("spec.version", VERSIONS),
    ("*.revision", REVISIONS),
    ("*.time", TIMES),
    ("spec.schema.fields[[][]]", COLUMNS),
    ("spec.server.resources", RESOURCES),
    ("*.resourcesPerNode", RESOURCES),
    ("spec.worker.resources", RESOURCES),
    ("spec.csv.delimiter", ("a", "7", '"', "'", "\n", ";;", "\\t", "")),
)


def at(place: str) -> Iterator[Any]:
    """What means nothing at a place, positions left out."""
    for pattern, values in BY_PLACE:
        if fnmatch.fnmatchcase(place, pattern):
            if pattern == "*Ref.name" and ("secretRef" in place or "keyRef" in place):
                continue
            yield from values
