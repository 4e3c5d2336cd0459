"""Deletion requests that the API server refuses: (where the rule stands, what it says, the path, changes)."""

from __future__ import annotations

from typing import Any

Case = tuple[str, str, str, dict[str, Any]]

DIGEST = "0f7a41c2-5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
"""The one of the sample."""
OTHER = f"0f7a41c2-{'6' * 64}"
_FIELD = "erasure.field must be in schema.fields, with role Id"
_KEY, _IDS = "a key of ids is the digest of an Id", "spec.erasure.ids"

REFUSED: tuple[Case, ...] = (
    ("spec", _FIELD, "spec.erasure.field", {"spec.erasure.field": "ghost"}),
    ("spec", _FIELD, "spec.erasure.field", {"spec.erasure.field": "plan"}),
    ("spec", _FIELD, "spec.erasure.field", {"spec.schema.fields[0].role": "Sensitive", "spec.validation.rules": []}),
    ("spec", _FIELD, "spec.erasure.field", {"spec.schema.fields[0].type": "Timestamp"}),
    *(
        ("spec.erasure", _KEY, _IDS, {_IDS: {key: "DSR-1"}})
        for key in ("alice@example.com", "4711", DIGEST.upper(), f"{DIGEST}0", DIGEST[:-1], DIGEST.replace("-", "_"))
    ),
)

TAKEN_BACK: tuple[Case, ...] = (
    ("spec", "Ids that are to be forgotten stay so", "spec.erasure", {"spec.erasure": None}),
    ("spec.erasure", "an Id that is to be forgotten stays so", _IDS, {_IDS: {}}),
    ("spec.erasure", "an Id that is to be forgotten stays so", _IDS, {_IDS: {OTHER: "DSR-1042"}}),
)
"""Changes of the sample that would let somebody come back."""
