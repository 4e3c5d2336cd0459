"""What people, and whoever applies for them, may write about models, runs, datasets and deployments."""

from __future__ import annotations

from typing import Final

from millrace.api import keys
from millrace.api.model import POSITIONS
from millrace.render.admission.policy import PROBE, PROBED, Manifest, policy, rule, validation
from millrace.render.admission.trust import Trust

APPROVALS: Final = f"{keys.FIELD_MANAGER}-model-approvals"
DELETIONS: Final = f"{keys.FIELD_MANAGER}-model-deletions"
RUNS: Final = f"{keys.FIELD_MANAGER}-training-runs"
SECRETS: Final = f"{keys.FIELD_MANAGER}-dataset-secrets"
ACTIONS: Final = f"{keys.FIELD_MANAGER}-deployment-actions"

_USER: Final = "request.userInfo.username"
_CLAIMS: Final = f"['{keys.TRAINING_RUN}', '{keys.TRAINING_RUN_UID}']"
_WRITES: Final = ("CREATE", "UPDATE")
_NO_PERSON: Final = (
    "' is a service account or a trusted applier, and these do not approve unless the chart\\'s "
    "admission.approvingAccounts names them: "
    "let a person do it'"
)
_STRICT: Final = ".required > 0 && variables.policy.distinctFromAuthor"


def model_approvals(trusted: Trust) -> Manifest:
    """Who may create a Model, decide about it, or change what it takes.

    * A decision needs the verb `approve`, is a person's and carries the caller's own user name; an Approve by the
      author, or by whoever applied for the author, is refused.
    * Nobody but the operator creates a Model with a policy weaker than the default, and nobody weakens one.
    * Only the operator claims a training run; only a trusted applier states another author, and then says who applied.
    """
    return policy(
        APPROVALS,
        rule(("models",), _WRITES),
        where=trusted.ruled,
        variables={
            "created": "oldObject == null",
            "operates": trusted.operates,
            "user": _USER,
            "old": "oldObject != null && has(oldObject.spec.approvals) ? oldObject.spec.approvals : []",
            "now": "has(object.spec.approvals) ? object.spec.approvals : []",
            # By position, as the append-only rule of the schema: a repeated old entry is a new decision.
            "added": f"{POSITIONS}.filter(i, i >= variables.old.size() && i < variables.now.size())"
            ".map(i, variables.now[i])",
            "author": "has(object.spec.provenance) && has(object.spec.provenance.author) ? "
            "object.spec.provenance.author : ''",
            "appliedBy": "has(object.spec.provenance) && has(object.spec.provenance.appliedBy) ? "
            "object.spec.provenance.appliedBy : ''",
            "policy": "object.spec.approvalPolicy",
            "before": "(oldObject == null ? object : oldObject).spec.approvalPolicy",
            "may": "authorizer.group('millrace.dev').resource('models').namespace(request.namespace)"
            ".name(object.metadata.name).check('approve').allowed()",
            **trusted.person,
            "labels": "has(object.metadata.labels) ? object.metadata.labels : {}",
            "labelled": "oldObject != null && has(oldObject.metadata.labels) ? oldObject.metadata.labels : {}",
        },
        validations=[*_decisions(), *_approval_policy(), *_provenance(trusted)],
        # '' and not null: an audit annotation may not mix types.
        audit={
            "decision": "variables.added.size() == 0 ? '' : variables.added[0].decision + ' ' + "
            "object.spec.artifact.digest"
        },
    )


def _decisions() -> list[Manifest]:
    return [
        validation(
            "variables.added.size() == 0 || variables.may",
            says="variables.user + ' lacks the verb approve on models.millrace.dev/' + object.metadata.name + "
            "'; ask for the cluster role millrace-approver'",
        ),
        validation(
            "variables.added.all(a, a.user == variables.user)",
            says="'an approval must carry your own user name: set user: ' + variables.user",
        ),
        validation(
            "variables.added.size() == 0 || variables.person",
            says=f"variables.user + {_NO_PERSON}",
        ),
        validation(
            "!variables.policy.distinctFromAuthor || !(variables.user in [variables.author, variables.appliedBy]) || "
            "!variables.added.exists(a, a.decision == 'Approve')",
            says="variables.user + ' is the author (spec.provenance.author), or applied for the author: with "
            "approvalPolicy.distinctFromAuthor another person must approve'",
        ),
    ]


