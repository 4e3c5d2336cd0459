"""`millrace store-credentials`: who may reach what in the embedded store, from the init container of its pod.

The store's own credentials are made once: the Secret is created if it is absent and otherwise left as it is, and from
the second start on the pod has it in its environment. So two pods that race, a restart, or a reinstallation over an old
volume all end with the first Secret; the pod's account may create Secrets and read none.

Each namespace has an account of its own, whose key follows from the store's: nothing about it needs to be kept. A
policy on the bucket confines it to `datasets/`, `models/` and `sources/` of that namespace.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import hashlib
import hmac
import json
import os
import secrets
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millrace import errors
from millrace.api.resources import ResourceType
from millrace.clients import credentials
from millrace.clients.kube import Kube
from millrace.clients.store import Manifest

REGION = "us-east-1"
SECRETS = ResourceType(group="", version="v1", plural="secrets", kind="Secret")
"""Not among `api.resources`: the operator itself has no verb on them."""
ROOT_KEY, ROOT_SECRET = "ROOT_ACCESS_KEY", "ROOT_SECRET_KEY"
OWN_FOLDERS = ("datasets", "models", "sources")
"""What a namespace has in the bucket: versions, models, and whatever its people upload."""
POLICY_ATTRIBUTE = "user.policy"
"""Where versitygw keeps the policy of a bucket, which to it is a directory."""
ACCOUNTS_FILE = "users.json"
CROWDED = (
    "the volume's file system has no room for the rules of so many. Use a bucket of your own: store.existingSecret"
)
_OBJECTS = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]


@dataclass(frozen=True)
class Account:
    """An access key and its secret."""

    key: str
    secret: str


def make() -> Account:
    """A new one: 20 hex digits of name, 240 random bits of key."""
    return Account(secrets.token_hex(10).upper(), secrets.token_urlsafe(30))


def of_namespace(root: Account, namespace: str) -> Account:
    """The account of a namespace: HMAC-SHA256 over its name, with the store's own secret as the key."""
    made = hmac.new(root.secret.encode(), f"millrace:{namespace}".encode(), hashlib.sha256).hexdigest()
    return Account(f"namespace-{namespace}", made[:40])


def manifest(name: str, namespace: str, endpoint: str, account: Account) -> Manifest:
    """The Secret that pods of the namespace mount."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/part-of": "millrace", "app.kubernetes.io/managed-by": "millrace"},
        },
        "stringData": {
            "AWS_ACCESS_KEY_ID": account.key,
            "AWS_SECRET_ACCESS_KEY": account.secret,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_REGION": REGION,
        },
    }


def accounts(root: Account, namespaces: Iterable[str]) -> dict[str, Any]:
    """The store's file of accounts."""
    made = [of_namespace(root, namespace) for namespace in namespaces]
    plain = {"role": "user", "userID": 0, "groupID": 0, "projectID": 0}
    return {"accessAccounts": {one.key: {"access": one.key, "secret": one.secret, **plain} for one in made}}


