"""Deciding about a model: in another's name, without the right, about one's own, or by changing what was said."""

from __future__ import annotations

from .ground import ARGO, BOT, CI, FLUX, Answer, Catalogue, Ground, digest, entry, stripped, where

DECIDING = Catalogue()
add = DECIDING.add
INVALID = (422,)
COLLECTOR = "system:serviceaccount:kube-system:generic-garbage-collector"


@add("alice", "approves without the verb", "alice lacks the verb approve")
def _(g: Ground) -> Answer:
    made = g.model()
    return g.decide(made, "alice", entry(made, "alice"))


@add("alice", "rejects without the verb", "alice lacks the verb approve")
def _(g: Ground) -> Answer:
    made = g.model()
    return g.decide(made, "alice", entry(made, "alice", "Reject"))


@add("alice", "takes bob's rejection back for him", "alice lacks the verb approve")
def _(g: Ground) -> Answer:
    made = g.decided(g.model(), ("bob", "Reject"))
    return g.decide(made, "alice", entry(made, "bob", "Revoke"))


@add("bob", "approves in carol's name", "your own user name: set user: bob")
def _(g: Ground) -> Answer:
    made = g.model()
    return g.decide(made, "bob", entry(made, "carol"))


@add("bob", "approves twice, once as Bob", "your own user name: set user: bob")
def _(g: Ground) -> Answer:
    made = g.model(policy={"required": 2})
    return g.decide(made, "bob", entry(made, "bob"), entry(made, "Bob"))


@add("admin", "approves in bob's name", "your own user name: set user: admin")
def _(g: Ground) -> Answer:
    made = g.model()
    return g.decide(made, "admin", entry(made, "bob"))


@add("robot", "approves what stands in Git, under a name that is no service account's", "robot is a service account or")
def _(g: Ground) -> Answer:
    made = g.model()
    return g.decide(made, "robot", entry(made, "robot"))


@add("carol", "approves the model of her own run", "carol is the author")
def _(g: Ground) -> Answer:
    made = g.model("carol")
    return g.decide(made, "carol", entry(made, "carol"))


@add("carol", "imports a model that is born approved by herself", "carol is the author")
def _(g: Ground) -> Answer:
    born = g.imported("carol")
    born["spec"]["approvals"] = [entry(born, "carol")]
    return g.create(born, user="carol")


@add("alice", "imports a model that is born approved by bob", "alice lacks the verb approve")
def _(g: Ground) -> Answer:
    born = g.imported("alice")
    born["spec"]["approvals"] = [entry(born, "bob")]
    return g.create(born, user="alice")


@add("admin", "imports a model and approves it", "admin is the author")
def _(g: Ground) -> Answer:
    born = g.create(g.imported("admin"), user="admin").body
    return g.decide(born, "admin", entry(born, "admin"))


@add(CI, "approves what it applied for alice", f"{CI} is the author (spec.provenance.author), or applied for")
def _(g: Ground) -> Answer:
    born = g.imported("alice")
    born["spec"]["provenance"]["appliedBy"] = CI
    made = g.create(born, user=CI).body
    return g.decide(made, CI, entry(made, CI))


@add(FLUX, "approves in its own name, with a wildcard's verb", "is a service account")
def _(g: Ground) -> Answer:
    made = g.model()
    return g.decide(made, FLUX, entry(made, FLUX))


@add(BOT, "approves with the approver's role, as an account of the team", "is a service account")
def _(g: Ground) -> Answer:
    made = g.model()
    return g.decide(made, BOT, entry(made, BOT))


@add("alice", "acts as the team's account that has the approver's role", "is a service account")
def _(g: Ground) -> Answer:
    made = g.model()
    body = {"spec": {"approvals": [entry(made, BOT)]}}
    return g.call("PATCH", where(made), body, user="alice", impersonate=BOT)


@add("alice", "acts as bob", "cannot impersonate")
def _(g: Ground) -> Answer:
    made = g.model()
    return g.call("PATCH", where(made), {"spec": {"approvals": [entry(made, "bob")]}}, user="alice", impersonate="bob")


@add("bob", "approves bytes that are not this model's", "must name this artifact's digest", INVALID)
def _(g: Ground) -> Answer:
    made = g.model()
    return g.decide(made, "bob", entry(made, "bob") | {"digest": digest("f")})


