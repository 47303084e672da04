"""An operator's values to wire messages and back. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tqbroker.ids import Key
from tqbroker.messages import pack_ids, unpack_ids
from tqbroker.operations import (
    Cancel,
    Change,
    Drop,
    Edited,
    Event,
    EventKind,
    JobFilter,
    LimitInfo,
    LimitRule,
    Move,
    Overflow,
    QueueChange,
    QueueRule,
    Redrive,
    Replies,
    Reschedule,
)
from tqbroker.rates import Rate
from tqbroker.v1 import admin_pb2 as pb
from tqbroker.v1 import worker_pb2

_OVERFLOWS = {Overflow.REFUSE: pb.OVERFLOW_REFUSE, Overflow.DROP_OLDEST: pb.OVERFLOW_DROP_OLDEST}


def filter_message(wanted: JobFilter) -> pb.JobFilter:
    """A filter as it goes over the wire."""
    return pb.JobFilter(
        states=[int(phase) for phase in sorted(wanted.phases)],  # type: ignore[misc]
        queue=wanted.queue,
        task=wanted.task,
        stamps=wanted.stamps,
        worker=wanted.worker,
        error=wanted.error,
        submitted_after_unix_ms=wanted.submitted_after_ms,
        submitted_before_unix_ms=wanted.submitted_before_ms,
    )


def edit_request(wanted: JobFilter | list[Key], change: Change, *, dry_run: bool) -> pb.EditJobsRequest:
    """An order to change jobs, for its first call."""
    request = pb.EditJobsRequest(dry_run=dry_run)
    if isinstance(wanted, JobFilter):
        request.filter.CopyFrom(filter_message(wanted))
    else:
        request.ids.CopyFrom(pack_ids(wanted))
    match change:
        case Redrive(args, spacing_ms):
            request.redrive.CopyFrom(pb.Redrive(args=args, spacing_ms=spacing_ms))
        case Reschedule(due_ms):
            request.reschedule.CopyFrom(pb.Reschedule(due_unix_ms=due_ms))
        case Move(queue, priority):
            request.move.CopyFrom(pb.Move(queue=queue or "", priority=priority))
        case Drop():
            request.drop.CopyFrom(pb.Drop())
        case Cancel(terminate, signal):
            request.cancel.CopyFrom(pb.Cancel(terminate=terminate, signal=signal))
    return request


def edited(answer: pb.EditJobsResponse) -> list[Edited]:
    """What became of the jobs of one call."""
    return [Edited(job.id, job.effect, job.refusal) for job in answer.jobs]


def queue_request(queue: str, change: QueueChange) -> pb.SetQueueRequest:
    """A change of a queue's rule."""
    return pb.SetQueueRequest(
        queue=queue,
        paused=change.paused,
        max_length=change.max_length,
        overflow=None if change.overflow is None else _OVERFLOWS[change.overflow],
        ttl_ms=change.ttl_ms,
        weights=change.weights,
    )


def queue_rule(rule: pb.QueueRule) -> QueueRule:
    """A queue's rule as it came over the wire."""
    overflow = Overflow.DROP_OLDEST if rule.overflow == pb.OVERFLOW_DROP_OLDEST else Overflow.REFUSE
    return QueueRule(rule.paused, rule.max_length, overflow, rule.ttl_ms, dict(rule.weights))


def limit_message(rule: LimitRule) -> worker_pb2.LimitRule:
    """A limit's rule as it goes over the wire."""
    rates = [worker_pb2.Rate(count=count, period_ms=period_ms) for count, period_ms in rule.rates]
    return worker_pb2.LimitRule(name=rule.name, concurrency=rule.concurrency, rates=rates)


def limit_info(info: pb.LimitInfo) -> LimitInfo:
    """A limit as it came over the wire."""
    rates = tuple(Rate(rate.count, rate.period_ms) for rate in info.rule.rates)
    return LimitInfo(LimitRule(info.rule.name, info.rule.concurrency, rates), info.source, info.running)


def replies(answer: pb.ControlResponse) -> Replies:
    """What workers answered."""
    good = {reply.worker: json.loads(reply.body or b"null") for reply in answer.replies if not reply.error}
    bad = {reply.worker: reply.error for reply in answer.replies if reply.error}
    return Replies(good, bad, list(answer.missing))


def events(columns: pb.Events) -> Iterator[Event]:
    """The events of one column, one by one."""
    keys: list[Key | None] = [*unpack_ids(columns.ids)] or [None]
    for number, key in enumerate(keys, columns.first):
        yield Event(
            number, EventKind(columns.kind), columns.at_unix_ms, key,
            columns.task, columns.queue, columns.worker, columns.error,
        )  # fmt: skip
