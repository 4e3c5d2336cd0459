"""References between objects: always by name, always in the same namespace."""

from __future__ import annotations

from .base import Shape
from .quantities import DnsName, ObjectName


class NameRef(Shape):
    """An object of a kind that the field implies."""

    name: DnsName
    """Its name, in the same namespace."""


class SecretRef(Shape):
    """A Secret. Whoever names it needs the verb `get` on it (admission policy)."""

    name: ObjectName
    """Its name, in the same namespace."""