@add("alice", "removes carol's rejection", "append-only", INVALID)
def _(g: Ground) -> Answer:
    made = g.decided(g.model(), ("carol", "Reject"))
    return g.patch(made, {"spec": {"approvals": []}}, user="alice")


@add("carol", "turns bob's rejection into an approval", "append-only", INVALID)
def _(g: Ground) -> Answer:
    made = g.decided(g.model(), ("bob", "Reject"))
    return g.patch(made, {"spec": {"approvals": [entry(made, "bob")]}}, user="carol")


@add("alice", "swaps bob's entries, so that his first counts last", "append-only", INVALID)
def _(g: Ground) -> Answer:
    made = g.decided(g.model(), ("bob", "Approve"), ("bob", "Revoke"))
    swapped = [entry(made, "bob", "Revoke"), entry(made, "bob")]
    return g.patch(made, {"spec": {"approvals": swapped}}, user="alice")


@add("alice", "repeats bob's approval after he took it back", "alice lacks the verb approve")
def _(g: Ground) -> Answer:
    made = g.decided(g.model(), ("bob", "Approve"), ("bob", "Revoke"))
    return g.decide(made, "alice", entry(made, "bob"))


@add("carol", "puts an entry of bob's before the others", "append-only", INVALID)
def _(g: Ground) -> Answer:
    made = g.decided(g.model(), ("bob", "Reject"))
    both = [entry(made, "bob"), entry(made, "bob", "Reject")]
    return g.patch(made, {"spec": {"approvals": both}}, user="carol")


@add("alice", "takes the list over by a forced server-side apply, without its rejection", "append-only", INVALID)
def _(g: Ground) -> Answer:
    made = g.decided(g.model(), ("bob", "Reject"))
    intent = stripped(g.read(made)) | {"spec": {"approvals": []}}
    return g.patch(made, intent, user="alice", content="apply", fieldManager="alice", force="true")


@add("alice", "replaces the whole object with one that bob approves", "alice lacks the verb approve")
def _(g: Ground) -> Answer:
    made = g.read(g.model())
    made["spec"]["approvals"] = [entry(made, "bob")]
    return g.call("PUT", where(made), made, user="alice")


@add("alice", "writes Approved into the status", 'cannot patch resource "models/status"')
def _(g: Ground) -> Answer:
    return g.patch(g.model(), {"status": {"phase": "Approved"}}, user="alice", sub="/status")


@add("bob", "writes Approved into the status", 'cannot patch resource "models/status"')
def _(g: Ground) -> Answer:
    return g.patch(g.model(), {"status": {"phase": "Approved"}}, user="bob", sub="/status")


@add("admin", "writes Approved into the status", "the status of a Model is written by the operator alone")
def _(g: Ground) -> Answer:
    return g.patch(g.model(), {"status": {"phase": "Approved"}}, user="admin", sub="/status")


@add(ARGO, "writes a stable revision into a Deployment's status", "is written by the operator alone")
def _(g: Ground) -> Answer:
    return g.patch(g.deployment(), {"status": {"phase": "Serving"}}, user=ARGO, sub="/status")


@add("carol", "deletes the model that bob rejected, to make it again", 'cannot delete resource "models"')
def _(g: Ground) -> Answer:
    return g.delete(g.decided(g.model(), ("bob", "Reject")), user="carol")


@add("admin", "deletes the model that bob rejected, to make it again", "was rejected by bob")
def _(g: Ground) -> Answer:
    return g.delete(g.decided(g.model(), ("bob", "Reject"), ("carol", "Approve")), user="admin")


@add("admin", "lets the garbage collector take the model that bob rejected", "was rejected by bob")
def _(g: Ground) -> Answer:
    """What becomes of a model that somebody hangs on an object of his own, and of that object, which he deletes."""
    made = g.decided(g.model(), ("bob", "Reject"))
    return g.call("DELETE", where(made), user="admin", impersonate=COLLECTOR)


@add("carol", "deletes all models at once", 'cannot deletecollection resource "models"')
def _(g: Ground) -> Answer:
    return g.call("DELETE", where(g.model()).rpartition("/")[0], user="carol")


@add(FLUX, "prunes every model, rejected ones too", "was rejected by bob")
def _(g: Ground) -> Answer:
    made = g.decided(g.model(), ("bob", "Reject"))
    path = f"{where(made).rpartition('/')[0]}?fieldSelector=metadata.name={made['metadata']['name']}"
    return g.call("DELETE", path, user=FLUX)
