"""What the same people may do with the same objects: a refusal of everything would prove nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .claiming import AUTOMATIC, dataset
from .ground import CI, FLUX, FRAUD, LAB, ML, OPERATOR, STORE, Answer, Ground, entry, own
from .reaching import ALARM, PODS, RECORDS, REVISION, SECRETS, record, recorded, secret


def _applied(g: Ground, author: str, applier: str) -> Answer:
    born = g.imported(author)
    born["spec"]["provenance"]["appliedBy"] = applier
    return g.create(born, user=applier)


def _approves(g: Ground, user: str, author: str = "alice") -> Answer:
    made = g.model(author)
    return g.decide(made, user, entry(made, user))


def _takes_back(g: Ground) -> Answer:
    made = g.deployment({"abort": REVISION})
    return g.patch(made, {"spec": {"actions": None}}, user="alice")


def _touches(g: Ground) -> Answer:
    touch = {"metadata": {"annotations": {"millrace.dev/config-hash": "1"}}}
    return g.call("PATCH", f"{PODS.format(ML)}/router", touch, user=OPERATOR)


def _deletes(g: Ground) -> Answer:
    made = g.decided(g.model(), ("bob", "Reject"), ("bob", "Revoke"))
    return g.delete(made, user="admin")


PERMITTED: Final[tuple[tuple[str, Callable[[Ground], Answer]], ...]] = (
    ("bob approves alice's model", lambda g: _approves(g, "bob")),
    ("carol approves alice's model", lambda g: _approves(g, "carol")),
    ("ci, which counts as an approver, approves", lambda g: _approves(g, CI)),
    ("alice imports a model in her own name", lambda g: g.create(g.imported("alice"), user="alice")),
    ("admin imports a model in his own name", lambda g: g.create(g.imported("admin"), user="admin")),
    ("flux imports a model of alice's and says so", lambda g: _applied(g, "alice", FLUX)),
    ("flux applies a run of alice's and says so", lambda g: g.create(g.run("alice", None, FLUX), user=FLUX)),
    ("carol asks for a run that needs no approval", lambda g: g.create(g.run("carol", AUTOMATIC), user="carol")),
    ("wanda asks for a run in her own name", lambda g: g.create(g.run("wanda"), user="wanda")),
    ("alice creates a Dataset with a Secret", lambda g: g.create(own("Dataset", "fine", dataset("l")), user="alice")),
    ("bob raises a quorum", lambda g: g.patch(g.model(), {"spec": {"approvalPolicy": {"required": 2}}}, user="bob")),
    ("bob lifts a quarantine",
     lambda g: g.patch(g.deployment(), {"spec": {"actions": {"unquarantine": REVISION}}}, user="bob")),
    ("bob ends a drift alarm",
     lambda g: g.patch(g.deployment(), {"spec": {"actions": {"acknowledgeDrift": ALARM}}}, user="bob")),
    ("alice writes over an abort that was carried out", _takes_back),
    ("admin deletes a model whose rejection was taken back", _deletes),
    ("operator touches a router's pod", _touches),
    ("operator deletes a model that a run made and nobody approves", lambda g: g.delete(g.model(), user=OPERATOR)),
    ("operator writes what is in quarantine",
     lambda g: g.call("POST", RECORDS, record("Condemned"), user=OPERATOR)),
    ("admin deletes the record of a quarantine", lambda g: g.call("DELETE", recorded(g), user="admin")),
    ("admin writes a ControllerRevision of something else",
     lambda g: g.call("POST", RECORDS, {**record("x"), "metadata": {"generateName": "x-"}}, user="admin")),
    ("operator says where a model stands",
     lambda g: g.patch(g.model(), {"status": {"phase": "Approved"}}, user=OPERATOR, sub="/status")),
    ("store creates the Secret that is its own",
     lambda g: g.call("POST", f"{SECRETS.format(FRAUD)}?dryRun=All", secret("millrace-store", "Opaque"), user=STORE)),
    ("alice edits in a namespace that is not watched",
     lambda g: g.call("POST", PODS.format(LAB) + "?dryRun=All", {
         "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
         "spec": {"containers": [{"name": "it", "image": "i"}]}}, user="alice")),
)  # fmt: skip
