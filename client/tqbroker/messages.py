"""Our values to wire messages and back. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tqbroker.call import Traits, Unique
from tqbroker.failures import FailureData
from tqbroker.ids import Key, text_of
from tqbroker.states import Phase, RevokeEffect
from tqbroker.transport import AttemptInfo, BrokerInfo, JobInfo, ProgressInfo, QueueInfo, WorkerInfo
from tqbroker.v1 import admin_pb2, job_pb2, queue_pb2

_EFFECTS: dict[int, RevokeEffect] = {
    queue_pb2.CANCEL_EFFECT_CANCELLED: RevokeEffect.CANCELLED,
    queue_pb2.CANCEL_EFFECT_RUNNING: RevokeEffect.RUNNING,
    queue_pb2.CANCEL_EFFECT_PENDING: RevokeEffect.PENDING,
    queue_pb2.CANCEL_EFFECT_FINAL: RevokeEffect.FINAL,
    queue_pb2.CANCEL_EFFECT_UNKNOWN: RevokeEffect.UNKNOWN,
}


_UNTIL = {
    "queued": job_pb2.UNIQUE_UNTIL_QUEUED,
    "started": job_pb2.UNIQUE_UNTIL_STARTED,
    "finished": job_pb2.UNIQUE_UNTIL_FINISHED,
    "time": job_pb2.UNIQUE_UNTIL_TIME,
}
_CONFLICT = {
    "reject": job_pb2.UNIQUE_CONFLICT_REJECT,
    "keep": job_pb2.UNIQUE_CONFLICT_KEEP,
    "replace": job_pb2.UNIQUE_CONFLICT_REPLACE,
}


def traits_message(traits: Traits) -> job_pb2.Traits:
    """What a plain job does not have, as it goes over the wire."""
    return job_pb2.Traits(
        tenant=traits.tenant,
        ordering_key=traits.ordering_key,
        limits=traits.limits,
        requires=traits.requires,
        stamps=traits.stamps,
        time_limit_ms=traits.time_limit_ms,
        soft_time_limit_ms=traits.soft_time_limit_ms,
        unique=None if traits.unique is None else _unique_message(traits.unique),
        shadow=traits.shadow,
    )


def _unique_message(unique: Unique) -> job_pb2.Unique:
    return job_pb2.Unique(until=_UNTIL[unique.until], conflict=_CONFLICT[unique.conflict], for_ms=unique.for_ms)


def pack_ids(keys: Iterable[Key]) -> job_pb2.Ids:
    """The column of these ids. UUIDs come first: where order matters, `keys` must be of one kind or sorted so."""
    uuids: list[bytes] = []
    texts: list[str] = []
    for key in keys:
        if isinstance(key, bytes):
            uuids.append(key)
        else:
            texts.append(key)
    return job_pb2.Ids(uuids=b"".join(uuids), texts=texts)


def pack_in_order(keys: Sequence[Key]) -> job_pb2.Ids:
    """A column that keeps the order of ids of both kinds: then all travel as text, which a broker takes too."""
    mixed = len(set(map(type, keys))) > 1
    return job_pb2.Ids(texts=map(text_of, keys)) if mixed else pack_ids(keys)


def unpack_ids(ids: job_pb2.Ids) -> list[Key]:
    """The keys in a column, in its order. Raises ValueError when the UUID bytes are no multiple of 16."""
    data = ids.uuids
    if len(data) % 16:
        raise ValueError(f"a column of UUIDs has {len(data)} bytes, which is no multiple of 16")
    keys: list[Key] = [data[at : at + 16] for at in range(0, len(data), 16)]
    keys.extend(ids.texts)
    return keys


def job_info(status: job_pb2.JobStatus) -> JobInfo:
    """A job's status as the client keeps it."""
    info = JobInfo(
        key=status.uuid or status.text,
        phase=Phase(status.state),
        forgotten=status.forgotten,
        task=status.task,
        queue=status.queue,
        priority=status.priority,
        format=status.format,
        args=status.args,
        headers=status.headers,
        submitted_ms=status.submitted_unix_ms,
        due_ms=status.due_unix_ms,
        expires_ms=status.expires_unix_ms,
        started_ms=status.started_unix_ms,
        finished_ms=status.finished_unix_ms,
        worker=status.worker,
        retries=status.retries,
        lost_leases=status.lost_leases,
        result=status.result,
        result_format=status.result_format,
        ignore_result=status.ignore_result,
        failure=failure_data(status.failure) if status.HasField("failure") else None,
        cancel_requested=status.cancel_requested,
        waits_for=status.waits_for,
        traits=_traits(status.traits) if status.HasField("traits") else {},
        progress=_progress(status.progress) if status.HasField("progress") else None,
        attempts=[_attempt(attempt) for attempt in status.attempts],
    )
    if status.workflow or status.root:
        _fill_place(info, status)
    if status.HasField("children"):
        info.children = unpack_ids(status.children)
    return info


