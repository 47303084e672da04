"""One call of a task, or many alike, as values on their way to the broker."""

from __future__ import annotations

from typing import NamedTuple

from tqbroker.ids import Key


class Head(NamedTuple):
    """What jobs of one batch share. Zero means "not set"; times are as in proto/tqbroker/v1/job.proto."""

    task: str
    queue: str
    priority: int
    format: str
    ignore_result: bool = False
    result_ttl_ms: int = 0
    countdown_ms: int = 0
    eta_unix_ms: int = 0
    expires_in_ms: int = 0
    expires_unix_ms: int = 0
    headers: bytes = b""


class Batch(NamedTuple):
    """Jobs with one head, as columns: a key and the encoded arguments for each."""

    head: Head
    keys: list[Key]
    args: list[bytes]
