"""A job as the commands show it: one line, many lines, or JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tqbroker import codec
from tqbroker.commands.common import show
from tqbroker.commands.tables import duration, moment
from tqbroker.exceptions import CodecError
from tqbroker.ids import text_of
from tqbroker.states import Phase, state_of
from tqbroker.transport import AttemptInfo, JobInfo, ProgressInfo


def job_line(job: JobInfo) -> tuple[str, ...]:
    """The cells of a job in a list."""
    return (
        text_of(job.key),
        job.phase.name,
        job.queue,
        job.task,
        moment(job.submitted_ms),
        job.worker or "-",
        _note(job),
    )


def _note(job: JobInfo) -> str:
    if job.phase is Phase.SCHEDULED:
        return f"due {moment(job.due_ms)}"
    if job.phase in (Phase.QUEUED, Phase.WAITING):
        return job.waits_for
    if job.phase is Phase.FAILED and job.failure is not None:
        return job.failure.type
    return "cancel requested" if job.cancel_requested else ""


def job_lines(job: JobInfo) -> Iterator[str]:
    """Everything known of a job, for people."""
    yield f"job        {text_of(job.key)}"
    yield f"state      {job.phase.name} ({state_of(job.phase, job.retries)})"
    if job.waits_for:
        yield f"waits for  {job.waits_for}"
    yield f"task       {job.task}{_call(job)}"
    yield f"queue      {job.queue}, priority {job.priority}"
    yield from (f"{name:<10} {value}" for name, value in _traits(job).items())
    yield from (f"{name:<10} {value}" for name, value in _relatives(job).items() if value is not None)
    yield f"submitted  {moment(job.submitted_ms)}"
    for name, millis in (("due", job.due_ms), ("expires", job.expires_ms), ("started", job.started_ms)):
        if millis:
            yield f"{name:<10} {moment(millis)}"
    if job.finished_ms:
        yield f"finished   {moment(job.finished_ms)}"
    if job.worker:
        yield f"worker     {job.worker}"
    yield f"retries    {job.retries}, lost leases {job.lost_leases}"
    if job.cancel_requested:
        yield "cancel     requested"
    if job.progress is not None:
        yield f"progress   {_progress(job)}"
    if job.phase is Phase.SUCCEEDED:
        yield f"result     {_result(job)}"
    for number, attempt in enumerate(job.attempts, 1):
        yield from _attempt(number, attempt)


def _attempt(number: int, attempt: AttemptInfo) -> Iterator[str]:
    took = duration((attempt.ended_ms - attempt.started_ms) / 1000) if attempt.started_ms else "-"
    then = f", next {moment(attempt.next_due_ms)}" if attempt.next_due_ms else ""
    yield ""
    where = f"{attempt.verdict} on {attempt.worker or '-'} at {moment(attempt.ended_ms)}"
    yield f"attempt {number}  {where} after {took}{then}"
    if attempt.failure is not None:
        yield f"  {attempt.failure.type}: {attempt.failure.message}"
        yield from (f"  {line}" for line in attempt.failure.traceback.rstrip().splitlines())


def job_json(job: JobInfo) -> dict[str, Any]:
    """Everything known of a job, for programs."""
    args, kwargs = _arguments(job)
    return {
        "id": text_of(job.key),
        "phase": job.phase.name,
        "state": state_of(job.phase, job.retries),
        "waits_for": job.waits_for,
        "task": job.task,
        "args": args,
        "kwargs": kwargs,
        "queue": job.queue,
        "priority": job.priority,
        **_traits(job),
        **_relatives(job),
        "group_index": job.group_index if job.group else None,
        "submitted_ms": job.submitted_ms,
        "due_ms": job.due_ms,
        "expires_ms": job.expires_ms,
        "started_ms": job.started_ms,
        "finished_ms": job.finished_ms,
        "worker": job.worker,
        "retries": job.retries,
        "lost_leases": job.lost_leases,
        "cancel_requested": job.cancel_requested,
        "progress": None if job.progress is None else _progress_json(job.progress),
        "result": _value(job.result, job.result_format) if job.phase is Phase.SUCCEEDED else None,
        "error": None if job.failure is None else f"{job.failure.type}: {job.failure.message}",
        "traceback": None if job.failure is None else job.failure.traceback,
        "attempts": [_attempt_json(attempt) for attempt in job.attempts],
    }


def _attempt_json(attempt: AttemptInfo) -> dict[str, Any]:
    failure = attempt.failure
    return {
        "worker": attempt.worker,
        "verdict": attempt.verdict,
        "started_ms": attempt.started_ms,
        "ended_ms": attempt.ended_ms,
        "next_due_ms": attempt.next_due_ms,
        "error": None if failure is None else f"{failure.type}: {failure.message}",
        "traceback": None if failure is None else failure.traceback,
    }


def _call(job: JobInfo) -> str:
    args, kwargs = _arguments(job)
    if args is None:
        return ""
    parts = [show(value) for value in args] + [f"{name}={show(value)}" for name, value in (kwargs or {}).items()]
    return f"({', '.join(parts)})"


def _arguments(job: JobInfo) -> tuple[list[Any] | None, dict[str, Any] | None]:
    try:
        args, kwargs = codec.decode_call(job.args, job.format) if job.args else (None, None)
    except CodecError:
        return None, None
    return list(args) if args is not None else None, kwargs


def _result(job: JobInfo) -> str:
    return "ignored" if job.ignore_result else show(_value(job.result, job.result_format))


def _value(data: bytes, form: str) -> Any:
    try:
        return codec.decode(data, form or codec.DEFAULT_FORMAT) if data else None
    except CodecError as error:
        return f"<{error}>"


def _progress(job: JobInfo) -> str:
    progress = job.progress
    assert progress is not None
    parts = [progress.state] if progress.state else []
    if progress.total:
        parts.append(f"{progress.done:g} of {progress.total:g}")
    if progress.note:
        parts.append(progress.note)
    if progress.meta:
        parts.append(show(_value(progress.meta, progress.format)))
    return f"{', '.join(parts)} (at {moment(progress.at_ms)})"


def _progress_json(progress: ProgressInfo) -> dict[str, Any]:
    return {
        "state": progress.state,
        "meta": _value(progress.meta, progress.format),
        "done": progress.done,
        "total": progress.total,
        "note": progress.note,
        "at_ms": progress.at_ms,
    }


def _relatives(job: JobInfo) -> dict[str, str | None]:
    """The ids of its workflow and of other jobs that it has to do with. `cause`: whose end ended this one."""
    return {
        "workflow": text_of(job.workflow) if job.workflow else None,
        "group": text_of(job.group) if job.group else None,
        "parent": job.parent or None,
        "root": job.root or None,
        "cause": job.cause or None,
    }


def _traits(job: JobInfo) -> dict[str, Any]:
    """What a plain job does not have, by name."""
    return {name: value for name, value in job.traits.items() if value}