def _fill_place(info: JobInfo, status: job_pb2.JobStatus) -> None:
    """What only jobs of workflows have, and those that jobs have submitted."""
    info.workflow, info.parent, info.root, info.cause = status.workflow, status.parent, status.root, status.cause
    info.group, info.group_index = status.group, status.group_index


def _traits(traits: job_pb2.Traits) -> dict[str, Any]:
    return {
        "tenant": traits.tenant,
        "ordering_key": traits.ordering_key,
        "limits": list(traits.limits),
        "requires": list(traits.requires),
        "stamps": list(traits.stamps),
        "time_limit_ms": traits.time_limit_ms,
        "soft_time_limit_ms": traits.soft_time_limit_ms,
        "shadow": traits.shadow,
    }


def _progress(progress: job_pb2.Progress) -> ProgressInfo:
    return ProgressInfo(
        state=progress.state,
        meta=progress.meta,
        format=progress.format,
        done=progress.done,
        total=progress.total,
        note=progress.note,
        at_ms=progress.at_unix_ms,
    )


def _attempt(attempt: job_pb2.Attempt) -> AttemptInfo:
    return AttemptInfo(
        worker=attempt.worker,
        verdict=attempt.verdict,
        started_ms=attempt.started_unix_ms,
        ended_ms=attempt.ended_unix_ms,
        next_due_ms=attempt.next_due_unix_ms,
        failure=failure_data(attempt.failure) if attempt.HasField("failure") else None,
    )


def failure_data(failure: job_pb2.Failure) -> FailureData:
    """A failure as it came over the wire."""
    return FailureData(
        failure.type, failure.module, failure.message, failure.traceback, failure.args, failure.format or "json"
    )


def effects(values: Sequence[int]) -> list[RevokeEffect]:
    """What a cancel did to each job."""
    return [_EFFECTS.get(value, RevokeEffect.UNKNOWN) for value in values]


def broker_info(
    broker: admin_pb2.GetBrokerResponse,
    queues: admin_pb2.ListQueuesResponse,
    workers: admin_pb2.ListWorkersResponse,
) -> BrokerInfo:
    """The three answers that `tqbroker status` shows, as one value."""
    return BrokerInfo(
        version=broker.version,
        durability=broker.durability,
        data_dir=broker.data_dir,
        started_ms=broker.started_unix_ms,
        awaited=list(broker.awaited),
        recovery_left_ms=broker.recovery_left_ms,
        used_bytes=broker.used_bytes,
        high_water_bytes=broker.high_water_bytes,
        queues=[_queue_info(queue) for queue in queues.queues],
        workers=[_worker_info(worker) for worker in workers.workers],
        store=broker.store.hex(),
        backup_ms=broker.backup_unix_ms,
        backup_bytes=broker.backup_bytes,
    )


def _queue_info(queue: admin_pb2.QueueInfo) -> QueueInfo:
    return QueueInfo(
        name=queue.name,
        queued=queue.queued,
        running=queue.running,
        scheduled=queue.scheduled,
        succeeded=queue.succeeded,
        failed=queue.failed,
        cancelled=queue.cancelled,
        expired=queue.expired,
        waiting=queue.waiting,
    )


def _worker_info(worker: admin_pb2.WorkerInfo) -> WorkerInfo:
    return WorkerInfo(
        name=worker.name,
        connected=worker.connected,
        queues=list(worker.queues),
        tasks=list(worker.tasks),
        slots=worker.slots,
        pool=worker.pool,
        host=worker.host,
        pid=worker.pid,
        version=worker.version,
        leases=worker.leases,
        labels=list(worker.labels),
        connected_ms=worker.connected_unix_ms,
        last_seen_ms=worker.last_seen_unix_ms,
    )
