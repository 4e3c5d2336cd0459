"""`millrace store-credentials`: makes the embedded store's credentials, once, from the init container of its pod.

The Secret is created if it is absent and otherwise left as it is: the pod's account may create Secrets and read none.
So two pods that race, a restart, or a reinstallation over an old volume all end with the first Secret.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from millrace import errors
from millrace.api.resources import ResourceType
from millrace.clients import credentials
from millrace.clients.kube import Kube
from millrace.clients.store import Manifest

REGION = "us-east-1"
SECRETS = ResourceType(group="", version="v1", plural="secrets", kind="Secret")
"""Not among `api.resources`: the operator itself has no verb on them."""


def manifest(name: str, namespace: str, endpoint: str) -> Manifest:
    """A Secret with new keys: 20 hex digits of name, 240 random bits of key."""
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
            "AWS_ACCESS_KEY_ID": secrets.token_hex(10).upper(),
            "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(30),
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_REGION": REGION,
        },
    }


async def create(identity: credentials.Credentials, body: Manifest) -> bool:
    """POSTs the Secret. False if one of that name was there already. Raises ApiError."""
    async with Kube(identity) as kube:
        try:
            await kube.create(SECRETS, body)
        except errors.AlreadyExists:
            return False
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes the bucket's directory and the Secret; 0 when both are there, else 1 with the reason on standard error."""
    options = _parser().parse_args(arguments)
    try:
        if options.bucket_directory:
            options.bucket_directory.mkdir(exist_ok=True)
        identity = credentials.load(os.environ)
        namespace = options.namespace or identity.namespace
        made = asyncio.run(create(identity, manifest(options.secret, namespace, options.endpoint)))
    except errors.CredentialsError as error:
        return _fail(str(error), "run this in a pod with a service account")
    except (errors.Unavailable, OSError) as error:
        return _fail(str(error), "kubectl describe pod millrace-store-0")
    except errors.ApiError as error:
        account = f"system:serviceaccount:{namespace}:millrace-store"
        return _fail(str(error), f"kubectl -n {namespace} auth can-i create secrets --as={account}")
    sys.stdout.write(f"secret {namespace}/{options.secret} {'created' if made else 'was there already'}\n")
    return 0


def _fail(reason: str, following: str) -> int:
    sys.stderr.write(f"The store's credentials were not made: {reason}.\nNext: {following}\n")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="millrace store-credentials", description="Make the store's Secret if absent."
    )
    parser.add_argument("--secret", required=True, help="name of the Secret")
    parser.add_argument("--endpoint", required=True, help="URL of the store, as pods of the namespace reach it")
    parser.add_argument("--namespace", default="", help="default: the pod's own")
    parser.add_argument("--bucket-directory", type=Path, help="made if absent: to the store a directory is a bucket")
    return parser
