"""Builds what changed, exports it as an archive in the cache, and forgets what it replaces."""

from __future__ import annotations

import dataclasses
import fcntl
from pathlib import Path

from millrace_cluster import binaries
from millrace_images import engines, inputs


@dataclasses.dataclass(frozen=True)
class Built:
    """An image that exists: its full name, and the archive it can be loaded from."""

    name: str
    reference: str
    archive: Path

    @property
    def repository(self) -> str:
        return self.reference.rpartition(":")[0]

    @property
    def tag(self) -> str:
        return self.reference.rpartition(":")[2]


def build(names: list[str] | None = None, *, engine: engines.Engine | None = None) -> list[Built]:
    """Makes every image asked for exist as an archive; returns them, unchanged ones too.

    Raises:
        ClusterError: a program is missing or a build failed; ready to print.
    """
    engine = engine or engines.choose()
    home = binaries.cache() / "images"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            base = engine.base()
            return [_ensure(image, engine, base) for image in inputs.named(names or [])]
        finally:
            engine.tidy()


def _ensure(image: inputs.Image, engine: engines.Engine, base: str) -> Built:
    if not image.on_base:
        binaries.ensure(["versitygw"])
    reference = inputs.reference_of(image, base)
    archive = binaries.cache() / "images" / f"{image.name}-{reference.rpartition(':')[2]}.tar"
    built = Built(image.name, reference, archive)
    if archive.exists():
        archive.touch()  # what is used is not forgotten
        return built
    arguments = {"BASE_IMAGE": base} if image.on_base else {}
    engine.build(inputs.ROOT / image.dockerfile, image.context, reference, arguments)
    draft = archive.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    engine.export(reference, draft)
    draft.rename(archive)
    _forget(engine, built)
    return built


def _forget(engine: engines.Engine, built: Built, keep: int = 3) -> None:
    """Drops older archives of the same image, and their names in the engine, beyond the newest `keep`: this checkout's,
    the one before it, and that of the older version which end-to-end tests upgrade from.
    """
    found = sorted(built.archive.parent.glob(f"{built.name}-*.tar"), key=lambda path: path.stat().st_mtime)
    for stale in found[:-keep]:
        stale.unlink()
        engine.remove(f"{built.repository}:{stale.stem.removeprefix(built.name + '-')}")
