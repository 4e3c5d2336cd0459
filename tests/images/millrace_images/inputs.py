"""What each image is made of, and its name: the tag is a digest of everything that goes in.

So an image whose inputs did not change is never built, exported or loaded again, and a changed one never hides behind
an old tag.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from millrace_cluster import binaries
from millrace_cluster.failure import ClusterError

ROOT = Path(__file__).resolve().parents[3]
PREFIX = "localhost/millrace"


@dataclasses.dataclass(frozen=True)
class Image:
    """One image: its Dockerfile and the files and folders that the Dockerfile copies, relative to the root."""

    name: str
    dockerfile: str
    sources: tuple[str, ...]
    on_base: bool = True

    @property
    def context(self) -> Path:
        """The build context: the checkout, or for the store the folder of its program."""
        return ROOT if self.on_base else binaries.path_of("versitygw").parent


_CONTRACT = ("operator/millrace/__init__.py", "operator/millrace/contract", "serving-image/millrace_runtime")
IMAGES = {
    image.name: image
    for image in (
        Image("operator", "operator/Dockerfile", ("requirements/operator.txt", "operator/millrace")),
        Image("server", "serving-image/server.Dockerfile", ("requirements/server.txt", *_CONTRACT)),
        Image("trainer", "serving-image/trainer.Dockerfile", ("requirements/trainer.txt", *_CONTRACT)),
        Image("router", "serving-image/router.Dockerfile", ("requirements/router.txt",)),
        Image("store", "tests/images/store.Dockerfile", (), on_base=False),
    )
}


def named(names: list[str]) -> list[Image]:
    """The images asked for; all of them when none is named.

    Raises:
        ClusterError: a name is not an image's.
    """
    for name in names:
        if name not in IMAGES:
            known = " ".join(IMAGES)
            raise ClusterError(f"{name} is not an image", f"the images: {known}", "python tests/images list", 2)
    return [IMAGES[name] for name in names or IMAGES]


def tag_of(image: Image, base: str) -> str:
    """`dev-` and a digest over the Dockerfile, every source file's path and bytes, and the base image's name.

    The word keeps YAML and `helm --set` from reading digits as a number.
    """
    digest = hashlib.sha256()
    for path in (ROOT / image.dockerfile, *_files(image)):
        digest.update(f"{path.relative_to(ROOT)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    digest.update((base if image.on_base else binaries.home_of(binaries.project_of("versitygw")).name).encode())
    return f"dev-{digest.hexdigest()[:12]}"


def prefix() -> str:
    """Where image names begin: IMAGE_PREFIX, for clusters that pull from your registry, else localhost/millrace."""
    return os.environ.get("IMAGE_PREFIX", PREFIX).rstrip("/")


def reference_of(image: Image, base: str) -> str:
    """The full name, `<prefix>/<name>:<tag>`."""
    return f"{prefix()}/{image.name}:{tag_of(image, base)}"


def _files(image: Image) -> Iterator[Path]:
    for source in image.sources:
        path = ROOT / source
        if path.is_file():
            yield path
            continue
        yield from sorted(found for found in path.rglob("*") if found.is_file() and "__pycache__" not in found.parts)
