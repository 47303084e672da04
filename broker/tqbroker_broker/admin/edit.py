"""One change for many jobs, by id or by filter, with a dry run that gives the same answers."""

from __future__ import annotations

from collections.abc import Sequence

from tqbroker.v1 import admin_pb2 as pb
from tqbroker_broker.admin.listing import Search
from tqbroker_broker.answers import Cancelled, Job
from tqbroker_broker.core import Core
from tqbroker_broker.lifecycle import FINAL
from tqbroker_broker.messages.changes import read_change
from tqbroker_broker.messages.checks import check_range
from tqbroker_broker.messages.ids import read_ids, show
from tqbroker_broker.messages.questions import check_cursor, read_filter
from tqbroker_broker.questions import Change, Drop, Effect, Filter, Move, Redrive, Reschedule
from tqbroker_broker.records import State
from tqbroker_broker.refusals import Invalid

DEFAULT_LIMIT, MAX_LIMIT = 1000, 2000
"""Jobs looked at in one call: one commit changes them all."""

GONE = "no such job, or it is no longer kept"
BUSY = "a worker has it: cancel it, or wait for its end"
MARKED = "cancel requested"

_WAITING = frozenset({State.QUEUED, State.SCHEDULED})
_STATES: dict[type[Change] | None, frozenset[State]] = {
    Redrive: frozenset({State.FAILED}),
    Reschedule: frozenset({State.SCHEDULED}),
    Move: _WAITING,
    Drop: FINAL,
    None: frozenset(State) - FINAL - {State.UNKNOWN},
}
_DONE: dict[type[Change] | None, str] = {
    Redrive: "redriven",
    Reschedule: "rescheduled",
    Move: "moved",
    Drop: "dropped",
    None: "cancelled",
}


async def edit_jobs(core: Core, request: pb.EditJobsRequest) -> pb.EditJobsResponse:
    """Changes the jobs that are meant. Raises Invalid, TooLarge."""
    change = read_change(request, core.config.max_args_size)
    jobs, cursor = await _find(core, request, change)
    refusals = [_refusal(change, job) for job in jobs]
    meant = [job for job, refusal in zip(jobs, refusals, strict=True) if not refusal]
    done = iter(_planned(change, meant) if request.dry_run else await _apply(core, request, change, meant))
    answers = [
        pb.Edited(id=show(job.id), refusal=refusal) if refusal else next(done)
        for job, refusal in zip(jobs, refusals, strict=True)
    ]
    return pb.EditJobsResponse(jobs=answers, cursor=cursor)


async def _find(core: Core, request: pb.EditJobsRequest, change: Change | None) -> tuple[list[Job], bytes]:
    """The jobs to look at, and where to go on."""
    check_range("limit", request.limit, 0, MAX_LIMIT)
    if request.HasField("ids") == request.HasField("filter"):
        raise Invalid("the jobs to change are named either by ids or by a filter: set one of them")
    if request.HasField("ids"):
        ids = list(dict.fromkeys(read_ids(request.ids, MAX_LIMIT)))
        return [_light(job) async for jobs in core.read(ids) for job in jobs], b""
    check_cursor(request.cursor)
    wanted = _narrowed(read_filter(request.filter), change)
    search = Search(core, wanted, request.cursor, request.limit or DEFAULT_LIMIT)
    jobs = [job for job in await search.run() if not _in_place(change, job)]
    return jobs, search.cursor


def _light(job: Job) -> Job:
    """The job without what may be large and nobody asks for here."""
    job.result, job.failure = b"", None
    return job


def _narrowed(wanted: Filter, change: Change | None) -> Filter:
    """The filter without the states that the change is not for."""
    states = _states(change)
    if not wanted.states:
        return wanted._replace(states=states)
    if not wanted.states & states:
        raise Invalid(f"the filter asks for none of the states of jobs that can be {_done(change)}: {_names(states)}")
    return wanted._replace(states=wanted.states & states)


def _in_place(change: Change | None, job: Job) -> bool:
    """Whether a job is already where a filter's change would bring it: else it would be met again for ever."""
    head = job.head
    if isinstance(change, Move) and head is not None:
        return change.queue in (None, head.queue) and change.priority in (None, head.priority)
    return isinstance(change, Reschedule) and job.due_ms == change.due_ms


def _refusal(change: Change | None, job: Job) -> str:
    """Why a job in its state cannot be changed so; empty when it can."""
    states = _states(change)
    if job.state is State.UNKNOWN:
        return GONE
    if change is not None and (job.state is State.RUNNING or job.recovering):
        return BUSY
    if change is not None and job.cancel_requested and job.state not in FINAL:
        return "a cancel was asked for: it ends as CANCELLED"
    if job.state in states:
        return ""
    return f"it is {job.state.name}: only what is {_names(states)} can be {_done(change)}"


def _planned(change: Change | None, jobs: Sequence[Job]) -> list[pb.Edited]:
    """What would be done."""
    if change is not None:
        return [pb.Edited(id=show(job.id), effect=_done(change)) for job in jobs]
    marked = [job.state is State.RUNNING or job.recovering for job in jobs]
    return [
        pb.Edited(id=show(job.id), effect=MARKED if mark else _done(None))
        for job, mark in zip(jobs, marked, strict=True)
    ]


async def _apply(
    core: Core, request: pb.EditJobsRequest, change: Change | None, jobs: Sequence[Job]
) -> list[pb.Edited]:
    """Does it, in one commit."""
    if not jobs:
        return []
    ids = [job.id for job in jobs]
    if change is None:
        answer = await core.cancel(ids, terminate=request.cancel.terminate, signal=request.cancel.signal)
        return [_cancelled(job, effect) for job, effect in zip(jobs, answer.effects, strict=True)]
    effects = (await core.orders.edit(ids, change)).effects
    return [_edited(change, job, effect) for job, effect in zip(jobs, effects, strict=True)]


def _cancelled(job: Job, effect: Cancelled) -> pb.Edited:
    match effect:
        case Cancelled.CANCELLED:
            return pb.Edited(id=show(job.id), effect=_done(None))
        case Cancelled.RUNNING | Cancelled.PENDING:
            return pb.Edited(id=show(job.id), effect=MARKED)
        case Cancelled.FINAL:
            return pb.Edited(id=show(job.id), refusal="it ended meanwhile")
        case Cancelled.UNKNOWN:
            return pb.Edited(id=show(job.id), refusal=GONE)


def _edited(change: Change, job: Job, effect: Effect) -> pb.Edited:
    match effect:
        case Effect.DONE:
            return pb.Edited(id=show(job.id), effect=_done(change))
        case Effect.UNKNOWN:
            return pb.Edited(id=show(job.id), refusal=GONE)
        case Effect.WRONG_STATE:
            return pb.Edited(id=show(job.id), refusal="its state has changed meanwhile: look at it again")
        case Effect.RUNNING:
            return pb.Edited(id=show(job.id), refusal=BUSY)
        case Effect.FOLLOWS:
            cause = show(job.cause)
            return pb.Edited(id=show(job.id), refusal=f"it ended because job {cause} of its workflow did: redrive that")
        case Effect.HELD:
            return pb.Edited(id=show(job.id), refusal="its workflow has not ended: its jobs are dropped together")


def _states(change: Change | None) -> frozenset[State]:
    return _STATES[None if change is None else type(change)]


def _done(change: Change | None) -> str:
    return _DONE[None if change is None else type(change)]


def _names(states: frozenset[State]) -> str:
    return " or ".join(state.name for state in sorted(states))
