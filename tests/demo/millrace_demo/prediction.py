"""Notices when the service first answers as the model was evaluated: one row of the golden set, through the router."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from millrace.contract.golden import GoldenSet

from .kubectl import CommandFailed, Kubectl, TimedOut
from .sources import Sources

Tensor = dict[str, Any]


@dataclass(frozen=True)
class Expectation:
    """What a version answers to one row of its golden set, as it was evaluated before anything was served."""

    version: str
    request: dict[str, Any]
    outputs: list[Tensor]
    golden: GoldenSet

    def met_by(self, answer: dict[str, Any]) -> bool:
        """Whether the answer is of this version and every output agrees (floats within the golden set's tolerance)."""
        given = {tensor["name"]: tensor for tensor in answer.get("outputs", [])}
        return answer.get("model_version") == self.version and all(
            tensor["name"] in given and self._agree(tensor, given[tensor["name"]]["data"]) for tensor in self.outputs
        )

    def _agree(self, tensor: Tensor, got: Sequence[Any]) -> bool:
        want = tensor["data"]
        return len(got) == len(want) and all(
            one == other
            or (isinstance(one, float) and isinstance(other, float) and abs(one - other) <= self._bound(tensor, other))
            for one, other in zip(got, want, strict=True)
        )

    def _bound(self, tensor: Tensor, want: float) -> float:
        return self.golden.bound(tensor["name"], tensor["datatype"], want)


def expectation(version: str, golden: dict[str, Any]) -> Expectation:
    """The last row of a golden set; the first ones are made to be odd, and callers' rows are counted for drift."""
    return Expectation(
        version=version,
        request={"inputs": [_last(tensor) for tensor in golden["request"]["inputs"]]},
        outputs=[_last(tensor) for tensor in golden["response"]["outputs"]],
        golden=GoldenSet.from_dict(golden),
    )


def _last(tensor: Tensor) -> Tensor:
    width = len(tensor["data"]) // tensor["shape"][0]
    return {**tensor, "shape": [1, *tensor["shape"][1:]], "data": tensor["data"][-width:]}


class Probe:
    """Asks the service `name` in the background until it answers; says once with `note` how, or why it did not."""

    def __init__(self, kubectl: Kubectl, store: Sources, name: str, note: Callable[[str, str], None]) -> None:
        self._kubectl = kubectl
        self._store = store
        self._name = name
        self._note = note
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._failure = ""
        self._last = "no Model was there to be asked"
        self._thread = threading.Thread(target=self._run, name="first prediction", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    def wait(self, seconds: float) -> None:
        """Return as soon as the answer was correct.

        Raises:
            TimedOut: it was another one, could not be asked for, or did not come in that time.
        """
        if not self._ended.wait(seconds):
            self._fail("unanswered", f"no prediction {seconds:.0f} s after the Deployment was Ready: {self._last}")
        if self._failure:
            raise TimedOut(f"the first prediction failed: {self._failure}")

    def _fail(self, word: str, why: str) -> None:
        self._failure = why
        self._note(word, why)
        self._end()

    def _end(self) -> None:
        self._stop.set()
        self._ended.set()

    def _run(self) -> None:
        try:
            self._watch()
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not end with this thread
            self._fail("unasked", f"{type(error).__name__}: {error}")

    def _watch(self) -> None:
        while not self._stop.wait(0.3):
            try:
                wanted = self._expectation()
                if wanted is not None:
                    with self._kubectl.port_forward(f"svc/{self._name}", 80) as url:
                        self._ask(url, wanted)
            except (CommandFailed, OSError, ValueError) as error:
                self._last = str(error)  # no service yet, no pod behind it yet, or the connection broke

    def _expectation(self) -> Expectation | None:
        models = self._kubectl.list("models.millrace.dev", f"millrace.dev/model-name={self._name}")
        if not models:
            return None
        spec = models[-1]["spec"]
        return expectation(spec["version"], json.loads(self._store.get(spec["goldenSetUri"])))

    def _ask(self, url: str, wanted: Expectation) -> None:
        body = json.dumps(wanted.request).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{url}/v2/models/{self._name}/infer", data=body, headers=headers)
        while not self._stop.wait(0.1):
            try:
                with urllib.request.urlopen(request, timeout=5) as reply:
                    answer = json.load(reply)
            except urllib.error.HTTPError as error:
                self._last = str(error)  # the router is there and no revision is ready behind it
                continue
            if wanted.met_by(answer):
                self._note("predicted", f"version {wanted.version} answers a test row as it did when it was evaluated")
                self._end()
            else:
                given = f"version {answer.get('model_version')} answers {json.dumps(answer.get('outputs'))[:200]}"
                self._fail("wrong", f"{given}, and version {wanted.version} was evaluated otherwise")
