"""Whether an answer may stand."""

from __future__ import annotations

import json
import re

from millrace_fuzz_serving.lanes import Heard
from millrace_fuzz_serving.mutations import Case

DELIBERATE = frozenset({503})
_INTERNALS = re.compile(
    rb"Traceback|site-packages|millrace_runtime|onnxruntime|numpy|orjson|uvicorn|/opt/|/usr/|/tmp/|[.]py|0x[0-9a-f]{6}"
)
_OF_THE_PARSER = b"Invalid HTTP request received."
"""What the HTTP server says of bytes that are no request; it never reaches the protocol."""


def fault(case: Case, heard: Heard) -> str:
    """`""`, or what is wrong: `crash`, `unexpected-5xx`, `no-answer`, `refused`, `internals` or `no-error-object`."""
    if heard.refused:
        return "crash"
    if any(status >= 500 and status not in DELIBERATE for status in heard.statuses):
        return "unexpected-5xx"
    if case.framed and not heard.statuses:
        return "no-answer"
    if case.valid and heard.statuses[:1] != (200,):
        return "refused"
    return _of_an_error(case, heard) if heard.statuses and heard.statuses[0] >= 400 else ""


def _of_an_error(case: Case, heard: Heard) -> str:
    if _INTERNALS.search(heard.data):
        return "internals"
    return "" if _is_error(case, heard) else "no-error-object"


def _is_error(case: Case, heard: Heard) -> bool:
    if heard.body.startswith(_OF_THE_PARSER) or case.wire.startswith(b"HEAD ") or not case.framed:
        return True
    try:
        found = json.loads(heard.body)
    except ValueError:
        return False
    return isinstance(found, dict) and isinstance(found.get("error"), str) and len(found) == 1
