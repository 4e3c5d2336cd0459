"""All attacks that are one request."""

from __future__ import annotations

from typing import Final

from .claiming import CLAIMING
from .deciding import DECIDING
from .ground import Attack
from .reaching import REACHING

ATTACKS: Final[tuple[Attack, ...]] = (*DECIDING.attacks, *CLAIMING.attacks, *REACHING.attacks)
