"""Submits cut into requests, and what an answer says of each job. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from tqbroker.call import PLAIN, Batch
from tqbroker.ids import Key
from tqbroker.messages import pack_ids, traits_message
from tqbroker.transport import KEPT, Refused
from tqbroker.v1 import errors_pb2, job_pb2, queue_pb2

MAX_JOBS = 2000
MAX_BYTES = 1 << 20
WINDOW = 8
"""Requests of one submit in flight at once: enough to keep the broker's commits full, and a bound on what is held."""

_JOB_OVERHEAD = 24
_HEAD_OVERHEAD = 64

LATER = frozenset({errors_pb2.REASON_STORE_FULL, errors_pb2.REASON_BUSY, errors_pb2.REASON_STOPPING})
"""Refusals that pass by themselves."""
AMBIGUOUS = errors_pb2.REASON_AMBIGUOUS
CERTAIN = frozenset(errors_pb2.Reason.values()) - {errors_pb2.REASON_UNSPECIFIED, AMBIGUOUS}
"""Reasons that say for sure that nothing was done: a bug of the broker does not, nor a reason of a newer one."""


class Shipment:
    """One request on its way. `maybe`: it was sent once without an answer, so its jobs may be stored."""

    __slots__ = ("batches", "maybe", "reason", "request", "trouble")

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches
        self.request = queue_pb2.EnqueueRequest(batches=[batch_message(batch) for batch in batches])
        self.maybe = False
        self.reason = "UNREACHABLE"
        self.trouble = ""

    def keys(self) -> Iterator[Key]:
        """The key of every job in it."""
        for batch in self.batches:
            yield from batch.keys

    def given_up(self, trouble: str) -> list[Refused]:
        """Every job as not confirmed in time. `trouble` says why; a reason heard from the broker says it better."""
        return [Refused(key, self.reason, self.trouble or trouble, self.maybe) for key in self.keys()]

    def refused(self, reason: str, message: str) -> list[Refused]:
        """Every job as refused for good."""
        return [Refused(key, reason, message, self.maybe) for key in self.keys()]


class Verdict(NamedTuple):
    """What an answer means: the jobs refused for good, or (`retry_after` in seconds) send all of it again."""

    refused: list[Refused]
    retry_after: float | None = None


class Patience:
    """How long a submit waits, in seconds of `clock`. It starts anew with every part that is confirmed."""

    __slots__ = ("_clock", "deadline", "timeout")

    def __init__(self, timeout: float, clock: Callable[[], float]) -> None:
        self.timeout = timeout
        self._clock = clock
        self.renew()

    def renew(self) -> None:
        """A part is confirmed."""
        self.deadline = self._clock() + self.timeout

    def left(self) -> float:
        """Seconds until it ends."""
        return self.deadline - self._clock()


def cut(batches: Iterable[Batch]) -> Iterator[Shipment]:
    """Requests of bounded size. Order is kept; ids that are UUIDs and others never share a wire batch."""
    pending: list[Batch] = []
    jobs = size = 0
    for batch in batches:
        for piece in pieces(batch, MAX_JOBS, MAX_BYTES):
            weight = _weight(piece)
            if pending and (jobs + len(piece.keys) > MAX_JOBS or size + weight > MAX_BYTES):
                yield Shipment(pending)
                pending, jobs, size = [], 0, 0
            pending.append(piece)
            jobs += len(piece.keys)
            size += weight
    if pending:
        yield Shipment(pending)


