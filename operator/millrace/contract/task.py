"""How a task reaches a pod: as a file, which the kubelet writes from an annotation of the pod.

A variable holds at most 128 KiB, and one that is longer keeps a container from starting. The annotations of an object
hold 256 KiB together: a task of over 64 KiB is packed, which makes room for one of a megabyte and more. What does not
fit even so, the API server refuses with the Job. Job and task are one object: neither is there without the other.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import io

from millrace.contract.record import MalformedRecord

ANNOTATION = "millrace.dev/task"
DIRECTORY = "/etc/millrace/task"
FILE = "task.json"
VARIABLE = "MILLRACE_TASK_FILE"
"""Where the file is outside Kubernetes."""
PLAIN_BYTES = 64 * 1024
MOST_BYTES = 64 * 1024 * 1024
"""A packed task is never larger than this when it is unpacked."""


def pack(text: str) -> str:
    """The annotation: the JSON as it is while it is small enough to be read by people, else gzip in base64."""
    data = text.encode()
    if len(data) <= PLAIN_BYTES:
        return text
    return base64.b64encode(gzip.compress(data, mtime=0)).decode()


def unpack(text: str) -> str:
    """The JSON of an annotation. Raises MalformedRecord."""
    if text.lstrip()[:1] in ("{", ""):
        return text
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(base64.b64decode(text, validate=True))) as packed:
            data = packed.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise MalformedRecord(f"{FILE}: larger than {MOST_BYTES >> 20} MiB")
        return data.decode()
    except (binascii.Error, OSError, EOFError, UnicodeError, ValueError) as error:
        raise MalformedRecord(f"{FILE}: neither JSON nor gzip in base64: {error}") from error
