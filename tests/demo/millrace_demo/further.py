"""What to type once the story was told."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from .kubectl import Kubectl


def lines(kubectl: Kubectl, name: str, ending: str) -> Iterator[str]:
    """Commands for a shell; after the first one, every `kubectl` that a message ends in can be typed as it stands.

    Of the events only the operator's are asked for: Kubernetes' own, of every pod that reads a source, bury them.
    """
    where = shlex.quote(str(kubectl.kubeconfig))
    yield f"export KUBECONFIG={where} PATH={shlex.quote(str(kubectl.binary.parent))}:$PATH"
    events = "get events --field-selector=reportingComponent=millrace --sort-by=.lastTimestamp"
    for command in ("get mds,mtr,mmd,mdep", f"describe mdep {name}", events):
        yield f"kubectl -n {kubectl.namespace} {command}"
    yield f"{ending}   # when you have seen enough"