def pieces(batch: Batch, most_jobs: int, most_bytes: int) -> Iterator[Batch]:
    """The batch in slices that fit one request each and hold one kind of id."""
    count = len(batch.keys)
    kinds = set(map(type, batch.keys))
    if count > most_jobs:
        for start in range(0, count, most_jobs):
            yield from pieces(_slice(batch, start, start + most_jobs), most_jobs, most_bytes)
    elif count > 1 and (len(kinds) > 1 or _weight(batch) > most_bytes):
        yield from pieces(_slice(batch, 0, count // 2), most_jobs, most_bytes)
        yield from pieces(_slice(batch, count // 2, count), most_jobs, most_bytes)
    elif count:
        yield batch


def _slice(batch: Batch, start: int, stop: int) -> Batch:
    unique_keys = None if batch.unique_keys is None else batch.unique_keys[start:stop]
    return Batch(batch.head, batch.keys[start:stop], batch.args[start:stop], unique_keys)


def _weight(batch: Batch) -> int:
    head = batch.head
    names = len(head.task) + len(head.queue) + len(head.parent) + len(head.root)
    shared = names + len(head.headers) + _HEAD_OVERHEAD
    return sum(map(len, batch.args)) + _JOB_OVERHEAD * len(batch.args) + shared


def batch_message(batch: Batch) -> job_pb2.JobBatch:
    """A batch as it goes over the wire."""
    traits = batch.head.traits
    message = _plain_message(batch)
    if batch.head.root:
        message.parent, message.root = batch.head.parent, batch.head.root
    if traits is PLAIN:
        return message
    message.traits.CopyFrom(traits_message(traits))
    message.unique_keys.extend(batch.unique_keys or ())
    return message


def _plain_message(batch: Batch) -> job_pb2.JobBatch:
    head = batch.head
    return job_pb2.JobBatch(
        task=head.task,
        queue=head.queue,
        priority=head.priority,
        format=head.format,
        ignore_result=head.ignore_result,
        result_ttl_ms=head.result_ttl_ms,
        countdown_ms=head.countdown_ms,
        eta_unix_ms=head.eta_unix_ms,
        expires_in_ms=head.expires_in_ms,
        expires_unix_ms=head.expires_unix_ms,
        headers=head.headers,
        ids=pack_ids(batch.keys),
        args=batch.args,
    )


def judge(shipment: Shipment, answer: queue_pb2.EnqueueStreamResponse) -> Verdict:
    """What the broker's answer means for the shipment."""
    if answer.HasField("error"):
        return _judge_whole(shipment, answer.error)
    troubles = [exception for exception in answer.response.exceptions if exception.HasField("error")]
    passing = [exception.error for exception in troubles if exception.error.reason in LATER]
    if passing:
        return _again(shipment, max(passing, key=lambda error: error.retry_after_ms))
    return Verdict([_refused(shipment, item) for item in answer.response.exceptions if _says(item)])


def _says(item: queue_pb2.EnqueueException) -> bool:
    """Whether this is more than a job that was stored before."""
    return item.HasField("error") or bool(item.kept)


def _refused(shipment: Shipment, item: queue_pb2.EnqueueException) -> Refused:
    key = shipment.batches[item.batch].keys[item.index]
    if item.kept:
        return Refused(key, KEPT, "", False, item.kept)
    return Refused(key, reason_name(item.error), item.error.message, False, item.error.facts.get("holder", ""))


def _judge_whole(shipment: Shipment, error: errors_pb2.Error) -> Verdict:
    if error.reason == AMBIGUOUS:
        shipment.maybe = True
        return _again(shipment, error)
    if error.reason in LATER:
        return _again(shipment, error)
    shipment.maybe = shipment.maybe or error.reason not in CERTAIN
    return Verdict(shipment.refused(reason_name(error), error.message))


def _again(shipment: Shipment, error: errors_pb2.Error) -> Verdict:
    shipment.reason = reason_name(error)
    shipment.trouble = error.message
    return Verdict([], error.retry_after_ms / 1000)


def reason_name(error: errors_pb2.Error) -> str:
    """A reason as users see it, for example STORE_FULL; one of a newer broker as its number, for example REASON_99."""
    known = errors_pb2.Reason.DESCRIPTOR.values_by_number.get(error.reason)
    return known.name.removeprefix("REASON_") if known is not None else f"REASON_{error.reason}"
