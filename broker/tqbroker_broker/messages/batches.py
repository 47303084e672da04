"""One batch of submitted jobs: from the columns of the wire to those of the storage, with everything checked.

What is wrong with one job, or with the options of the batch, refuses those jobs and no others.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from tqbroker.v1 import job_pb2
from tqbroker_broker.config import BrokerConfig
from tqbroker_broker.messages.checks import LATEST_MS, check_name
from tqbroker_broker.messages.ids import read_ids, show, text_id
from tqbroker_broker.messages.traits import read_traits
from tqbroker_broker.records import Head, NewJobs, Time
from tqbroker_broker.refusals import Invalid, RefusalError, TooLarge
from tqbroker_broker.rules import PLAIN

MAX_TASK, MAX_QUEUE, MAX_FORMAT = 255, 128, 64
"""Characters in each of these names."""

MAX_HEADS = 1024
"""Different heads that are kept as one object each: an app has a few for each task. With more all are made anew."""

_encode = msgspec.msgpack.Encoder().encode
_heads: dict[Head, Head] = {}


class Read(NamedTuple):
    """What became of a batch: the jobs that can be tried (None: none can), their indexes, and why others cannot.

    `indexes` is None when all can, in their order.
    """

    jobs: NewJobs | None
    indexes: list[int] | None
    refused: list[tuple[int, RefusalError]]


def measure(
    batches: Sequence[job_pb2.JobBatch], most: int, config: BrokerConfig, without_id: frozenset[int] = frozenset()
) -> int:
    """The bytes of some batches. Raises Invalid for columns that do not fit together, TooLarge above a limit.

    There may be `most` batches; those with numbers in `without_id` have jobs without ids.
    """
    if len(batches) > most:
        raise TooLarge(f"the request has {len(batches)} batches and may have {most}: split it")
    jobs = size = 0
    for number, batch in enumerate(batches):
        count = len(batch.args)
        if len(batch.ids.uuids) != 16 * (count - len(batch.ids.texts)) and number not in without_id:
            raise Invalid(
                f"batch {number} has {count} args, {len(batch.ids.uuids)} bytes of uuids and {len(batch.ids.texts)}"
                " texts: every job needs one id and one args, and a uuid has 16 bytes"
            )
        jobs += count
        size += sum(map(len, batch.args)) + len(batch.headers)
    if jobs > config.max_request_jobs:
        raise TooLarge(f"the request has {jobs} jobs and may have {config.max_request_jobs}: split it")
    if size > config.max_request_bytes:
        if jobs == 1:  # nothing to split
            for batch in batches:
                for args in batch.args:
                    _check_args(args, config.max_args_size)
        raise TooLarge(f"the request has {size} bytes and may have {config.max_request_bytes}: split it")
    return size


def read_batch(batch: job_pb2.JobBatch, config: BrokerConfig, now: Time, *, later: bool = False) -> Read:
    """Checks and converts a batch that `measure` has seen. With `later` no duration counts yet: they are left out."""
    try:
        head = _head(batch, config)
        due_ms, expires_ms = _times(batch, now, later)
    except RefusalError as error:
        return Read(None, None, [(index, error) for index in range(len(batch.args))])
    args = list(batch.args)
    refused: list[tuple[int, RefusalError]] = []
    ids, indexes = _items(batch, args, config, refused)
    if indexes is not None:
        args = [args[index] for index in indexes]
    if not ids:
        return Read(None, None, refused)
    unique = _unique(batch, indexes) if head.traits is not PLAIN else ()
    digests = _digests(head, batch, args, unique)
    return Read(NewJobs(head, ids, args, digests, due_ms, expires_ms, unique), indexes, refused)


def _unique(batch: job_pb2.JobBatch, indexes: list[int] | None) -> Sequence[bytes]:
    """The unique keys of the jobs that can be tried; empty when they have none."""
    keys = list(batch.unique_keys)
    return [keys[index] for index in indexes] if keys and indexes is not None else keys


def _items(
    batch: job_pb2.JobBatch, args: list[bytes], config: BrokerConfig, refused: list[tuple[int, RefusalError]]
) -> tuple[list[bytes], list[int] | None]:
    """The ids of the jobs that can be tried, UUIDs first, and their indexes when some cannot."""
    limit = config.max_args_size
    if max(map(len, args), default=0) <= limit and not batch.ids.texts:
        return read_ids(batch.ids), None
    ids: list[bytes] = []
    indexes: list[int] = []
    uuids = batch.ids.uuids  # a copy of them all each time it is asked for
    count = len(uuids) // 16
    for index, body in enumerate(args):
        try:
            _check_args(body, limit)
            job = uuids[16 * index : 16 * index + 16] if index < count else text_id(batch.ids.texts[index - count])
        except RefusalError as error:
            refused.append((index, error))
        else:
            ids.append(job)
            indexes.append(index)
    return ids, indexes


def _check_args(args: bytes, limit: int) -> None:
    if len(args) > limit:
        raise TooLarge(
            f"the arguments have {len(args)} bytes and may have {limit}: put large things into a file and"
            " submit its name, or raise max_args_size",
            limit_bytes=str(limit),
        )


def _head(batch: job_pb2.JobBatch, config: BrokerConfig) -> Head:
    queue = batch.queue or "default"
    check_name("task", batch.task, MAX_TASK)
    check_name("queue", queue, MAX_QUEUE)
    check_name("format", batch.format, MAX_FORMAT)
    if batch.priority > 9:
        raise Invalid(f"priority is {batch.priority}: it must be 0 to 9, and a higher number goes first")
    if len(batch.headers) > config.max_headers_size:
        raise TooLarge(
            f"the headers have {len(batch.headers)} bytes and may have {config.max_headers_size}: put what is large"
            " into the arguments, or raise max_headers_size",
            limit_bytes=str(config.max_headers_size),
        )
    if batch.result_ttl_ms > LATEST_MS:
        raise Invalid(f"result_ttl_ms is {batch.result_ttl_ms}: it must be at most {LATEST_MS}")
    options = batch.ignore_result, batch.result_ttl_ms, batch.headers, read_traits(batch)
    head = Head(batch.task, queue, batch.priority, batch.format, *options)
    if batch.parent or batch.root:  # seldom the same twice
        return msgspec.structs.replace(head, parent=_id_text(batch.parent), root=_id_text(batch.root))
    return _interned(head)


def _id_text(text: str) -> str:
    """The text of an id, or of none, as it is shown. Raises Invalid."""
    return show(text_id(text)) if text else ""


def _interned(head: Head) -> Head:
    """One object for equal heads, so that an engine can keep what it made of it."""
    known = _heads.get(head)
    if known is None:
        if len(_heads) >= MAX_HEADS:
            _heads.clear()
        known = _heads[head] = head
    return known


def _times(batch: job_pb2.JobBatch, now: Time, later: bool) -> tuple[int, int]:
    """When the jobs become due and when they expire; 0 for at once and for never."""
    if batch.countdown_ms and batch.eta_unix_ms:
        raise Invalid("countdown and eta are both set: a job can have one of them")
    if batch.expires_in_ms and batch.expires_unix_ms:
        raise Invalid("expires is given both as a duration and as a time: a job can have one of them")
    if max(batch.countdown_ms, batch.eta_unix_ms, batch.expires_in_ms, batch.expires_unix_ms) > LATEST_MS:
        raise Invalid(f"a time or duration is beyond the year 9999: it must be at most {LATEST_MS} milliseconds")
    countdown, expires_in = (0, 0) if later else (batch.countdown_ms, batch.expires_in_ms)
    due = now.wall_ms + countdown if countdown else batch.eta_unix_ms
    expires = now.wall_ms + expires_in if expires_in else batch.expires_unix_ms
    return (due if due > now.wall_ms else 0), expires


def _digests(head: Head, batch: job_pb2.JobBatch, args: list[bytes], unique: Sequence[bytes]) -> list[bytes]:
    """What tells "same body": the canonical fields as they were sent, so that a resend has the same digest."""
    times = (batch.countdown_ms, batch.eta_unix_ms, batch.expires_in_ms, batch.expires_unix_ms)
    shared = blake2b(_encode((head, times)), digest_size=16)
    digests: list[bytes] = []
    for index, body in enumerate(args):
        each = shared.copy()
        each.update(body)
        if unique:
            each.update(unique[index])
        digests.append(each.digest())
    return digests
