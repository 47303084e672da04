"""Schedules to wire messages and back. No I/O."""

from __future__ import annotations

from collections.abc import Iterable

from tqbroker.call import PLAIN, Batch, Head, Traits
from tqbroker.schedule_values import Declared, Fields, FiringInfo, Misfire, Overlap, Preview, ScheduleState, When
from tqbroker.shipping import batch_message
from tqbroker.v1 import admin_pb2, job_pb2
from tqbroker.v1 import schedule_pb2 as pb

_OVERLAPS: dict[Overlap, pb.Overlap.ValueType] = {
    "allow": pb.OVERLAP_ALLOW,
    "skip": pb.OVERLAP_SKIP,
    "queue_one": pb.OVERLAP_QUEUE_ONE,
}
_MISFIRES: dict[Misfire, pb.Misfire.ValueType] = {
    "latest": pb.MISFIRE_LATEST,
    "all": pb.MISFIRE_ALL,
    "skip": pb.MISFIRE_SKIP,
}
_OVERLAP_OF: dict[int, Overlap] = {number: word for word, number in _OVERLAPS.items()}
_MISFIRE_OF: dict[int, Misfire] = {number: word for word, number in _MISFIRES.items()}


def declared_message(app: str, schedules: Iterable[Declared]) -> pb.DeclaredSchedules:
    """All that an app declares."""
    return pb.DeclaredSchedules(app=app, schedules=map(schedule_message, schedules))


def schedule_message(schedule: Declared) -> pb.Schedule:
    """One schedule as it goes over the wire."""
    when = schedule.when
    message = pb.Schedule(
        name=schedule.name,
        relative=when.relative,
        zone=when.zone,
        jitter_ms=schedule.jitter_ms,
        start_unix_ms=schedule.start_ms,
        end_unix_ms=schedule.end_ms,
        overlap=_OVERLAPS[schedule.overlap],
        misfire=_MISFIRES[schedule.misfire],
        misfire_max=schedule.misfire_max,
        deadline_ms=schedule.deadline_ms,
        paused=schedule.paused,
        job=batch_message(Batch(_plain(schedule.head), [], [schedule.args])),
    )
    if when.crontab is not None:
        message.crontab.CopyFrom(pb.Crontab(**when.crontab._asdict()))
    elif when.cron:
        message.cron = when.cron
    else:
        message.every_ms = when.every_ms
    return message


def _plain(head: Head) -> Head:
    """Traits that came through another process may say nothing without being the object that says so."""
    return head._replace(traits=PLAIN) if head.traits == PLAIN else head


def schedule_state(info: pb.ScheduleInfo) -> ScheduleState:
    """A schedule as it stands, as it came over the wire."""
    return ScheduleState(
        schedule=_declared(info.schedule),
        source=info.source,
        next_ms=info.next_unix_ms,
        last_ms=info.last_unix_ms,
        fired=info.fired,
        skipped=info.skipped,
        recent=tuple(FiringInfo(firing.planned_unix_ms, firing.job) for firing in info.recent),
    )


def preview(answer: admin_pb2.PreviewScheduleResponse) -> Preview:
    """When a schedule would fire."""
    return Preview(tuple(answer.planned_unix_ms), tuple(answer.warnings))


def _declared(message: pb.Schedule) -> Declared:
    return Declared(
        name=message.name,
        when=_when(message),
        head=_head(message.job),
        args=message.job.args[0] if message.job.args else b"",
        jitter_ms=message.jitter_ms,
        start_ms=message.start_unix_ms,
        end_ms=message.end_unix_ms,
        overlap=_OVERLAP_OF.get(message.overlap, "allow"),
        misfire=_MISFIRE_OF.get(message.misfire, "latest"),
        misfire_max=message.misfire_max,
        deadline_ms=message.deadline_ms,
        paused=message.paused,
    )


def _when(message: pb.Schedule) -> When:
    crontab = message.crontab
    fields = None
    if message.WhichOneof("when") == "crontab":
        fields = Fields(
            crontab.minute, crontab.hour, crontab.day_of_month, crontab.month_of_year, crontab.day_of_week
        )  # fmt: skip
    return When(message.every_ms, message.cron, fields, message.relative, message.zone)


def _head(job: job_pb2.JobBatch) -> Head:
    return Head(
        task=job.task,
        queue=job.queue,
        priority=job.priority,
        format=job.format,
        ignore_result=job.ignore_result,
        result_ttl_ms=job.result_ttl_ms,
        countdown_ms=job.countdown_ms,
        expires_in_ms=job.expires_in_ms,
        headers=job.headers,
        traits=_traits(job.traits) if job.HasField("traits") else PLAIN,
    )


def _traits(traits: job_pb2.Traits) -> Traits:
    return Traits(
        tenant=traits.tenant,
        ordering_key=traits.ordering_key,
        limits=tuple(traits.limits),
        requires=tuple(traits.requires),
        stamps=tuple(traits.stamps),
        time_limit_ms=traits.time_limit_ms,
        soft_time_limit_ms=traits.soft_time_limit_ms,
        shadow=traits.shadow,
    )
