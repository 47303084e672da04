"""Schedules: from the wire, checked, and back."""

from __future__ import annotations

from collections.abc import Iterable

from tqbroker.v1 import admin_pb2, job_pb2
from tqbroker.v1 import schedule_pb2 as pb
from tqbroker_broker.config import BrokerConfig
from tqbroker_broker.cron import check
from tqbroker_broker.messages.batches import read_batch
from tqbroker_broker.messages.checks import LATEST_MS, check_most, check_name, check_range
from tqbroker_broker.messages.ids import show
from tqbroker_broker.messages.traits import MAX_NAME, write_traits
from tqbroker_broker.records import NewJobs, Time
from tqbroker_broker.refusals import Invalid, RefusalError, TooLarge
from tqbroker_broker.schedules import MAX_SCHEDULES, Crontab, Misfire, Overlap, Schedule, ScheduleState

MAX_SCHEDULE = 200
"""Characters of the name of a schedule: it stands in a stamp of each of its jobs."""

MIN_EVERY_MS = 100
"""The shortest period: below it a broker would do little else."""

MAX_MISFIRES = 10_000
"""Firings that can be made up for."""

MAX_JOB = 64 * 1024
"""Bytes of the arguments and headers of a schedule: they are kept in memory, and written at each firing."""

MAX_JITTER_MS = 31 * 86_400_000
MAX_CRON = 255


def read_declared(wire: pb.DeclaredSchedules, config: BrokerConfig) -> tuple[str, list[Schedule]]:
    """The name of an app and all its schedules. Raises Invalid, TooLarge."""
    check_name("the app that declares schedules", wire.app, MAX_NAME)
    return wire.app, read_schedules(wire.schedules, config)


def read_schedules(wire: Iterable[pb.Schedule], config: BrokerConfig) -> list[Schedule]:
    """Several, each with a name of its own. Raises Invalid, TooLarge."""
    schedules = [read_schedule(each, config) for each in wire]
    check_most("schedules", len(schedules), MAX_SCHEDULES)
    names = [schedule.name for schedule in schedules]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise Invalid(f"schedule {twice!r} is there twice: give each a name of its own")
    return schedules


def check_schedule_name(name: str) -> None:
    """Raises Invalid for what is no name of a schedule."""
    check_name("the name of a schedule", name, MAX_SCHEDULE)


def read_schedule(wire: pb.Schedule, config: BrokerConfig) -> Schedule:
    """One schedule. Raises Invalid, TooLarge; the message names the schedule."""
    check_schedule_name(wire.name)
    try:
        schedule = _read(wire, config)
        check(schedule)
    except (Invalid, TooLarge) as error:
        raise _named(wire.name, error) from None
    return schedule


def _named(name: str, error: RefusalError) -> RefusalError:
    return type(error)(f"schedule {name!r}: {error}", **{**error.facts, "schedule": name})


def _read(wire: pb.Schedule, config: BrokerConfig) -> Schedule:
    _check_times(wire)
    job = _template(wire.job, config)
    size = len(job.args[0]) + len(job.head.headers)
    if size > MAX_JOB:
        text = f"the arguments and headers have {size} bytes and may have {MAX_JOB}: put large things into a file"
        raise TooLarge(text, limit_bytes=str(MAX_JOB))
    return Schedule(
        wire.name,
        wire.every_ms,
        wire.cron,
        _crontab(wire.crontab) if wire.HasField("crontab") else None,
        wire.relative,
        wire.zone,
        wire.jitter_ms,
        wire.start_unix_ms,
        wire.end_unix_ms,
        _overlap(wire.overlap),
        _misfire(wire.misfire),
        wire.misfire_max or 100,
        wire.deadline_ms,
        wire.paused,
        job.head,
        job.args[0],
        wire.job.countdown_ms,
        wire.job.expires_in_ms,
        job.unique[0] if job.unique else b"",
    )


def _template(wire: job_pb2.JobBatch, config: BrokerConfig) -> NewJobs:
    """A batch of one job without an id, checked as if it were submitted."""
    if len(wire.args) != 1 or wire.ids.uuids or wire.ids.texts:
        raise Invalid(f"the job has {len(wire.args)} args: it must have one, and no id, since each firing has its own")
    if wire.eta_unix_ms or wire.expires_unix_ms:
        raise Invalid("the job has a moment (eta or expires) that all would share: use countdown_ms and expires_in_ms")
    batch = job_pb2.JobBatch()
    batch.CopyFrom(wire)
    batch.ids.uuids = bytes(16)
    jobs, _, refused = read_batch(batch, config, Time(0, 0.0))
    if jobs is None:
        raise refused[0][1]
    return jobs


