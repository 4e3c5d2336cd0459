"""The sweep's own package, beside the tests that need it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "killsweep"))
