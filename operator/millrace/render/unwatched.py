"""An answer to whoever makes an object where no operator looks: nobody else could say so.

An operator sees nothing of a namespace that it has no Role in, so an object there has no status, no Event and no end.
The API server knows both: who asks, and what an operator's account may do. It is asked for the account of the very
namespace, where a release puts its operator, and for that of the operators' own; so no release is named, and one policy
serves any number of them. It only warns.
"""

from __future__ import annotations

from typing import Any

from millrace.api import keys, resources

Manifest = dict[str, Any]

NAME = f"{keys.FIELD_MANAGER}-watched-namespaces"


ACCOUNT, HOME = "millrace-operator", "millrace-system"


def manifests() -> list[Manifest]:
    """The policy and its binding."""
    says = (
        "'nothing will become of it here: no Millrace operator looks into namespace ' + object.metadata.namespace + "
        "'; use one with a release of Millrace in it'"
    )
    looks = " || ".join(_looks(namespace) for namespace in ("object.metadata.namespace", f"'{HOME}'"))
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": NAME},
        "spec": {
            # It protects nothing: an API server that cannot tell says nothing.
            "failurePolicy": "Ignore",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [keys.GROUP],
                        "apiVersions": ["*"],
                        "operations": ["CREATE"],
                        "resources": [one.plural for one in resources.OWN],
                    }
                ]
            },
            "validations": [{"expression": looks, "messageExpression": says}],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": NAME},
        "spec": {"policyName": NAME, "validationActions": ["Warn"]},
    }
    return [policy, binding]


def _looks(namespace: str) -> str:
    """CEL: the operator of that namespace may list such objects where this one is."""
    return (
        f"authorizer.serviceAccount({namespace}, '{ACCOUNT}').group(request.resource.group)"
        ".resource(request.resource.resource).namespace(object.metadata.namespace).check('list').allowed()"
    )