def _approval_policy() -> list[Manifest]:
    """What was measured by the platform may be approved by its gates alone; what somebody brings along never is."""
    return [
        validation(
            f"!variables.created || variables.operates || variables.policy{_STRICT}",
            says="'a model that is imported has passed no gates: leave spec.approvalPolicy at required: 1 or more and "
            "distinctFromAuthor: true'",
        ),
        validation(
            "variables.created || variables.operates || (variables.policy.required >= variables.before.required && "
            "(variables.policy.distinctFromAuthor || !variables.before.distinctFromAuthor))",
            says="'spec.approvalPolicy may become stricter and never weaker: train or import another version'",
        ),
        validation(
            "variables.created || variables.policy == variables.before || (variables.may && variables.person)",
            says="variables.user + ' lacks the verb approve on models.millrace.dev/' + object.metadata.name + "
            "', which changing spec.approvalPolicy takes; ask for the cluster role millrace-approver'",
        ),
    ]


def _provenance(trusted: Trust) -> list[Manifest]:
    return [
        validation(f"!variables.created || !object.metadata.name.startsWith('{PROBE}')", says=PROBED),
        validation(
            "!variables.created || !has(object.spec.provenance) || "
            "!has(object.spec.provenance.trainingRunRef) || variables.operates",
            says="'only the operator claims a training run: import without provenance.trainingRunRef'",
        ),
        *_authorship(trusted, "spec.provenance", unless="!variables.created || "),
        validation(
            f"variables.operates || {_CLAIMS}.all(l, (l in variables.labels) == (l in variables.labelled) && "
            "(!(l in variables.labels) || variables.labels[l] == variables.labelled[l]))",
            says=f"'leave the labels {keys.TRAINING_RUN} and {keys.TRAINING_RUN_UID} to the operator'",
        ),
    ]


def _authorship(trusted: Trust, where: str, *, unless: str = "") -> list[Manifest]:
    """Who is the author, and who applied where that is another. Needs the variables user, author and appliedBy."""
    return [
        validation(
            f"{unless}variables.author == variables.user || variables.operates || "
            f"({trusted.applies_for_others} && variables.author != '')",
            says=f"'{where}.author must be your own user name: set author: ' + variables.user",
        ),
        validation(
            f"{unless}variables.operates || variables.appliedBy == variables.user || "
            "(variables.appliedBy == '' && variables.author == variables.user)",
            says=f"'{where}.appliedBy says who applied: set appliedBy: ' + variables.user",
        ),
    ]


def model_deletions(trusted: Trust) -> Manifest:
    """A rejection belongs to the digest: who deletes the Model and makes it again would lose it.

    The last entry of each person counts. A namespace that goes takes everything along. The operator, which deletes what
    is over a Dataset's limits, deletes only what a run made, nobody approves and no Deployment serves.
    """
    return policy(
        DELETIONS,
        rule(("models",), ("DELETE",)),
        where=trusted.ruled,
        variables={
            "going": "has(namespaceObject.metadata.deletionTimestamp)",
            "said": "has(oldObject.spec.approvals) ? oldObject.spec.approvals : []",
            "rejecting": _standing("Reject"),
            "approving": _standing("Approve"),
            "operates": trusted.operates,
            "made": "has(oldObject.spec.provenance) && has(oldObject.spec.provenance.trainingRunRef)",
            "served": "has(oldObject.status) && has(oldObject.status.deployedIn) && "
            "oldObject.status.deployedIn.size() > 0",
        },
        validations=[
            validation(
                "variables.going || variables.rejecting.size() == 0",
                says="'Model ' + oldObject.metadata.name + ' was rejected by ' + variables.rejecting[0].user + "
                "', and with it the rejection would be lost. Keep it, or let ' + variables.rejecting[0].user + "
                "' add a Revoke entry'",
            ),
            validation(
                "!variables.operates || variables.going || "
                "(variables.made && !variables.served && variables.approving.size() == 0)",
                says="'the operator deletes no Model that was imported, that a person approved or that a Deployment "
                "serves: ' + oldObject.metadata.name + ' stays'",
            ),
        ],
    )


def _standing(decision: str) -> str:
    """CEL: entries of that decision of people whose last word it is."""
    last = "variables.said.filter(a, a.user == r.user)[variables.said.filter(a, a.user == r.user).size() - 1]"
    return f"variables.said.filter(r, r.decision == '{decision}').filter(r, {last}.decision == '{decision}')"


