"""What no single request shows: the policies are away for a while, and what the operator makes of what was written.

The operator runs, as itself, on the same API server. Each story is also one in which the honest way works.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

from millrace import wiring
from millrace.clients.credentials import Credentials
from millrace.settings import Settings

from .ground import FRAUD, HOME, ML, OPERATOR, VALUES, Ground, Manifest, charted, digest, entry, model, own

GUARD, RUNS = f"millrace-model-approvals-{HOME}", f"millrace-training-runs-{HOME}"
BINDING: Final = "validatingadmissionpolicybinding"


class Operator:
    """The operator in a thread of its own; it can be stopped and started."""

    def __init__(self, ground: Ground) -> None:
        plane = ground.plane
        self._identity = Credentials(plane.url, ca=plane.ca.read_text(), fixed_token=plane.token(OPERATOR))
        self._settings = Settings(namespace=HOME, trainer_image="t", server_image="s", router_image="r",
                                  metrics_port=0, watch=f"{ML},{FRAUD}", policies=HOME)  # fmt: skip
        self._ground = ground
        self._stop: Callable[[], None] | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """From when it leads on."""
        made: list[wiring.Operator] = []

        async def live() -> None:
            operator = wiring.Operator(self._settings, self._identity, wiring.controllers(), tasks=wiring.background)
            loop = asyncio.get_running_loop()
            self._stop = lambda: loop.call_soon_threadsafe(operator.stop)  # type: ignore[assignment]
            made.append(operator)
            await operator.run(signals=False)

        self._thread = threading.Thread(target=lambda: asyncio.run(live()), daemon=True)
        self._thread.start()
        self._ground.until(lambda: made and made[0].kernel.leads, "the operator leads")

    def stop(self) -> None:
        """Until it has given the Lease back."""
        if self._stop is not None and self._thread is not None:
            self._stop()
            self._thread.join(60)
            self._stop = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


@dataclass(frozen=True)
class Story:
    """A name, and what is done; it raises AssertionError or TimeoutError when the attack succeeds."""

    name: str
    tell: Callable[[Ground, Operator], str]


@contextlib.contextmanager
def unguarded(g: Ground, how: str = "deleted") -> Iterator[None]:
    """The policy over approvals is not in force while the block runs, and is again after it."""
    if how == "deleted":
        g.plane.kubectl("delete", BINDING, GUARD)
    else:
        patch = json.dumps({"spec": {"validationActions": [how]}})
        g.plane.kubectl("patch", BINDING, GUARD, "--type=merge", "-p", patch)
    try:
        yield
    finally:
        if how == "deleted":
            g.apply([one for one in charted(VALUES) if one["metadata"]["name"] == GUARD])
        else:
            patch = json.dumps({"spec": {"validationActions": ["Deny", "Audit"]}})
            g.plane.kubectl("patch", BINDING, GUARD, "--type=merge", "-p", patch)
        g.until(lambda: not g.create(model("probe", "bob"), user="alice", dryRun="All").ok, "the policy is in force")


def approved(made: Manifest) -> tuple[str, str]:
    found = [one for one in made.get("status", {}).get("conditions", []) if one["type"] == "Approved"]
    return (found[0]["status"], found[0]["reason"]) if found else ("", "")


def judged(g: Ground, made: Manifest, entries: int) -> Manifest:
    """The Model once the operator has judged so many entries."""

    def look() -> Manifest | None:
        found = g.read(made)
        return found if found.get("status", {}).get("approvals", {}).get("judged") == entries else None

    found: Manifest = g.until(look, f"{entries} entries are judged")
    return found


def imported(g: Ground) -> Manifest:
    """A model that alice brings, and of which the operator knows that the policies checked it: it was not made in the
    moment in which an earlier story put them back.
    """

    def checked() -> Manifest | None:
        answer = g.create(g.imported("alice"), user="alice")
        assert answer.ok, answer.said
        return answer.body if judged(g, answer.body, 0)["status"]["admission"] == "Checked" else None

    made: Manifest = g.until(checked, "a model is created when the policies had been there for a while")
    return made


def forge(g: Ground, made: Manifest) -> None:
    """Alice writes an approval in bob's name, as soon as nobody refuses it."""
    g.until(lambda: g.decide(made, "alice", entry(made, "bob")).ok, "nobody refuses a forged approval")


