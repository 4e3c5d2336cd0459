"""`millrace erasure`: Ids to the digests that stand in spec.erasure.ids of a Dataset.

Ids are read from standard input, one a line, so that they stand in no history of a shell and no list of processes. What
is printed is a merge patch, which adds to the Ids that are there already:

    kubectl -n ml get secret churn-erasure -o jsonpath='{.data.key}' | base64 -d > key
    kubectl -n ml patch mds churn --type merge -p "$(millrace erasure --key-file key --reference DSR-1042 < ids)"
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from millrace.api.erasure import MOST_IDS
from millrace.contract import erasure


def main(arguments: Sequence[str]) -> int:
    """Return 0, 1 for an Id or key that cannot be taken, with a sentence on stderr, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(
        prog="millrace erasure", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--key-file", type=Path, required=True, help="holds the key: the value of the Secret")
    parser.add_argument("--reference", default="", help="why, such as the number of the request; never the Id")
    options = parser.parse_args(arguments)
    try:
        made = patch(options.key_file.read_text(encoding="utf-8"), sys.stdin.read(), options.reference)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"millrace erasure: {error}\n")
        return 1
    sys.stdout.write(f"{made}\n")
    return 0


def patch(key_text: str, lines: str, reference: str) -> str:
    """The merge patch. Raises ValueError for a key that is too short, for no Ids or too many, or for a reference that
    holds one.
    """
    key = erasure.key_of(key_text)
    if len(key) < erasure.LEAST_KEY_BYTES:
        raise ValueError(f"the key has {len(key)} bytes, {erasure.LEAST_KEY_BYTES} are needed: openssl rand -hex 32")
    ids = [line for line in lines.splitlines() if line.strip()]
    if not 0 < len(ids) <= MOST_IDS:
        raise ValueError(f"expected 1 to {MOST_IDS} Ids on standard input, one a line, got {len(ids)}")
    if any(erasure.canonical(one) == erasure.canonical(reference) for one in ids) or len(reference) > 128:
        raise ValueError(
            "--reference is kept in clear: give the number of the request, at most 128 letters, not the Id"
        )
    return json.dumps({"spec": {"erasure": {"ids": {erasure.digest(key, one): reference for one in ids}}}})
