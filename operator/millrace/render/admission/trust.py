"""Whom the policies know by user name, and where people's objects may be.

By name, never by verb: a wildcard role, which cluster administrators and GitOps controllers have, holds every verb.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from millrace.api.base import Frozen

SERVICE_ACCOUNT = "system:serviceaccount:"


class Trust(Frozen):
    """CEL, true or false about one request. Literals here; in the chart's templates its values stand in their place."""

    operates: str
    """Whether the operator asks."""
    applies_for_others: str
    """Whether a trusted applier asks: it may state another person's `author`, and then states itself in `appliedBy`."""
    approves_as_account: str
    """Whether a service account asks that counts as an approver where RBAC gives it the verb."""
    stores: str
    """Whether the embedded store's account asks."""
    is_watched: str
    """Whether the operator watches the namespace of the object."""
    watched: str
    """CEL of a text: which namespaces it watches."""


def account(namespace: str, name: str) -> str:
    """The user name of a service account."""
    return f"{SERVICE_ACCOUNT}{namespace}:{name}"


def trust(
    operators: Sequence[str],
    *,
    appliers: Sequence[str] = (),
    approving_accounts: Sequence[str] = (),
    stores: Sequence[str] = (),
    namespaces: Sequence[str] = (),
) -> Trust:
    """Trust in these user names; without `namespaces` every one is watched."""
    return Trust(
        operates=asks(operators),
        applies_for_others=asks(appliers),
        approves_as_account=asks(approving_accounts),
        stores=asks(stores),
        is_watched=f"request.namespace in {_list(namespaces)}" if namespaces else "true",
        watched=f"string({json.dumps(', '.join(namespaces) or 'all')})",
    )


def asks(users: Sequence[str]) -> str:
    """CEL: whether one of these asks."""
    return f"request.userInfo.username in {_list(users)}"


def _list(texts: Sequence[str]) -> str:
    return json.dumps(list(texts))