def policy(uri: str, namespaces: Iterable[str]) -> dict[str, Any]:
    """The bucket's policy: each namespace reads, writes and lists its own folders. `uri` is `s3://bucket[/prefix]`."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    base = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    arn, statements = f"arn:aws:s3:::{bucket}", []
    for namespace in namespaces:
        whom = {"Effect": "Allow", "Principal": {"AWS": [f"namespace-{namespace}"]}}
        folders = [f"{base}{folder}/{namespace}/*" for folder in OWN_FOLDERS]
        listed = {"StringLike": {"s3:prefix": folders}}
        statements += [
            {**whom, "Action": _OBJECTS, "Resource": [f"{arn}/{folder}" for folder in folders]},
            {**whom, "Action": ["s3:ListBucket"], "Resource": [arn], "Condition": listed},
        ]
    return {"Version": "2012-10-17", "Statement": statements}


def confine(uri: str, data: Path, folder: Path, root: Account, namespaces: Sequence[str]) -> list[str]:
    """Write the bucket's directory with its policy, and the accounts; returns the namespaces that have a place there.

    Raises OSError.
    """
    bucket = data / uri.removeprefix("s3://").partition("/")[0]
    bucket.mkdir(exist_ok=True)
    placed = list(namespaces)
    while placed and not _is_kept(bucket, policy(uri, placed)):
        placed.pop()
    if not placed and POLICY_ATTRIBUTE in os.listxattr(bucket):
        os.removexattr(bucket, POLICY_ATTRIBUTE)
    file = folder / ACCOUNTS_FILE
    file.write_text(json.dumps(accounts(root, placed)), encoding="utf-8")
    file.chmod(0o600)
    return placed


def _is_kept(bucket: Path, rules: Mapping[str, Any]) -> bool:
    """Whether the file system had room for it: ext4 keeps 4 KiB with a directory, XFS 64. Raises OSError."""
    try:
        os.setxattr(bucket, POLICY_ATTRIBUTE, json.dumps(rules, separators=(",", ":")).encode())
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.E2BIG):
            return False
        raise
    return True


def known(environ: Mapping[str, str]) -> Account | None:
    """The store's own account, if its Secret was there when the container started."""
    key, secret = environ.get(ROOT_KEY), environ.get(ROOT_SECRET)
    return Account(key, secret) if key and secret else None


async def ensure(kube: Kube, body: Manifest) -> bool:
    """POSTs the Secret. False if one of that name was there already. Raises ApiError."""
    try:
        await kube.create(SECRETS, body)
    except errors.AlreadyExists:
        return False
    return True


async def provide(identity: credentials.Credentials, options: argparse.Namespace) -> int:
    """Secrets, accounts, policy. Raises ApiError, OSError."""
    own, root = options.namespace or identity.namespace, known(os.environ)
    async with Kube(identity) as kube:
        if root is None:
            root = make()
            if not await ensure(kube, manifest(options.secret, own, options.endpoint, root)):
                return _fail("another pod has just made them", "nothing: the kubelet starts this container again")
            _say(f"secret {own}/{options.secret} created")
        others = [namespace for namespace in dict.fromkeys(options.namespaces) if namespace != own]
        placed = confine(options.uri, options.data, options.accounts, root, others)
        for namespace in others[len(placed) :]:
            _say(f"namespace {namespace} is passed over: {CROWDED}")
        for namespace in placed:
            body = manifest(options.secret, namespace, options.endpoint, of_namespace(root, namespace))
            try:
                made = await ensure(kube, body)
            except (errors.NotFound, errors.Forbidden) as error:
                _say(f"namespace {namespace} is passed over: {error}")  # the others do not wait for it
            else:
                _say(f"secret {namespace}/{options.secret} {'created' if made else 'was there already'}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when the store may start, else 1 with the reason on standard error."""
    options = _parser().parse_args(arguments)
    try:
        identity = credentials.load(os.environ)
        own = options.namespace or identity.namespace
        return asyncio.run(provide(identity, options))
    except errors.CredentialsError as error:
        return _fail(str(error), "run this in a pod with a service account")
    except (errors.Unavailable, OSError) as error:
        return _fail(str(error), "kubectl describe pod millrace-store-0")
    except errors.ApiError as error:
        account = f"system:serviceaccount:{own}:millrace-store"
        return _fail(str(error), f"kubectl -n {own} auth can-i create secrets --as={account}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _fail(reason: str, following: str) -> int:
    sys.stderr.write(f"The store's credentials were not made: {reason}.\nNext: {following}\n")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="millrace store-credentials", description="Make the store's Secrets and accounts."
    )
    parser.add_argument("--secret", required=True, help="name of the Secrets")
    parser.add_argument("--endpoint", required=True, help="URL of the store, as pods of every namespace reach it")
    parser.add_argument("--uri", required=True, help="s3://bucket[/prefix]")
    parser.add_argument("--data", type=Path, required=True, help="the store's directory, with one for each bucket")
    parser.add_argument("--accounts", type=Path, required=True, help="the directory of its file of accounts")
    parser.add_argument("--namespace", default="", help="of the store itself; default: the pod's own")
    parser.add_argument("--for", dest="namespaces", action="append", default=[], metavar="NAMESPACE", help="repeatable")
    return parser
