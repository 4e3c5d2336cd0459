"""One JSON object per line on standard error: constant message, facts beside it."""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
from typing import Any

from millrace_runtime import verbosity


def write(level: str, message: str, **facts: Any) -> None:
    """Write one line, where MILLRACE_LOG_LEVEL lets it through; never raises for a value that JSON does not know."""
    if not verbosity.shows(verbosity.number(level)):
        return
    now = dt.datetime.fromtimestamp(time.time(), dt.UTC).isoformat(timespec="milliseconds")
    line = json.dumps({"time": now, "level": level, "message": message, **facts}, default=str, ensure_ascii=False)
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