def training_runs(trusted: Trust) -> Manifest:
    """Who may create a TrainingRun: in one's own name, and with automatic approval only who may approve models."""
    return policy(
        RUNS,
        rule(("trainingruns",), ("CREATE",)),
        where=trusted.ruled,
        variables={
            "operates": trusted.operates,
            "user": _USER,
            "author": "object.spec.author",
            "appliedBy": "has(object.spec.appliedBy) ? object.spec.appliedBy : ''",
            "policy": "object.spec.output.approvalPolicy",
            "may": "authorizer.group('millrace.dev').resource('models').namespace(request.namespace)"
            ".check('approve').allowed()",
            **trusted.person,
        },
        validations=[
            validation(f"object.metadata.name != '{PROBE}'", says=PROBED),
            *_authorship(trusted, "spec"),
            validation(
                f"variables.policy{_STRICT} || variables.operates || variables.person",
                says=f"'spec.output.approvalPolicy waives a person: ' + variables.user + {_NO_PERSON}",
            ),
            validation(
                f"variables.policy{_STRICT} || variables.operates || variables.may",
                says="'spec.output.approvalPolicy weaker than required: 1, distinctFromAuthor: true needs the verb "
                "approve on models.millrace.dev: leave it out, or ask for the cluster role millrace-approver'",
            ),
        ],
    )


def dataset_secrets(trusted: Trust) -> Manifest:
    """Whose credentials a Dataset may read its source with, and whose key says who is forgotten: only those that its
    writer may read.
    """
    return policy(
        SECRETS,
        rule(("datasets",), _WRITES),
        where=trusted.ruled,
        validations=[
            validation(
                "!has(object.spec.source.secretRef) || "
                # Another place read with the old credentials is a new use of them.
                "(oldObject != null && oldObject.spec.source == object.spec.source) || "
                "authorizer.group('').resource('secrets').namespace(request.namespace)"
                ".name(object.spec.source.secretRef.name).check('get').allowed()",
                says=f"'spec.source.secretRef: ' + {_USER} + ' may not get the Secret ' + "
                "object.spec.source.secretRef.name",
            ),
            validation(
                "!has(object.spec.erasure) || "
                "(oldObject != null && has(oldObject.spec.erasure) && "
                "oldObject.spec.erasure.keyRef == object.spec.erasure.keyRef) || "
                "authorizer.group('').resource('secrets').namespace(request.namespace)"
                ".name(object.spec.erasure.keyRef.name).check('get').allowed()",
                says=f"'spec.erasure.keyRef: ' + {_USER} + ' may not get the Secret ' + "
                "object.spec.erasure.keyRef.name",
            ),
        ],
    )


def deployment_actions(trusted: Trust) -> Manifest:
    """Who may abort, retry, unquarantine and end a drift alarm.

    To take a request back needs nothing once it was carried out: what a person patched in must not keep a GitOps
    controller from applying what Git says.
    """
    return policy(
        ACTIONS,
        rule(("deployments",), _WRITES),
        where=trusted.ruled,
        variables={
            "old": "oldObject != null && has(oldObject.spec.actions) ? oldObject.spec.actions : {}",
            "now": "has(object.spec.actions) ? object.spec.actions : {}",
            "canary": "oldObject != null && has(oldObject.status) && has(oldObject.status.canary) ? "
            "oldObject.status.canary.revision : ''",
            "deployment": "authorizer.group('millrace.dev').resource('deployments')"
            ".namespace(request.namespace).name(object.metadata.name)",
            **trusted.person,
        },
        validations=[
            # Taken back while the canary it names is still there, it would be undone before it was done.
            _action("abort", "abort", removal="variables.canary != variables.old.abort.revision"),
            _action("retry", "retry", removal="true"),
            _action("unquarantine", "approve", removal="true"),
            _action("acknowledgeDrift", "acknowledge", removal="true"),
            validation(
                f"!({_is_set('unquarantine')}) || variables.person",
                says=f"'spec.actions.unquarantine: ' + {_USER} + {_NO_PERSON}",
            ),
        ],
    )


def _is_set(field: str) -> str:
    """CEL: whether the action is new, or another than it was."""
    return (
        f"has(variables.now.{field}) && !(has(variables.old.{field}) && variables.old.{field} == variables.now.{field})"
    )


def _action(field: str, verb: str, removal: str) -> Manifest:
    """Setting or changing the action needs the verb; removing it does too unless `removal` holds."""
    return validation(
        f"(has(variables.now.{field}) ? has(variables.old.{field}) && variables.old.{field} == variables.now.{field} : "
        f"!has(variables.old.{field}) || {removal}) || variables.deployment.check('{verb}').allowed()",
        says=f"'spec.actions.{field}: ' + {_USER} + ' lacks the verb {verb} on "
        "deployments.millrace.dev/' + object.metadata.name + '; ask for the cluster role millrace-approver'",
    )
