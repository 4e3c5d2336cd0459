"""The cache is never older than what its watch has shown, whatever order late answers come in."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace import errors
from millrace.api import resources
from millrace.api.resources import ResourceType
from millrace.clients.kube import Kube
from millrace.clients.store import Key, Manifest, Store
from millrace.controller import live
from millrace_kit.manifests import make_manifest

KEY = Key(resources.JOBS, "default", "j")


def job(uid: str, version: int) -> Manifest:
    return make_manifest(resources.JOBS, "j", uid=uid, version=str(version))


@dataclass
class Cluster:
    """One name at an API server, the watch that follows it, and requests whose answers take their time."""

    store: Store = field(default_factory=Store)
    history: list[Manifest | None] = field(default_factory=lambda: [None])
    """What the name stood for, from version to version."""
    shown: int = 0
    """Up to which version the watch has shown it."""
    asked: list[asyncio.Future[Manifest | None]] = field(default_factory=list)
    reads: list[asyncio.Task[Any]] = field(default_factory=list)
    served: list[tuple[asyncio.Future[Manifest | None], Manifest | None]] = field(default_factory=list)
    newest: int = 0
    """What the cache held last; once that is known to be gone, what the watch has shown."""

    async def get(self, resource: ResourceType, namespace: str, name: str) -> Manifest:
        answer: asyncio.Future[Manifest | None] = asyncio.get_running_loop().create_future()
        self.asked.append(answer)
        found = await answer
        if found is None:
            raise errors.NotFound("no such object", status=404)
        return found

    def learn(self, resource: ResourceType, manifest: Manifest, gone: bool) -> None:
        """As the kernel does."""
        if gone:
            self.store.drop(*KEY, uid=manifest["metadata"]["uid"])
        else:
            self.store.put(resource, manifest)

    def happen(self, kind: int) -> None:
        """The object is made or deleted, or changes."""
        last, version = self.history[-1], len(self.history)
        if last is None:
            self.history.append(job(f"uid-{version}", version))
        else:
            self.history.append(None if kind == 0 else job(last["metadata"]["uid"], version))

    def watch(self) -> None:
        """The watch shows the next change."""
        if self.shown + 1 < len(self.history):
            before, self.shown = self.history[self.shown], self.shown + 1
            now = self.history[self.shown]
            if now is not None or before is not None:
                self.learn(resources.JOBS, now or before or {}, gone=now is None)

    def ask(self) -> None:
        """Somebody reads the object live."""
        self.reads.append(asyncio.ensure_future(live.read(cast("Kube", self), self.store, KEY, self.learn)))

    def serve(self) -> None:
        """The API server makes its answer to the oldest request; it is on its way from now on."""
        if self.asked:
            self.served.append((self.asked.pop(0), self.history[-1]))

    def answer(self, which: int) -> None:
        """One of the answers arrives."""
        if self.served:
            answer, found = self.served.pop(which % len(self.served))
            answer.set_result(found)

    def check(self) -> None:
        """What is cached never gets older than it was or than the watch has shown, and is there unless it went."""
        cached, shown = self.store.get(*KEY), self.history[self.shown]
        if cached is None:
            went = any(one is None for one in self.history[self.shown :])
            assert shown is None or went, "it vanished although it has never gone"
            self.newest = self.shown
            return
        version = int(cached["metadata"]["resourceVersion"])
        assert version >= self.newest, "an older one took its place"
        assert version >= self.shown, "what the watch has shown to be gone came back"
        self.newest = version


async def story(steps: Sequence[tuple[str, int]]) -> None:
    cluster = Cluster()
    for what, which in steps:
        if what == "happen":
            cluster.happen(which)
        elif what == "answer":
            cluster.answer(which)
        else:
            getattr(cluster, what)()
        for _ in range(3):
            await asyncio.sleep(0)
        cluster.check()
    while any(not read.done() for read in cluster.reads):
        cluster.serve()
        cluster.answer(0)
        await asyncio.sleep(0)
        cluster.check()
    while cluster.shown + 1 < len(cluster.history):
        cluster.watch()
        cluster.check()
    last = cluster.history[-1]
    cached = cluster.store.get(*KEY)
    assert (cached is None) is (last is None)
    assert cached is None or cached["metadata"]["resourceVersion"] == (last or {})["metadata"]["resourceVersion"]


STEPS = st.lists(
    st.tuples(st.sampled_from(("happen", "happen", "watch", "watch", "ask", "serve", "answer")), st.integers(0, 2)),
    max_size=40,
)


@settings(deadline=None)
@given(STEPS)
def test_the_cache_is_never_older_than_what_the_watch_has_shown(steps: list[tuple[str, int]]) -> None:
    asyncio.run(story(steps))


@pytest.mark.parametrize(
    "steps",
    [
        # It is deleted, somebody asks for it, and is told so after the watch has shown its successor.
        "happen1 watch ask happen0 serve happen1 watch watch answer",
        # Its successor was read live; what the watch shows next is older.
        "happen1 watch happen1 happen0 happen1 ask serve answer watch",
        # It was read live, and went, before the answer came.
        "happen1 watch ask serve happen0 watch answer",
        # The same, with a successor that went as well.
        "happen1 ask serve watch happen0 happen1 happen0 watch watch watch answer",
    ],
    ids=["recreated", "succeeded", "gone", "nobody left"],
)
async def test_answers_that_come_late_change_nothing_that_is_newer(steps: str) -> None:
    await story([(one.rstrip("012"), int(one[-1]) if one[-1].isdigit() else 0) for one in steps.split()])