def _check_times(wire: pb.Schedule) -> None:
    if wire.HasField("every_ms"):
        check_range("every_ms", wire.every_ms, MIN_EVERY_MS, LATEST_MS)
    if len(wire.cron) > MAX_CRON:
        raise Invalid(f"the cron string has {len(wire.cron)} characters: {MAX_CRON} at most are allowed")
    check_range("jitter_ms", wire.jitter_ms, 0, MAX_JITTER_MS)
    check_range("start_unix_ms", wire.start_unix_ms, 0, LATEST_MS)
    check_range("end_unix_ms", wire.end_unix_ms, 0, LATEST_MS)
    check_range("misfire_max", wire.misfire_max, 0, MAX_MISFIRES)
    check_range("deadline_ms", wire.deadline_ms, 0, LATEST_MS)


def _crontab(wire: pb.Crontab) -> Crontab:
    fields = wire.minute, wire.hour, wire.day_of_month, wire.month_of_year, wire.day_of_week
    if max(map(len, fields)) > MAX_CRON:
        raise Invalid(f"a field of the crontab has {max(map(len, fields))} characters: {MAX_CRON} at most are allowed")
    return Crontab(*(field or "*" for field in fields))


def _overlap(wire: int) -> Overlap:
    try:
        return Overlap(wire or Overlap.ALLOW)
    except ValueError:
        raise Invalid(f"overlap is {wire}: it must be one of {', '.join(each.name for each in Overlap)}") from None


def _misfire(wire: int) -> Misfire:
    try:
        return Misfire(wire or Misfire.LATEST)
    except ValueError:
        raise Invalid(f"misfire is {wire}: it must be one of {', '.join(each.name for each in Misfire)}") from None


# -- to the wire -------------------------------------------------------------------------------------------------------


def write_state(state: ScheduleState) -> pb.ScheduleInfo:
    """A schedule as it stands."""
    return pb.ScheduleInfo(
        schedule=write_schedule(state.schedule),
        source=state.source,
        next_unix_ms=state.next_ms,
        last_unix_ms=state.last_ms,
        fired=state.fired,
        skipped=state.skipped,
        recent=[pb.Firing(planned_unix_ms=at, job=show(job) if job else "") for at, job in state.recent],
    )


def write_schedule(schedule: Schedule) -> pb.Schedule:
    """A schedule as it was set."""
    wire = pb.Schedule(
        name=schedule.name,
        relative=schedule.relative,
        zone=schedule.zone,
        jitter_ms=schedule.jitter_ms,
        start_unix_ms=schedule.start_ms,
        end_unix_ms=schedule.end_ms,
        overlap=pb.Overlap.ValueType(int(schedule.overlap)),
        misfire=pb.Misfire.ValueType(int(schedule.misfire)),
        misfire_max=schedule.misfire_max,
        deadline_ms=schedule.deadline_ms,
        paused=schedule.paused,
        job=_job(schedule),
    )
    _write_when(wire, schedule)
    return wire


def _write_when(wire: pb.Schedule, schedule: Schedule) -> None:
    crontab = schedule.crontab
    if schedule.every_ms:
        wire.every_ms = schedule.every_ms
    elif crontab is None:
        wire.cron = schedule.cron
    else:
        wire.crontab.CopyFrom(
            pb.Crontab(
                minute=crontab.minute,
                hour=crontab.hour,
                day_of_month=crontab.day_of_month,
                month_of_year=crontab.month_of_year,
                day_of_week=crontab.day_of_week,
            )
        )


def _job(schedule: Schedule) -> job_pb2.JobBatch:
    head = schedule.head
    return job_pb2.JobBatch(
        task=head.task,
        queue=head.queue,
        priority=head.priority,
        format=head.format,
        ignore_result=head.ignore_result,
        result_ttl_ms=head.result_ttl_ms,
        countdown_ms=schedule.countdown_ms,
        expires_in_ms=schedule.expires_in_ms,
        headers=head.headers,
        args=[schedule.args],
        traits=write_traits(head.traits),
        unique_keys=[schedule.unique] if schedule.unique else (),
    )


def write_preview(planned: list[int], warnings: list[str]) -> admin_pb2.PreviewScheduleResponse:
    """When a schedule fires next, and what is probably not meant."""
    return admin_pb2.PreviewScheduleResponse(planned_unix_ms=planned, warnings=warnings)
