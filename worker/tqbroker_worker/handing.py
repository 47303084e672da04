"""What a job of a workflow is handed in front of its arguments: what others returned, or why one of them failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from tqbroker.app import App
from tqbroker.codec import decode, decode_call
from tqbroker.errbacks import wants_to_know
from tqbroker.exceptions import CodecError, TaskRevokedError, TqbrokerError, WorkerLostError
from tqbroker.failures import exception_of
from tqbroker.ids import key_of
from tqbroker.request import Request
from tqbroker.request_values import Details
from tqbroker.task import Task
from tqbroker_worker.delivery import Job
from tqbroker_worker.places import Cause, Inputs, Place


class NotFetchedError(Exception):
    """The broker did not hand over what the job has waited for: it has not been started."""


def is_long(job: Job) -> bool:
    """Whether something that the job is handed did not come with it and is to be fetched."""
    inputs = _inputs(job)
    return inputs is not None and len(inputs.values) < inputs.count


def complete(job: Job, app: App) -> Job:
    """The job with all that it is handed. Raises NotFetchedError when the broker does not tell what is missing."""
    inputs = _inputs(job)
    if inputs is None or len(inputs.values) >= inputs.count:
        return job
    assert job.extra is not None
    assert job.extra.place is not None
    place = replace(job.extra.place, inputs=_fetched(job, inputs, app))
    return job._replace(extra=replace(job.extra, place=place))


def in_front(place: Place, task: Task[..., Any], own: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    """What goes in front of the job's own arguments. Raises DecodeError for a value that cannot be read."""
    if place.cause is not None:
        return _why(place.cause) if wants_to_know(task, len(own), kwargs) else (place.cause.id,)
    if (inputs := place.inputs) is None:
        return ()
    formats = _each(inputs.formats, len(inputs.values))
    values = [decode(value, name) for value, name in zip(inputs.values, formats, strict=True)]
    return (values,) if inputs.as_list else tuple(values)


def _inputs(job: Job) -> Inputs | None:
    return job.extra.place.inputs if job.extra is not None and job.extra.place is not None else None


def _fetched(job: Job, inputs: Inputs, app: App) -> Inputs:
    """All of the values. Each page may take as long as any question to the broker."""
    values, formats = list(inputs.values), _each(inputs.formats, len(inputs.values))
    while len(values) < inputs.count:
        try:
            page = app.transport.inputs(job.id, len(values), app.conf.request_timeout)
        except TqbrokerError as error:
            raise NotFetchedError(f"what it has waited for could not be fetched: {error}") from None
        if not page.values:
            raise NotFetchedError(f"the broker has {len(values)} of the {inputs.count} results that it has waited for")
        values += page.values
        formats += _each(page.formats, len(page.values))
    return replace(inputs, values=values, formats=formats)


def _each(formats: list[str], count: int) -> list[str]:
    """One format for each value."""
    return formats * count if len(formats) == 1 else list(formats)


def _why(cause: Cause) -> tuple[Request, Exception, str]:
    args, kwargs, headers = _call_of(cause)
    request = Request(
        key_of(cause.id),
        cause.task,
        args,
        kwargs,
        retries=cause.retries,
        lost_leases=cause.lost,
        hostname=cause.worker or None,
        queue=cause.queue,
        priority=cause.priority,
        headers=headers,
    )
    request.details = Details(root=cause.root, parent=cause.parent)
    return request, _exception(cause), cause.failure.traceback if cause.failure is not None else ""


def _call_of(cause: Cause) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]:
    """Arguments and headers. That they cannot be read may be why it failed: then there are none."""
    try:
        args, kwargs = decode_call(cause.args, cause.format)
        return args, kwargs, decode(cause.headers, cause.format) or {}
    except CodecError:
        return (), {}, {}


def _exception(cause: Cause) -> Exception:
    if cause.expired:
        return TaskRevokedError(f"job {cause.id} expired before a worker started it")
    if cause.failure is None:
        return WorkerLostError(f"job {cause.id} lost its worker {cause.lost} times")
    return exception_of(cause.failure)
