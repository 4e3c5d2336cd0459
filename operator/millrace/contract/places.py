"""Where things are in the store: the same to whoever writes them, looks for them, or erases them.

<store>/datasets/<namespace>/<dataset>/<digest>/      a version of a Dataset
<store>/datasets/<namespace>/<dataset>/erasures/      who holds Ids that are to be forgotten: evidence, no version
<store>/models/<namespace>/<model name>/<run UID>/    what a run left: model, golden set, profile, card, report
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_ERASURES = "erasures"


def version(store_uri: str, namespace: str, dataset: str, digest: str) -> str:
    """The folder of a version, with a trailing slash."""
    return f"{versions(store_uri, namespace, dataset)}{short(digest)}/"


def versions(store_uri: str, namespace: str, dataset: str) -> str:
    """The folder that all versions of a Dataset are in, with a trailing slash."""
    return f"{store_uri.rstrip('/')}/datasets/{namespace}/{dataset}/"


def erasure(store_uri: str, namespace: str, dataset: str, list_digest: str) -> str:
    """The file that says which of them hold Ids that are to be forgotten."""
    return f"{versions(store_uri, namespace, dataset)}{_ERASURES}/{short(list_digest)}.json"


def short(digest: str) -> str:
    """What a folder or a file is called after a digest: `sha256-` and 16 digits."""
    return digest.replace(":", "-")[:23]


def run(store_uri: str, namespace: str, model_name: str, run_uid: str) -> str:
    """The folder of a run, without a trailing slash."""
    return f"{_models(store_uri, namespace)}{model_name}/{run_uid}"


def folder_of(uri: str) -> str:
    """The folder that a file is in, without a trailing slash."""
    return uri.rpartition("/")[0]


def is_in(uri: str, folder: str) -> bool:
    """Whether it is the folder, or something in it at any depth."""
    return f"{uri.rstrip('/')}/".startswith(f"{folder.rstrip('/')}/")


def above(uri: str) -> Iterator[str]:
    """Every folder that it is in, the nearest first, none with a trailing slash; the scheme is none."""
    folder = folder_of(uri.rstrip("/"))
    while folder and not folder.endswith("/"):
        yield folder
        folder = folder_of(folder)


def is_version(uri: str, store_uri: str, namespace: str, dataset: str) -> bool:
    """Whether it is the folder of one version of that Dataset: not a part of one, nor more than one."""
    home = versions(store_uri, namespace, dataset)
    return _parts(uri, home) == 1 and uri.removeprefix(home).rstrip("/") != _ERASURES


def is_run(uri: str, store_uri: str, namespace: str) -> bool:
    """Whether it is the folder of one run of that namespace: not a part of one, nor more than one."""
    return _parts(uri, _models(store_uri, namespace)) == 2


def _models(store_uri: str, namespace: str) -> str:
    return f"{store_uri.rstrip('/')}/models/{namespace}/"


def _parts(uri: str, prefix: str) -> int:
    """How many names there are below the prefix; 0 where it is not below it, or one of them is no plain name."""
    if not uri.startswith(prefix):
        return 0
    names = uri.removeprefix(prefix).removesuffix("/").split("/")
    return len(names) if all(_PART.fullmatch(name) and ".." not in name for name in names) else 0
