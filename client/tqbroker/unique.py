"""Keys made from what a job is: the unique key that no two jobs share, and the id of an idempotent call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from tqbroker import codec
from tqbroker.ids import Key


def unique_key(task: str, text: str | None, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
    """16 bytes from the task and the chosen text, or else from the arguments, whatever the order of keywords."""
    if text is not None:
        return _digest(b"unique", task, b"\1" + text.encode())
    return _digest(b"unique", task, b"\0" + codec.encode_call(args, {name: kwargs[name] for name in sorted(kwargs)}))


def idempotent_id(task: str, key: str) -> bytes:
    """The id of the job with this idempotency key: a UUID of version 8, made of the task and the key."""
    return _uuid8(_digest(b"id", task, key.encode()))


def body_id(group: bytes) -> bytes:
    """The id of the body of a chord whose header is this group: a UUID of version 8."""
    return _uuid8(_digest(b"body", "", group))


def workflow_id(keys: Iterable[Key]) -> bytes:
    """The id of a workflow whose jobs have fixed ids: sent again, it is the same one."""
    texts = (key if isinstance(key, bytes) else key.encode() for key in keys)
    return _uuid8(_digest(b"flow", "", b"\0".join(texts)))


def _uuid8(digest: bytes) -> bytes:
    uuid = bytearray(digest)
    uuid[6] = 0x80 | uuid[6] & 0x0F
    uuid[8] = 0x80 | uuid[8] & 0x3F
    return bytes(uuid)


def _digest(purpose: bytes, task: str, rest: bytes) -> bytes:
    return blake2b(task.encode() + b"\0" + rest, digest_size=16, person=b"tqbroker:" + purpose).digest()
