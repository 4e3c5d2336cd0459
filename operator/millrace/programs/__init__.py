"""Programs that run in pods from their own text, where the image holds nothing of ours. Standard library only."""

import inspect
import json
from collections.abc import Sequence

from millrace.programs import router


def router_command(way: router.Leaving, envoy: Sequence[str]) -> list[str]:
    """A container's command that runs `envoy` by `millrace.programs.router`."""
    return ["python3", "-c", inspect.getsource(router), json.dumps(way), *envoy]
