"""Reaching for what is not one's own: the operator's identity, its namespace, another team's things, a rollout."""

from __future__ import annotations

from .ground import (
    API,
    ARGO,
    FLUX,
    FRAUD,
    HOME,
    ML,
    OPERATOR,
    PREFIX,
    STORE,
    Answer,
    Catalogue,
    Ground,
    Manifest,
    entry,
    own,
)

REACHING = Catalogue()
add = REACHING.add
REVISION = {"revision": "3aa210c4"}
ALARM = {**REVISION, "evaluatedTime": "2026-11-21T08:00:00Z"}
SECRETS, PODS = "/api/v1/namespaces/{}/secrets", "/api/v1/namespaces/{}/pods"
RECORDS = f"/apis/apps/v1/namespaces/{ML}/controllerrevisions"
POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"


# ------------------------------------------------------------------------------------------- the operator's identity
# Of what, the API server words by the right that it tried last: serviceaccounts, or impersonate-on:serviceaccount:list.
@add("alice", "acts as the operator", "cannot impersonate")
def _(g: Ground) -> Answer:
    return g.call("GET", f"{API}/namespaces/{ML}/models", user="alice", impersonate=OPERATOR)


@add("alice", "asks for a token of the operator's account", 'cannot create resource "serviceaccounts/token"')
def _(g: Ground) -> Answer:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    return g.call("POST", f"/api/v1/namespaces/{HOME}/serviceaccounts/millrace-operator/token", body, user="alice")


@add("alice", "runs a pod in the operator's namespace", 'cannot create resource "pods"')
def _(g: Ground) -> Answer:
    return g.call("POST", PODS.format(HOME), pod("millrace-operator"), user="alice")


@add("alice", "runs a pod as an account that only the operator's namespace has", "service account ml/millrace-store")
def _(g: Ground) -> Answer:
    return g.call("POST", PODS.format(ML), pod("millrace-store"), user="alice")


@add("alice", "acts as an account of ml that is called like the operator", "cannot patch resource")
def _(g: Ground) -> Answer:
    double = f"{PREFIX}:{ML}:millrace-operator"
    made = g.model()
    path = f"{API}/namespaces/{ML}/models/{made['metadata']['name']}/status"
    return g.call("PATCH", path, {"status": {"phase": "Approved"}}, user="alice", impersonate=double)


@add("alice", "changes the operator's own Deployment", 'cannot patch resource "deployments"')
def _(g: Ground) -> Answer:
    path = f"/apis/apps/v1/namespaces/{HOME}/deployments/millrace-operator"
    return g.call("PATCH", path, {"spec": {"replicas": 0}}, user="alice")


@add("alice", "takes the operator's Lease", 'cannot create resource "leases"')
def _(g: Ground) -> Answer:
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "millrace-operator"},
             "spec": {"holderIdentity": "alice"}}  # fmt: skip
    return g.call("POST", f"/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases", lease, user="alice")


@add("alice", "reads the store's own keys", 'cannot get resource "secrets"')
def _(g: Ground) -> Answer:
    return g.call("GET", f"{SECRETS.format(HOME)}/millrace-store", user="alice")


