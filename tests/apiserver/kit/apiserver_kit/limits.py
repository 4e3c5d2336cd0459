"""Limits of what is kept that the schema refuses: where, what it says, the field, and the change."""

from __future__ import annotations

REFUSED = (
    (
        "spec.retention", "gracePeriod must be at least 1m", "spec.retention.gracePeriod",
        {"spec.retention.gracePeriod": "59s999ms"},
    ),
)  # fmt: skip
