"""What is known of a job, for the wire."""

from __future__ import annotations

from tqbroker.v1 import job_pb2 as pb
from tqbroker_broker.answers import Job
from tqbroker_broker.attempts import Failure, PastAttempt, Progress
from tqbroker_broker.messages.ids import show, write_ids
from tqbroker_broker.messages.traits import write_traits
from tqbroker_broker.records import JobId, key_text
from tqbroker_broker.rules import PLAIN


def write_status(job: Job, waits_for: str = "", *, with_args: bool = False) -> pb.JobStatus:
    """A JobStatus; `with_args` fills format, arguments and headers."""
    status = pb.JobStatus(
        state=pb.State.ValueType(int(job.state)),
        forgotten=job.forgotten,
        submitted_unix_ms=job.submitted_ms,
        due_unix_ms=job.due_ms,
        expires_unix_ms=job.expires_ms,
        started_unix_ms=job.started_ms,
        finished_unix_ms=job.finished_ms,
        worker=job.worker,
        retries=job.retries,
        lost_leases=job.lost,
        token=job.token,
        result=job.result,
        result_format=job.result_format,
        failure=_failure(job.failure),
        cancel_requested=job.cancel_requested,
        waits_for=waits_for,
    )
    if job.workflow:
        _fill_place(status, job)
    if job.children:
        status.children.CopyFrom(write_ids(job.children))
    if job.progress is not None:
        status.progress.CopyFrom(_progress(job.progress))
    if job.attempts:
        status.attempts.extend(map(_attempt, job.attempts))
    if len(job.id) == 16:
        status.uuid = job.id
    else:
        status.text = key_text(job.id)
    _fill_head(status, job, with_args)
    return status


def _fill_place(status: pb.JobStatus, job: Job) -> None:
    """What only jobs of a workflow have."""
    status.workflow = job.workflow
    status.group, status.group_index = job.group, job.group_index
    status.parent, status.root, status.cause = _text(job.parent), _text(job.root), _text(job.cause)


def _text(job: JobId) -> str:
    return show(job) if job else ""


def _fill_head(status: pb.JobStatus, job: Job, with_args: bool) -> None:
    if job.head is None:
        return
    status.task = job.head.task
    status.queue = job.head.queue
    status.priority = job.head.priority
    status.ignore_result = job.head.ignore_result
    if job.head.parent or job.head.root:
        status.parent = status.parent or job.head.parent
        status.root = job.head.root or status.root
    if job.head.traits is not PLAIN and (traits := write_traits(job.head.traits)):
        status.traits.CopyFrom(traits)
    if with_args:
        status.format = job.head.format
        status.args = job.args
        status.headers = job.head.headers


def _failure(failure: Failure | None) -> pb.Failure | None:
    if failure is None:
        return None
    return pb.Failure(
        type=failure.type,
        module=failure.module,
        message=failure.message,
        traceback=failure.traceback,
        args=failure.args,
        format=failure.format,
    )


def _progress(progress: Progress) -> pb.Progress:
    return pb.Progress(
        state=progress.state,
        meta=progress.meta,
        format=progress.format,
        done=progress.done,
        total=progress.total,
        note=progress.note,
        at_unix_ms=progress.at_ms,
    )


def _attempt(attempt: PastAttempt) -> pb.Attempt:
    return pb.Attempt(
        worker=attempt.worker,
        token=attempt.token,
        verdict=attempt.verdict.name.lower(),
        started_unix_ms=attempt.started_ms,
        ended_unix_ms=attempt.ended_ms,
        failure=_failure(attempt.failure),
        next_due_unix_ms=attempt.next_due_ms,
    )


def size_of(job: Job) -> int:
    """Bytes of a status on the wire, roughly."""
    size = 256 + len(job.result) + len(job.args) + 17 * len(job.children)
    if job.failure is not None:
        size += _size(job.failure)
    if job.progress is not None:
        size += len(job.progress.meta)
    if job.attempts:
        size += sum(64 + _size(attempt.failure) for attempt in job.attempts)
    return size


def _size(failure: Failure | None) -> int:
    return len(failure.message) + len(failure.traceback) + len(failure.args) if failure else 0
