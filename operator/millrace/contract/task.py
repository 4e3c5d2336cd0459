"""How a task reaches a pod: as a file, which the kubelet writes from an annotation of the pod.

A variable holds at most 128 KiB, and one that is longer keeps a container from starting. The annotations of an object
hold 256 KiB together: a task of over 64 KiB is packed, which makes room for 300 KB of random letters or several
megabytes of an ordinary schema. What does not fit even so, the API server refuses with the Job. Job and task are one
object: neither is there without the other.
"""

from __future__ import annotations

import base64
import functools
import lzma

from millrace.contract.record import MalformedRecord

ANNOTATION = "millrace.dev/task"
DIRECTORY = "/etc/millrace/task"
FILE = "task.json"
VARIABLE = "MILLRACE_TASK_FILE"
"""Where the file is outside Kubernetes."""
PLAIN_BYTES = 64 * 1024
MOST_BYTES = 64 * 1024 * 1024
"""A packed task is never larger than this when it is unpacked."""
_PACKED = "xz:"


@functools.lru_cache(maxsize=32)
def pack(text: str) -> str:
    """The annotation: the JSON as it is while it is small enough to be read by people, else `xz:` and base 85.

    Kept, for the same task is rendered in every pass while its Job runs and packing a megabyte takes half a second.
    """
    data = text.encode()
    if len(data) <= PLAIN_BYTES:
        return text
    return _PACKED + base64.b85encode(lzma.compress(data)).decode()


def unpack(text: str) -> str:
    """The JSON of an annotation. Raises MalformedRecord."""
    if not text.startswith(_PACKED):
        return text
    try:
        unpacker = lzma.LZMADecompressor(memlimit=MOST_BYTES)
        data = unpacker.decompress(base64.b85decode(text.removeprefix(_PACKED)), MOST_BYTES)
        if not unpacker.eof:
            raise MalformedRecord(f"{FILE}: incomplete, or larger than {MOST_BYTES >> 20} MiB")
        return data.decode()
    except (lzma.LZMAError, UnicodeError, ValueError) as error:
        raise MalformedRecord(f"{FILE}: cannot be unpacked: {error}") from error