@add("alice", "grants herself the approver's role", 'cannot create resource "rolebindings"')
def _(g: Ground) -> Answer:
    bound = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "me"},
             "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "millrace-approver"},
             "subjects": [{"kind": "User", "name": "alice"}]}  # fmt: skip
    return g.call("POST", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{ML}/rolebindings", bound, user="alice")


@add("bob", "deletes a policy", "cannot delete resource")
def _(g: Ground) -> Answer:
    return g.call("DELETE", f"{POLICIES}/millrace-model-approvals-{HOME}", user="bob")


@add("wanda", "lets a binding warn only", "cannot patch resource")
def _(g: Ground) -> Answer:
    path = f"{POLICIES.removesuffix('policies')}policybindings/millrace-model-approvals-{HOME}"
    return g.call("PATCH", path, {"spec": {"validationActions": ["Warn"]}}, user="wanda")


# ------------------------------------------------------------------------------------------------------ another team
@add("dave", "reads the models of another team", 'cannot list resource "models"')
def _(g: Ground) -> Answer:
    return g.call("GET", f"{API}/namespaces/{ML}/models", user="dave")


@add("dave", "reads another team's keys to the store", 'cannot get resource "secrets"')
def _(g: Ground) -> Answer:
    return g.call("GET", f"{SECRETS.format(ML)}/millrace-store", user="dave")


@add("dave", "changes what another team serves", 'cannot patch resource "deployments"')
def _(g: Ground) -> Answer:
    return g.patch(g.deployment(), {"spec": {"replicas": 9}}, user="dave")


@add("bob", "approves a model of a team in which he approves nothing", 'cannot patch resource "models"')
def _(g: Ground) -> Answer:
    made = g.model("dave", namespace=FRAUD)
    return g.decide(made, "bob", entry(made, "bob"))


# ------------------------------------------------------------------------------------------------------------ a rollout
@add("alice", "stops a canary", "spec.actions.abort: alice lacks the verb abort")
def _(g: Ground) -> Answer:
    return g.patch(g.deployment(), {"spec": {"actions": {"abort": REVISION}}}, user="alice")


@add("alice", "gives a held canary more time", "spec.actions.retry: alice lacks the verb retry")
def _(g: Ground) -> Answer:
    return g.patch(g.deployment(), {"spec": {"actions": {"retry": REVISION}}}, user="alice")


@add("alice", "silences a drift alarm", "spec.actions.acknowledgeDrift: alice lacks the verb acknowledge")
def _(g: Ground) -> Answer:
    return g.patch(g.deployment(), {"spec": {"actions": {"acknowledgeDrift": ALARM}}}, user="alice")


@add("alice", "lifts a quarantine", "spec.actions.unquarantine: alice lacks the verb approve")
def _(g: Ground) -> Answer:
    return g.patch(g.deployment(), {"spec": {"actions": {"unquarantine": REVISION}}}, user="alice")


@add(FLUX, "lifts a quarantine with a wildcard's verb", "spec.actions.unquarantine")
def _(g: Ground) -> Answer:
    return g.patch(g.deployment(), {"spec": {"actions": {"unquarantine": REVISION}}}, user=FLUX)


@add("alice", "creates a Deployment that lifts a quarantine", "spec.actions.unquarantine: alice lacks the verb approve")
def _(g: Ground) -> Answer:
    spec = {"modelSelector": {"modelName": "churn"}, "actions": {"unquarantine": REVISION}}
    return g.create(own("Deployment", "born", spec), user="alice")


@add("alice", "undoes bob's abort before it is carried out", "spec.actions.abort: alice lacks the verb abort")
def _(g: Ground) -> Answer:
    made = g.deployment({"abort": REVISION}, canary=REVISION["revision"])
    return g.patch(made, {"spec": {"actions": None}}, user="alice")


@add("alice", "turns bob's abort to another revision", "spec.actions.abort: alice lacks the verb abort")
def _(g: Ground) -> Answer:
    made = g.deployment({"abort": REVISION}, canary=REVISION["revision"])
    return g.patch(made, {"spec": {"actions": {"abort": {"revision": "00000000"}}}}, user="alice")


# ------------------------------------------------------------------------------------- what is written of a quarantine
@add("alice", "writes that a quarantine was lifted", 'cannot create resource "controllerrevisions"')
def _(g: Ground) -> Answer:
    return g.call("POST", RECORDS, record("Released"), user="alice")


@add("bob", "writes that a quarantine was lifted", 'cannot create resource "controllerrevisions"')
def _(g: Ground) -> Answer:
    return g.call("POST", RECORDS, record("Released"), user="bob")


@add(FLUX, "applies from Git that a quarantine was lifted", "is written by the operator alone")
def _(g: Ground) -> Answer:
    return g.call("POST", RECORDS, record("Released"), user=FLUX)


@add("admin", "condemns somebody's model", "is written by the operator alone")
def _(g: Ground) -> Answer:
    return g.call("POST", RECORDS, record("Condemned"), user="admin")


@add("admin", "labels something else as a record, once it is there", "is not changed, nor hung on")
def _(g: Ground) -> Answer:
    plain = record("Released")
    labels = plain["metadata"].pop("labels")
    made = g.call("POST", RECORDS, plain, user="admin").body
    return replaced(g, f"{RECORDS}/{made['metadata']['name']}", labels=labels)


@add("carol", "deletes the record of a quarantine", 'cannot delete resource "controllerrevisions"')
def _(g: Ground) -> Answer:
    return g.call("DELETE", recorded(g), user="carol")


@add(ARGO, "prunes the record of a quarantine", "is deleted by a person, not by")
def _(g: Ground) -> Answer:
    return g.call("DELETE", recorded(g), user=ARGO)


@add("admin", "hangs the record of a quarantine on an object that goes", "is not changed, nor hung on")
def _(g: Ground) -> Answer:
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "kube-root-ca.crt", "uid": "1"}
    return replaced(g, recorded(g), ownerReferences=[owner])


@add(OPERATOR, "deletes the record of a quarantine", 'cannot delete resource "controllerrevisions"')
def _(g: Ground) -> Answer:
    return g.call("DELETE", recorded(g), user=OPERATOR)


