"""Schedules: what there is, changes, a job out of turn, and when one would fire."""

from __future__ import annotations

from tqbroker.v1 import admin_pb2 as pb
from tqbroker_broker.answers import Enqueued, Stored
from tqbroker_broker.core import Core
from tqbroker_broker.cron import warnings
from tqbroker_broker.messages.checks import LATEST_MS, check_most, check_name, check_range
from tqbroker_broker.messages.schedules import (
    check_schedule_name,
    read_schedule,
    read_schedules,
    write_preview,
    write_state,
)
from tqbroker_broker.messages.stored import full, refusal
from tqbroker_broker.messages.traits import MAX_NAME
from tqbroker_broker.records import NewJobs
from tqbroker_broker.refusals import Invalid, RefusalError
from tqbroker_broker.rules import QueueRule
from tqbroker_broker.schedules import MAX_SCHEDULES, Schedule

DEFAULT_COUNT, MAX_COUNT = 5, 1000

MAX_ANSWER = 3 << 20
"""Bytes after which an answer is full: one schedule has at most 80 KiB, and gRPC clients take 4 MiB by default."""


def list_schedules(core: Core, request: pb.ListSchedulesRequest) -> pb.ListSchedulesResponse:
    """Schedules by name, as many as fit into an answer. Raises Invalid."""
    if request.after:
        check_schedule_name(request.after)
    response = pb.ListSchedulesResponse()
    size = 0
    for state in core.scheduler.states():
        if state.schedule.name <= request.after:
            continue
        if size > MAX_ANSWER:
            response.more = True
            break
        info = write_state(state)
        response.schedules.append(info)
        size += info.ByteSize()
    return response


async def set_schedules(core: Core, request: pb.SetSchedulesRequest) -> pb.SetSchedulesResponse:
    """Changes schedules. Raises Invalid, NotFound, TooLarge."""
    names = [*request.remove, *request.pause, *request.resume]
    check_most("schedules to change", len(names) + len(request.put), MAX_SCHEDULES)
    schedules = read_schedules(request.put, core.config)
    for name in names:
        check_schedule_name(name)
    names += [schedule.name for schedule in schedules]
    if len(set(names)) < len(names):
        raise Invalid("a schedule is named twice in one call: name each once, in one of the lists")
    if request.app:
        check_name("the app that declares schedules", request.app, MAX_NAME)
        if request.remove or request.pause or request.resume:
            raise Invalid("with app there can be only put: what the app does not declare any more is removed by itself")
        await core.scheduler.declare(request.app, schedules)
    else:
        await core.scheduler.change(schedules, request.remove, request.pause, request.resume)
    return pb.SetSchedulesResponse()


async def run_schedule(core: Core, request: pb.RunScheduleRequest) -> pb.RunScheduleResponse:
    """Submits a job out of turn. Raises Invalid, NotFound, and what a submit raises."""
    check_schedule_name(request.name)
    if len(request.id) != 16:
        raise Invalid(f"the id has {len(request.id)} bytes: it must be the 16 of a UUID")
    now = core.now()
    jobs = core.scheduler.job_now(request.name, request.id, now)
    (answer,) = await core.enqueue([jobs], len(jobs.args[0]), now)
    what = answer.exceptions.get(0, Stored.DUPLICATE)
    if what not in (Stored.DUPLICATE, Stored.KEPT):
        raise _refusal(core, what, jobs, answer)
    return pb.RunScheduleResponse()


def _refusal(core: Core, what: Stored, jobs: NewJobs, answer: Enqueued) -> RefusalError:
    queue = jobs.head.queue
    if what is Stored.QUEUE_FULL:
        return full(queue, core.orders.queue_rules().get(queue, QueueRule()).max_length)
    return refusal(what, jobs.ids[0], answer.holders.get(0, b""))


def preview_schedule(core: Core, request: pb.PreviewScheduleRequest) -> pb.PreviewScheduleResponse:
    """When a schedule fires next. Raises Invalid, NotFound."""
    check_range("after_unix_ms", request.after_unix_ms, 0, LATEST_MS)
    check_range("count", request.count, 0, MAX_COUNT)
    which: str | Schedule
    if request.HasField("schedule"):
        which = read_schedule(request.schedule, core.config)
    else:
        check_schedule_name(request.name)
        which = request.name
    schedule, planned = core.scheduler.preview(which, request.after_unix_ms, request.count or DEFAULT_COUNT)
    return write_preview(planned, warnings(schedule, core.now().wall_ms))
