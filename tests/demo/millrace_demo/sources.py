"""Puts source files where a Dataset reads them: the embedded store, through a port-forward."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from . import marker
from .kubectl import Kubectl

BUCKET = "millrace"


@dataclass(frozen=True)
class Sources:
    """An S3 client on the embedded store, and the team whose folder it writes to."""

    client: Any
    namespace: str

    def put(self, name: str, body: bytes) -> str:
        """Write an object among the team's sources; its URI."""
        self.client.put_object(Bucket=BUCKET, Key=self.key(name), Body=body)
        return f"s3://{BUCKET}/{self.key(name)}"

    def delete(self, name: str) -> None:
        """Delete what was put under that name."""
        self.client.delete_object(Bucket=BUCKET, Key=self.key(name))

    def key(self, name: str) -> str:
        """Where an object of that name is: the team's keys reach no other folder."""
        return f"sources/{self.namespace}/{name.removeprefix('sources/')}"

    def get(self, uri: str) -> bytes:
        """The bytes behind an `s3://` URI."""
        bucket, key = uri.removeprefix("s3://").split("/", 1)
        return bytes(self.client.get_object(Bucket=bucket, Key=key)["Body"].read())


@contextlib.contextmanager
def open_sources(kubectl: Kubectl, service: str = "millrace-store", port: int = 7070) -> Iterator[Sources]:
    """The embedded store that serves the team in kubectl's namespace, with the credentials that the team has."""
    import botocore.config
    import botocore.session

    secret = kubectl.get("secret", "millrace-store") or {"data": {}}
    values = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    with kubectl.within(marker.home(kubectl.namespace)).port_forward(f"svc/{service}", port) as url:
        client = botocore.session.Session().create_client(
            "s3",
            endpoint_url=url,
            region_name=values.get("AWS_REGION", "us-east-1"),
            aws_access_key_id=values["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=values["AWS_SECRET_ACCESS_KEY"],
            config=botocore.config.Config(
                s3={"addressing_style": "path"}, retries={"max_attempts": 5}, connect_timeout=5, read_timeout=30
            ),
        )
        yield Sources(client, kubectl.namespace)