# ------------------------------------------------------------------------------- the operator, were it somebody else's
@add(OPERATOR, "approves", 'cannot patch resource "models"')
def _(g: Ground) -> Answer:
    made = g.model()
    return g.decide(made, OPERATOR, entry(made, OPERATOR))


@add(OPERATOR, "creates a model that bob has approved", "lacks the verb approve")
def _(g: Ground) -> Answer:
    born = g.imported("alice")
    born["spec"]["approvals"] = [entry(born, "bob")]
    return g.create(born, user=OPERATOR)


@add(OPERATOR, "deletes a model that bob approved", "the operator deletes no Model that was imported, that a person")
def _(g: Ground) -> Answer:
    return g.delete(g.decided(g.model(), ("bob", "Approve")), user=OPERATOR)


@add(OPERATOR, "deletes a model that alice imported", "the operator deletes no Model that was imported")
def _(g: Ground) -> Answer:
    brought = g.create(g.imported("alice"), user="alice")
    assert brought.ok, brought.said
    return g.delete(brought.body, user=OPERATOR)


@add(OPERATOR, "reads a Secret", 'cannot get resource "secrets"')
def _(g: Ground) -> Answer:
    return g.call("GET", f"{SECRETS.format(ML)}/millrace-store", user=OPERATOR)


@add(OPERATOR, "changes the image of a server's pod", "of a router pod, and no other pod")
def _(g: Ground) -> Answer:
    path = f"{PODS.format(ML)}/server"
    return g.call("PATCH", path, {"spec": {"containers": [{"name": "it", "image": "e"}]}}, user=OPERATOR,
                  content="strategic-merge")  # fmt: skip


@add(OPERATOR, "labels a router's pod as a server's", "of a router pod, and no other pod")
def _(g: Ground) -> Answer:
    path = f"{PODS.format(ML)}/router"
    return g.call("PATCH", path, {"metadata": {"labels": {"millrace.dev/component": "server"}}}, user=OPERATOR)


@add(OPERATOR, "works in a namespace that it was not given", 'cannot create resource "jobs"')
def _(g: Ground) -> Answer:
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": pod("default")}}
    return g.call("POST", "/apis/batch/v1/namespaces/lab/jobs", job, user=OPERATOR)


@add(OPERATOR, "changes the policies", "cannot patch resource")
def _(g: Ground) -> Answer:
    return g.call(
        "PATCH", f"{POLICIES}/millrace-model-approvals-{HOME}", {"spec": {"failurePolicy": "Ignore"}}, user=OPERATOR
    )


@add(STORE, "reads a Secret", 'cannot get resource "secrets"')
def _(g: Ground) -> Answer:
    return g.call("GET", f"{SECRETS.format(ML)}/millrace-store", user=STORE)


@add(STORE, "creates a Secret of another name", "may create the Secret millrace-store and no other")
def _(g: Ground) -> Answer:
    return g.call("POST", SECRETS.format(ML), secret("payroll", "Opaque"), user=STORE)


@add(STORE, "creates a token of somebody's account", "may create the Secret millrace-store and no other")
def _(g: Ground) -> Answer:
    body = secret("millrace-store", "kubernetes.io/service-account-token")
    body["metadata"]["annotations"] = {"kubernetes.io/service-account.name": "bot"}
    return g.call("POST", SECRETS.format(ML), body, user=STORE)


def record(kind: str) -> Manifest:
    """What the operator takes for a record of a quarantine."""
    labels = {"app.kubernetes.io/managed-by": "millrace", "millrace.dev/digest": "0123456789abcdef"}
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {"generateName": "millrace-release-", "labels": labels},
        "revision": 1,
        "data": {"kind": kind},
    }


def recorded(g: Ground) -> str:
    """Where one is that the operator wrote."""
    answer = g.call("POST", RECORDS, record("Condemned"), user=OPERATOR)
    assert answer.ok, answer.said
    return f"{RECORDS}/{answer.body['metadata']['name']}"


def replaced(g: Ground, path: str, **metadata: object) -> Answer:
    """A PUT with other metadata: a PATCH of a ControllerRevision is taken for a change of its data, and refused."""
    found = g.call("GET", path, user="admin").body
    return g.call("PUT", path, {**found, "metadata": {**found["metadata"], **metadata}}, user="admin")


def pod(account: str) -> dict[str, object]:
    spec = {"serviceAccountName": account, "containers": [{"name": "it", "image": "i"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "p-"}, "spec": spec}


def secret(name: str, kind: str) -> dict[str, dict[str, object]]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind}  # type: ignore[dict-item]