def does_not_count(g: Ground, made: Manifest) -> str:
    """The forged entry never counts; bob's own one does."""
    seen = judged(g, made, 1)
    assert approved(seen) == ("False", "PendingApproval"), approved(seen)
    assert seen["status"]["approvals"]["uncounted"] == [0]
    answer = g.decide(made, "bob", entry(made, "bob"))
    assert answer.ok, answer.said
    seen = judged(g, made, 2)
    assert approved(seen) == ("True", "QuorumReached"), approved(seen)
    return "PendingApproval: what bob wrote while the policies were not in force does not count"


def _away(g: Ground, operator: Operator) -> str:
    made = imported(g)
    with unguarded(g):
        forge(g, made)
    return does_not_count(g, made)


def _warns(g: Ground, operator: Operator) -> str:
    made = imported(g)
    with unguarded(g, "Warn"):
        forge(g, made)
    return does_not_count(g, made)


def _down(g: Ground, operator: Operator) -> str:
    made = imported(g)
    operator.stop()
    with unguarded(g):
        forge(g, made)
    operator.start()
    return does_not_count(g, made)


def _born(g: Ground, operator: Operator) -> str:
    wanted = g.imported("alice", approvalPolicy={"required": 0})
    with unguarded(g):
        g.until(lambda: g.create(wanted, user="alice").ok, "nobody refuses it")
    return g.until(lambda: approved(g.read(wanted)) == ("False", "CreatedUnchecked"), "it is refused") and (
        "CreatedUnchecked: nobody checked who its author is"
    )


def _asked(g: Ground, operator: Operator) -> str:
    wanted = g.run("bob", {"required": 0})
    g.plane.kubectl("delete", BINDING, RUNS)
    g.until(lambda: g.create(wanted, user="alice").ok, "nobody refuses it")
    g.apply([one for one in charted(VALUES) if one["metadata"]["name"] == RUNS])
    g.until(lambda: not g.create(g.run("bob"), user="alice", dryRun="All").ok, "the policy is in force")
    g.until(lambda: g.read(wanted).get("status", {}).get("admission") == "Unchecked", "it is marked")
    return "Unchecked: its model will need a person"


def _renamed(g: Ground, operator: Operator) -> str:
    made = imported(g)
    assert g.decide(made, "bob", entry(made, "bob", "Reject")).ok
    again = g.imported("alice")
    again["spec"]["artifact"] = made["spec"]["artifact"]
    assert g.create(again, user="alice").ok
    assert g.decide(again, "carol", entry(again, "carol")).ok
    seen = judged(g, again, 1)
    assert approved(seen) == ("False", "Rejected"), approved(seen)
    assert g.decide(made, "bob", entry(made, "bob", "Revoke")).ok
    g.until(lambda: approved(g.read(again)) == ("True", "QuorumReached"), "it is approved once bob takes it back")
    return f"Rejected: bob rejected this digest under the name {made['metadata']['name']}"


def _retried(g: Ground, operator: Operator) -> str:
    spec: Manifest = {"modelSelector": {"modelName": "nothing"}}
    made = g.create(own("Deployment", "quarantined", spec), user="alice").body
    bad = {"revision": "3aa210c4", "model": "nothing-2", "digest": digest("9"), "reason": "bad", "time": WHEN}

    def settled(wanted: int) -> bool:
        found = g.read(made)
        status: dict[str, Any] = found.get("status", {})
        current = status.get("observedGeneration") == found["metadata"]["generation"]
        return current and len(status.get("quarantined", [])) == wanted

    g.until(lambda: settled(0), "the operator has seen it")
    assert g.patch(made, {"status": {"quarantined": [bad]}}, user=OPERATOR, sub="/status").ok
    g.until(lambda: settled(1), "it stays")
    asked = {"revision": "3aa210c4"}
    assert g.patch(made, {"spec": {"actions": {"retry": asked}}}, user="bob").ok
    g.until(lambda: settled(1), "the quarantine stays")
    assert g.patch(made, {"spec": {"actions": {"unquarantine": asked}}}, user="bob").ok
    g.until(lambda: settled(0), "the stronger verb lifts it")
    return "the quarantine stays: it takes unquarantine, and with it the verb approve"


WHEN: Final = "2026-11-21T08:00:00Z"
STORIES: Final = (
    Story("alice approves in bob's name while a binding is deleted", _away),
    Story("alice approves in bob's name while a binding only warns", _warns),
    Story("alice approves in bob's name while neither binding nor operator is there", _down),
    Story("alice imports with required: 0 while a binding is deleted", _born),
    Story("alice asks for an automatic run in bob's name while a binding is deleted", _asked),
    Story("alice imports rejected bytes under another name, and carol approves them", _renamed),
    Story("somebody with the verb retry alone brings a quarantined revision back", _retried),
)
