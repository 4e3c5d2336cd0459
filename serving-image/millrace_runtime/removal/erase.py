"""Folder by folder, what makes it a version or a model first: what is half gone is none then, and never a broken one.

Every folder is looked at before anything goes: a task that names one which is not of its Dataset's versions, nor of a
run of its namespace, was written by nobody we know, and nothing at all is erased.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from millrace.contract import environment, places
from millrace.contract.reasons import Reason
from millrace.contract.removal import EraseTask
from millrace_runtime import store
from millrace_runtime.outcome import StageError, say, store_error
from millrace_runtime.snapshot import manifest

_FIRST = (manifest.FILE, environment.MODEL_FILE)
ROUNDS = 3
"""A store may list what it has just erased, or what somebody still writes: after so many looks it is a failure."""


@dataclass
class Erased:
    """What has gone so far: also of an attempt that then fails."""

    objects: int = 0
    bytes: int = 0


def erase(task: EraseTask, erased: Erased) -> None:
    """Leave nothing in any of the folders; what was there already counts for nothing. Raises StageError."""
    refused = [folder for folder in task.folders if not _is_own(folder, task)]
    if refused:
        text = f"{refused[0]} is not a folder of Dataset {task.dataset}, nor of a run of namespace {task.namespace}"
        raise StageError(Reason.ERASE_REFUSED, f"{text}: nothing was erased. Look at who writes its status.")
    for folder in task.folders:
        try:
            _empty(folder, erased)
        except store.StoreError as error:
            raise store_error(error, Reason.ERASE_FAILED, "the Secret of the store that may erase") from error
        say(f"{folder} is empty")


def _is_own(folder: str, task: EraseTask) -> bool:
    if places.is_version(folder, task.store_uri, task.namespace, task.dataset):
        return True
    return places.is_run(folder, task.store_uri, task.namespace)


def _empty(folder: str, erased: Erased) -> None:
    for _ in range(ROUNDS):
        sizes = {uri: size for uri, size in store.sizes(folder).items() if places.is_in(uri, folder)}
        if not sizes:
            return
        for uri in _in_order(sizes):
            store.erase(uri)
            erased.objects += 1
            erased.bytes += sizes[uri]
    if store.sizes(folder):
        text = f"{folder} is not empty although all in it was erased: somebody writes there"
        raise StageError(Reason.ERASE_FAILED, f"{text}. It is tried again.", retry=True)


def _in_order(uris: Iterable[str]) -> list[str]:
    return sorted(uris, key=lambda uri: (uri.rpartition("/")[2] not in _FIRST, uri))
