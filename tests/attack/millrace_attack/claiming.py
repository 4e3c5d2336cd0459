"""Claiming: another author, no author, a run, weaker rules, other bytes."""

from __future__ import annotations

from .ground import ARGO, FLUX, HOME, ML, Answer, Catalogue, Ground, digest, own

CLAIMING = Catalogue()
add = CLAIMING.add
INVALID = (422,)
AUTOMATIC, OWN = {"required": 0}, {"required": 1, "distinctFromAuthor": False}


@add("carol", "imports in her own name with required: 0", "has passed no gates")
def _(g: Ground) -> Answer:
    return g.create(g.imported("carol", approvalPolicy=AUTOMATIC), user="carol")


@add("carol", "imports in her own name with distinctFromAuthor: false", "has passed no gates")
def _(g: Ground) -> Answer:
    return g.create(g.imported("carol", approvalPolicy=OWN), user="carol")


@add("admin", "imports with required: 0", "has passed no gates")
def _(g: Ground) -> Answer:
    return g.create(g.imported("admin", approvalPolicy=AUTOMATIC), user="admin")


@add(FLUX, "imports for alice with required: 0", "has passed no gates")
def _(g: Ground) -> Answer:
    born = g.imported("alice", approvalPolicy=AUTOMATIC)
    born["spec"]["provenance"]["appliedBy"] = FLUX
    return g.create(born, user=FLUX)


@add("alice", "asks for a run whose model nobody needs to approve", "needs the verb approve")
def _(g: Ground) -> Answer:
    return g.create(g.run("alice", AUTOMATIC), user="alice")


@add("alice", "asks for a run whose model she may approve herself", "needs the verb approve")
def _(g: Ground) -> Answer:
    return g.create(g.run("alice", OWN), user="alice")


@add(FLUX, "applies a run of alice's whose model nobody needs to approve", "is a service account")
def _(g: Ground) -> Answer:
    return g.create(g.run("alice", AUTOMATIC, FLUX), user=FLUX)


@add(ARGO, "applies a run of its own whose model nobody needs to approve", "is a service account")
def _(g: Ground) -> Answer:
    return g.create(g.run(ARGO, AUTOMATIC), user=ARGO)


@add("bob", "lowers a quorum of two to one, to be enough himself", "never weaker")
def _(g: Ground) -> Answer:
    return g.patch(g.model(policy={"required": 2}), {"spec": {"approvalPolicy": {"required": 1}}}, user="bob")


@add("bob", "lowers the quorum to nobody", "never weaker")
def _(g: Ground) -> Answer:
    return g.patch(g.model(), {"spec": {"approvalPolicy": AUTOMATIC}}, user="bob")


@add("carol", "lets authors approve, being the author", "never weaker")
def _(g: Ground) -> Answer:
    return g.patch(g.model("carol"), {"spec": {"approvalPolicy": OWN}}, user="carol")


@add("admin", "removes a stricter approval policy", "never weaker")
def _(g: Ground) -> Answer:
    gone = [{"op": "remove", "path": "/spec/approvalPolicy"}]
    return g.patch(g.model(policy={"required": 3}), gone, user="admin", content="json")


@add("alice", "raises the quorum out of reach", "alice lacks the verb approve")
def _(g: Ground) -> Answer:
    return g.patch(g.model(), {"spec": {"approvalPolicy": {"required": 10}}}, user="alice")


@add("alice", "imports in bob's name", "author must be your own user name: set author: alice")
def _(g: Ground) -> Answer:
    return g.create(g.imported("bob"), user="alice")


@add("alice", "imports in nobody's name", "author must be your own user name: set author: alice")
def _(g: Ground) -> Answer:
    return g.create(g.imported(""), user="alice")


@add("admin", "imports in nobody's name", "author must be your own user name: set author: admin")
def _(g: Ground) -> Answer:
    return g.create(g.imported(""), user="admin")


@add("admin", "imports in alice's name, to approve it himself", "author must be your own user name: set author: admin")
def _(g: Ground) -> Answer:
    born = g.imported("alice")
    born["spec"]["provenance"]["appliedBy"] = "admin"
    return g.create(born, user="admin")


@add(ARGO, "states an author, known to nobody", f"author must be your own user name: set author: {ARGO}")
def _(g: Ground) -> Answer:
    return g.create(g.run("alice", None, ARGO), user=ARGO)


@add("wanda", "states an author with every verb there is", "author must be your own user name: set author: wanda")
def _(g: Ground) -> Answer:
    return g.create(g.run("alice", None, "wanda"), user="wanda")


@add("wanda", "claims a run with every verb there is, register too", "only the operator claims a training run")
def _(g: Ground) -> Answer:
    born = g.imported("wanda")
    born["spec"]["provenance"]["trainingRunRef"] = {"name": "run"}
    return g.create(born, user="wanda")


