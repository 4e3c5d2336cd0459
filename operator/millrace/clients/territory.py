"""Which namespaces the operator watches, and which of them it may.

names     each is listed and watched by itself, with a Role of its own; one that went or that lost its Role is left
          alone, and looked at again from time to time, while the others go on
*         all but the operator's own
a label   all that carry it; which these are is watched like any other kind

Of all, and of those with a label, the ones that another operator watches are left out: our policies do not rule there.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from millrace import errors
from millrace.api import resources
from millrace.clients.kube import Kube
from millrace.clients.store import Store
from millrace.telemetry import Log

if TYPE_CHECKING:
    from millrace.settings import Settings

log = Log(__name__)

SURVEY_SECONDS: Final = 30.0
EVERYWHERE: Final = ""


class Territory:
    """The namespaces of one operator. `open` are those that can be listed; `(EVERYWHERE,)` is a list across all."""

    def __init__(self, settings: Settings) -> None:
        self._own = settings.namespace
        self._wanted = settings.watched_namespaces
        self._others = settings.other_namespaces
        self.label = settings.watched_label
        # With one there is nothing to go on with while it is missing: whoever lists it finds out, and waits.
        self.open: tuple[str, ...] = self._wanted if len(self._wanted) < 2 else ()
        self.open = (EVERYWHERE,) if self.is_everywhere else self.open
        self._moved = asyncio.Event()

    @property
    def is_everywhere(self) -> bool:
        """Whether lists and watches go across all namespaces."""
        return not self._wanted

    @property
    def asked(self) -> tuple[str, ...]:
        """Where it is asked whether the admission policies are in force."""
        return (self._own,) if self.is_everywhere else self.open

    def holds(self, store: Store, namespace: str) -> bool:
        """Whether objects in that namespace are the operator's business."""
        if self.is_everywhere and namespace in self._others:
            return False
        if self.label:
            return store.get(resources.NAMESPACES, "", namespace) is not None
        return namespace != self._own if self.is_everywhere else namespace in self._wanted

    async def survey(self, kube: Kube) -> tuple[str, ...]:
        """Try which namespaces may be listed; returns those that no longer may."""
        if len(self._wanted) < 2:
            return ()
        found = tuple([name for name in self._wanted if await self._is_open(kube, name)])
        lost = tuple(name for name in self.open if name not in found)
        if found != self.open:
            log.info("namespaces", watched=found, closed=[name for name in self._wanted if name not in found])
            self.open = found
            self._moved.set()
        return lost

    async def moved(self) -> None:
        """Wait until other namespaces are open than before."""
        await self._moved.wait()
        self._moved.clear()

    async def _is_open(self, kube: Kube, namespace: str) -> bool:
        try:
            await kube.list_metadata(resources.DATASETS, namespace)
        except (errors.Forbidden, errors.NotFound):
            return False
        except errors.ApiError:
            return namespace in self.open  # it says nothing about the namespace
        return True
