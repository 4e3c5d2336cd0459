"""Where things are kept that outlive a checkout."""

from __future__ import annotations

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
CLUSTER = Path("/var/cache")
"""The embedded cluster's files lie in a directory below it."""


def cache() -> Path:
    """The directory for everything built: MILLRACE_CACHE, else `millrace` in the user's cache directory."""
    chosen = os.environ.get("MILLRACE_CACHE")
    return Path(chosen).expanduser().resolve() if chosen else user_cache() / "millrace"


def user_cache() -> Path:
    """XDG_CACHE_HOME, else ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def go_modules() -> Path:
    """Where Go keeps what it downloads."""
    own = os.environ.get("GOMODCACHE")
    return Path(own) if own else Path(os.environ.get("GOPATH") or Path.home() / "go") / "pkg" / "mod"


def go_builds() -> Path:
    """Where Go keeps what it compiled."""
    return Path(os.environ.get("GOCACHE") or user_cache() / "go-build")


def has_base_image() -> bool:
    """Whether the base image of `tests/images` was made before."""
    return any((cache() / "images").glob("base-*/rootfs.tar"))