@add(FLUX, "hides that it applied", f"appliedBy says who applied: set appliedBy: {FLUX}")
def _(g: Ground) -> Answer:
    return g.create(g.run("alice"), user=FLUX)


@add(FLUX, "says that somebody else applied", f"appliedBy says who applied: set appliedBy: {FLUX}")
def _(g: Ground) -> Answer:
    return g.create(g.run("alice", None, ARGO), user=FLUX)


@add("alice", "says that flux applied", "appliedBy says who applied: set appliedBy: alice")
def _(g: Ground) -> Answer:
    return g.create(g.run("alice", None, FLUX), user="alice")


@add("admin", "claims a training run", "only the operator claims a training run")
def _(g: Ground) -> Answer:
    born = g.imported("admin")
    born["spec"]["provenance"]["trainingRunRef"] = {"name": "run"}
    return g.create(born, user="admin")


@add("alice", "labels a model as the one that a run made", "to the operator")
def _(g: Ground) -> Answer:
    born = g.imported("alice")
    born["metadata"]["labels"] = {"millrace.dev/training-run-uid": "4f6c"}
    return g.create(born, user="alice")


@add("bob", "moves that label afterwards", "to the operator")
def _(g: Ground) -> Answer:
    return g.patch(g.model(), {"metadata": {"labels": {"millrace.dev/training-run": "other"}}}, user="bob")


@add("carol", "makes alice the author of what she imported", "provenance is immutable", INVALID)
def _(g: Ground) -> Answer:
    made = g.create(g.imported("carol"), user="carol").body
    return g.patch(made, {"spec": {"provenance": {"author": "alice"}}}, user="carol")


@add("alice", "puts other bytes under an approval", "artifact is immutable", INVALID)
def _(g: Ground) -> Answer:
    made = g.decided(g.model(), ("bob", "Approve"))
    return g.patch(made, {"spec": {"artifact": {"digest": digest("e")}}}, user="alice")


@add("alice", "puts another place under an approval", "artifact is immutable", INVALID)
def _(g: Ground) -> Answer:
    made = g.decided(g.model(), ("bob", "Approve"))
    return g.patch(made, {"spec": {"artifact": {"storageUri": "s3://evil/model"}}}, user="alice")


@add("alice", "puts easier golden answers under an approval", "goldenSetUri is immutable", INVALID)
def _(g: Ground) -> Answer:
    made = g.decided(g.model(), ("bob", "Approve"))
    return g.patch(made, {"spec": {"goldenSetUri": "s3://evil/golden.json"}}, user="alice")


@add("alice", "waives the approval of a run that is under way", "a TrainingRun is immutable", INVALID)
def _(g: Ground) -> Answer:
    made = g.create(g.run("alice"), user="alice").body
    return g.patch(made, {"spec": {"output": {"approvalPolicy": AUTOMATIC}}}, user="alice")


@add("admin", "makes a run of the name that the operator asks with", "is reserved")
def _(g: Ground) -> Answer:
    probe = g.run("admin")
    probe["metadata"]["name"] = "millrace-policy-probe"
    return g.create(probe, user="admin")


@add(
    "admin",
    "creates a Dataset in the operator's own namespace",
    f"the namespace {HOME} is the operator's own, it watches ml, fraud",
)
def _(g: Ground) -> Answer:
    return g.create(own("Dataset", "churn", dataset(""), HOME), user="admin")


@add("wanda", "reads a source with a Secret that she may not get", "wanda may not get the Secret lake")
def _(g: Ground) -> Answer:
    return g.create(own("Dataset", "lake", dataset("lake")), user="wanda")


@add("wanda", "reads another place with a Secret that somebody else named", "may not get the Secret lake")
def _(g: Ground) -> Answer:
    made = g.create(own("Dataset", "payroll", dataset("lake")), user="alice").body
    return g.patch(made, {"spec": {"source": {"storageUri": "s3://payroll/"}}}, user="wanda")


@add("wanda", "reads a Secret as a key by which people are forgotten", "wanda may not get the Secret lake")
def _(g: Ground) -> Answer:
    fields = [{"name": "customer", "type": "String", "role": "Id"}, {"name": "age", "type": "Int64"}]
    forgets = {"schema": {"fields": fields}, "erasure": {"field": "customer", "keyRef": {"name": "lake"}}}
    return g.create(own("Dataset", "forgets", {**dataset(""), **forgets}), user="wanda")


@add("dave", "names another team's Dataset in a run of his own", "unknown field", (400, 422))
def _(g: Ground) -> Answer:
    wanted = g.run("dave", namespace="fraud")
    wanted["spec"]["datasetRef"] = {"name": "churn", "namespace": ML}
    return g.create(wanted, user="dave")


def dataset(secret: str) -> dict[str, object]:
    source = {"storageUri": "s3://lake/churn.parquet", **({"secretRef": {"name": secret}} if secret else {})}
    return {"source": source, "format": "Parquet"}
