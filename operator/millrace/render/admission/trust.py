"""Whom the policies of a release know by user name, and which namespaces they rule: those that its operator watches.

By name, never by verb: a wildcard role, which cluster administrators and GitOps controllers have, holds every verb.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from millrace.api.base import Frozen

SERVICE_ACCOUNT = "system:serviceaccount:"


Selector = dict[str, Any]
"""A namespaceSelector."""
NAME = "kubernetes.io/metadata.name"
"""The label that every namespace has, and nobody can change."""


class Trust(Frozen):
    """CEL, true or false about one request. Literals here; in the chart's templates its values stand in their place."""

    operates: str
    """Whether the operator asks."""
    applies_for_others: str
    """Whether a trusted applier asks: it may state another person's `author`, and then states itself in `appliedBy`."""
    approves_as_account: str
    """Whether one asks that is no person, and yet counts as an approver where RBAC gives it the verb."""
    stores: str
    """Whether the embedded store's account asks."""
    is_home: str
    """Whether the object is in the operator's own namespace."""
    watched: str
    """CEL of a text: which namespaces it watches."""
    ruled: Selector
    """The namespaces that it watches. Where these are not named all are ruled, its own too: a label comes and goes."""
    elsewhere: Selector
    """The namespaces that no release watches."""

    @property
    def person(self) -> dict[str, str]:
        """A variable: whether a person asks, or an account that counts as one.

        Who applies for others says what others have written, whatever its name is, and so is none.
        """
        is_none = f"request.userInfo.username.startsWith('{SERVICE_ACCOUNT}') || {self.applies_for_others}"
        return {"person": f"!({is_none}) || {self.approves_as_account}"}


def account(namespace: str, name: str) -> str:
    """The user name of a service account."""
    return f"{SERVICE_ACCOUNT}{namespace}:{name}"


def trust(
    operators: Sequence[str],
    *,
    appliers: Sequence[str] = (),
    approving_accounts: Sequence[str] = (),
    stores: Sequence[str] = (),
    home: str = "",
    namespaces: Sequence[str] = (),
) -> Trust:
    """Trust in these user names; without `namespaces` every one but `home` is watched."""
    return Trust(
        operates=asks(operators),
        applies_for_others=asks(appliers),
        approves_as_account=asks(approving_accounts),
        stores=asks(stores),
        is_home=f"request.namespace == {json.dumps(home)}",
        watched=f"string({json.dumps(', '.join(namespaces) or 'all')})",
        ruled=_named("In", namespaces) if namespaces else {},
        elsewhere=_named("NotIn", [*namespaces, home]) if namespaces else _named("In", [home or "NOWHERE"]),
    )


def asks(users: Sequence[str]) -> str:
    """CEL: whether one of these asks."""
    return f"request.userInfo.username in {_list(users)}"


def _named(operator: str, namespaces: Sequence[str]) -> Selector:
    if not namespaces:
        return {}
    return {"matchExpressions": [{"key": NAME, "operator": operator, "values": [name for name in namespaces if name]}]}


def _list(texts: Sequence[str]) -> str:
    return json.dumps(list(texts))
