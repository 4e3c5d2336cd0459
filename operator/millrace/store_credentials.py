"""`millrace store-credentials`: makes the embedded store's credentials, once, from the init container of its pod.

The Secret is created if it is absent and otherwise left as it is: the pod's account may create Secrets and read none.
So two pods that race, a restart, or a reinstallation over an old volume all end with the first Secret.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from millrace import errors
from millrace.clients import credentials

REGION = "us-east-1"
SECONDS = 10.0


def manifest(name: str, namespace: str, endpoint: str) -> dict[str, Any]:
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


def create(identity: credentials.Credentials, body: Mapping[str, Any]) -> bool:
    """POSTs the Secret. False if one of that name was there already.

    Raises:
        urllib.error.HTTPError: any other answer than success or conflict.
        OSError: the API server did not answer.
    """
    request = urllib.request.Request(  # noqa: S310 - the API server's own address, https
        f"{identity.server}/api/v1/namespaces/{body['metadata']['namespace']}/secrets",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {identity.token()}", "Content-Type": "application/json"},
        method="POST",
    )
    try:
        urllib.request.urlopen(request, timeout=SECONDS, context=identity.ssl_context()).close()  # noqa: S310 - as above
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 409:
                return False
            raise
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes the bucket's directory and the Secret; 0 when both are there, else 1 with the reason on standard error."""
    options = _parser().parse_args(arguments)
    try:
        if options.bucket_directory:
            options.bucket_directory.mkdir(exist_ok=True)
        identity = credentials.load(os.environ)
        namespace = options.namespace or identity.namespace
        made = create(identity, manifest(options.secret, namespace, options.endpoint))
    except urllib.error.HTTPError as error:
        account = f"system:serviceaccount:{namespace}:millrace-store"
        return _fail(
            f"the API server answered {error.code} {error.reason} to the creation of Secret {options.secret}",
            f"kubectl -n {namespace} auth can-i create secrets --as={account}",
        )
    except errors.CredentialsError as error:
        return _fail(str(error), "run this in a pod with a service account")
    except OSError as error:
        return _fail(f"{error}", "kubectl describe pod millrace-store-0")
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
