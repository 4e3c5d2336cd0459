"""What users do: create, change, approve and delete objects, and wait until they see what they expect.

They wait only for what stays: under a fault the operator may be late by minutes, and nobody may miss a passing state.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Literal, TypeVar

from millrace import errors
from millrace.api import resources
from millrace.api.resources import ResourceType
from millrace.clients.clock import Clock
from millrace.clients.kube import Kube
from millrace.clients.store import Manifest

from .kubelet import Pace, Pulse

T = TypeVar("T")

ALICE: Final = "alice"
"""Trains and deploys."""
BOB: Final = "bob"
"""Approves."""
CAROL: Final = "carol"
"""May do both."""
TRIES: Final = 20


class Unmet(AssertionError):
    """What was waited for did not come."""


class People:
    """The users of one namespace. `access` gives the open client of a user, by name."""

    def __init__(self, access: Callable[[str], Kube], namespace: str, clock: Clock, pace: Pace, pulse: Pulse) -> None:
        self.access, self.namespace = access, namespace
        self.clock, self.pace, self.pulse = clock, pace, pulse

    async def create(self, manifest: Manifest, user: str = ALICE) -> Manifest:
        """Create it; one of that name whose predecessor is still going is created once that is gone."""
        placed = {**manifest, "metadata": {**manifest["metadata"], "namespace": self.namespace}}

        async def attempt() -> Manifest | None:
            try:
                return await self.access(user).create(resources.of(placed), placed)
            except (errors.AlreadyExists, errors.Unavailable):
                return None

        made: Manifest = await self.until(attempt, f"{manifest['kind']} {manifest['metadata']['name']} can be created")
        return made

    async def get(self, resource: ResourceType, name: str, user: str = ALICE) -> Manifest | None:
        """The object as it is now."""
        try:
            return await self.access(user).get(resource, self.namespace, name)
        except errors.NotFound:
            return None

    async def list_as(self, user: str, resource: ResourceType, labels: Mapping[str, str]) -> list[Manifest]:
        """The objects of a kind with these labels."""
        found: list[Manifest] = await self.access(user).list(resource, self.namespace, labels)
        return found

    async def change(
        self, resource: ResourceType, name: str, change: Callable[[Manifest], Manifest], user: str = ALICE
    ) -> None:
        """Read, compute a merge patch, send it; again if somebody was faster."""
        for _ in range(TRIES):
            found = await self.access(user).get(resource, self.namespace, name)
            wanted = change(found)
            metadata = {**wanted.get("metadata", {}), "resourceVersion": found["metadata"]["resourceVersion"]}
            try:
                await self.access(user).patch(resource, self.namespace, name, {**wanted, "metadata": metadata})
            except errors.Conflict:
                continue
            return
        raise Unmet(f"{resource.kind} {name} changes all the time")

    async def edit(self, resource: ResourceType, name: str, user: str = ALICE, **spec: Any) -> None:
        """Set fields of the spec by their wire names; None removes one."""
        await self.change(resource, name, lambda _: {"spec": spec}, user)

    async def decide(
        self, model: str, decision: Literal["Approve", "Reject", "Revoke"] = "Approve", user: str = BOB
    ) -> None:
        """Add a decision about a Model."""

        def added(found: Manifest) -> Manifest:
            spec = found["spec"]
            entry = {"user": user, "decision": decision, "digest": spec["artifact"]["digest"]}
            return {"spec": {"approvals": [*(spec.get("approvals") or ()), entry]}}

        await self.change(resources.MODELS, model, added, user)

    async def delete(self, resource: ResourceType, name: str, user: str = ALICE) -> Manifest:
        """Delete that very object, and see it gone. What it owned goes after it. The object as it was last."""
        found = await self.access(user).get(resource, self.namespace, name)
        uid = found["metadata"]["uid"]
        await self.access(user).delete(resource, self.namespace, name, uid=uid)

        async def gone() -> bool:
            now = await self.get(resource, name, user)
            return now is None or now["metadata"]["uid"] != uid

        await self.until(gone, f"{resource.kind} {name} is gone")
        return found

    async def until(self, condition: Callable[[], Awaitable[T]], what: str) -> Any:
        """What the condition gives, once it gives something. Raises Unmet."""
        deadline = self.clock.monotonic() + self.pace.patience
        while True:
            found = await condition()
            if found:
                return found
            if self.clock.monotonic() >= deadline:
                raise Unmet(f"not within {self.pace.patience:g} s: {what}")
            await self.pulse(self.pace.poll)

    async def see(self, resource: ResourceType, name: str, what: str, test: Callable[[Manifest], Any]) -> Manifest:
        """The object once a test of it holds; a field that is not there yet is waited for."""

        async def found() -> Manifest | None:
            one = await self.get(resource, name)
            with contextlib.suppress(KeyError):
                return one if one is not None and test(one) else None
            return None

        try:
            seen: Manifest = await self.until(found, f"{resource.kind} {name}: {what}")
        except Unmet as unmet:
            one = await self.get(resource, name)
            status = (one.get("status") or {}) if one is not None else {"message": "it is gone"}
            raise Unmet(f"{unmet}; it says: {status.get('message')}") from None
        return seen

    async def standing(self, resource: ResourceType, name: str, condition: str, reason: str = "") -> Manifest:
        """The object once a condition of the present generation is True (for that reason)."""

        def holds(one: Manifest) -> bool:
            mark = condition_of(one, condition)
            current = mark.get("observedGeneration") == one["metadata"].get("generation")
            return current and mark.get("status") == "True" and reason in ("", mark.get("reason"))

        return await self.see(resource, name, f"{condition} {reason}".strip(), holds)

    async def stable(self, deployment: str, model: str) -> Manifest:
        """The Deployment once it serves that model alone."""

        def serves(one: Manifest) -> bool:
            status = one.get("status") or {}
            stable = status.get("stable") or {}
            return stable.get("model") == model and not status.get("canary") and stable.get("readyReplicas", 0) > 0

        return await self.see(resources.DEPLOYMENTS, deployment, f"{model} is stable", serves)

    async def canary(self, deployment: str, model: str, weight: int = 0) -> Manifest:
        """The Deployment once it tries that model with at least that weight."""

        def tries(one: Manifest) -> bool:
            canary = (one.get("status") or {}).get("canary") or {}
            return canary.get("model") == model and canary.get("weight", 0) >= weight

        return await self.see(resources.DEPLOYMENTS, deployment, f"{model} is tried at {weight} %", tries)


def condition_of(manifest: Manifest, kind: str) -> Manifest:
    """The condition of that type, or an empty one."""
    found = (manifest.get("status") or {}).get("conditions") or ()
    return next((one for one in found if one["type"] == kind), {})
