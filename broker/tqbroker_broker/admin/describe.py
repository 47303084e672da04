"""What there is: the broker, its queues, its workers, one job."""

from __future__ import annotations

from tqbroker.v1 import admin_pb2 as pb
from tqbroker.v1 import job_pb2
from tqbroker_broker import __version__
from tqbroker_broker.answers import QueueCounts, WorkerRow
from tqbroker_broker.core import Core
from tqbroker_broker.messages.ids import text_id
from tqbroker_broker.messages.rules import write_rule
from tqbroker_broker.messages.status import write_status
from tqbroker_broker.rules import QueueRule


async def describe_broker(core: Core, data_dir: str) -> pb.GetBrokerResponse:
    """What this broker is and how it does."""
    stats = await core.stats()
    return pb.GetBrokerResponse(
        version=__version__,
        store=core.opened.store,
        epoch=core.opened.epoch,
        durability=core.engine.durability,
        data_dir=data_dir,
        started_unix_ms=core.started_ms,
        awaited=[row.name for row in core.engine.workers() if row.awaited],
        recovery_left_ms=round(core.engine.recovery_left(core.now()) * 1000),
        used_bytes=stats.used_bytes,
        high_water_bytes=stats.high_water_bytes,
        map_bytes=stats.map_bytes,
        backup_unix_ms=core.backups.last_ms,
        backup_bytes=core.backups.last_bytes,
    )


async def list_queues(core: Core) -> list[pb.QueueInfo]:
    """Every queue with its counts, by name."""
    counts, rules = (await core.stats()).queues, core.orders.queue_rules()
    return [
        _queue(name, counts.get(name, QueueCounts()), rules.get(name, QueueRule()))
        for name in sorted(counts.keys() | rules.keys())
    ]


def _queue(name: str, counts: QueueCounts, rule: QueueRule) -> pb.QueueInfo:
    info = write_counts(name, counts)
    info.rule.CopyFrom(write_rule(rule))
    return info


def write_counts(name: str, counts: QueueCounts) -> pb.QueueInfo:
    """A queue's jobs by state, without its rule."""
    return pb.QueueInfo(
        name=name,
        queued=counts.queued,
        running=counts.running,
        scheduled=counts.scheduled,
        succeeded=counts.succeeded,
        failed=counts.failed,
        cancelled=counts.cancelled,
        expired=counts.expired,
        waiting=counts.waiting,
    )


def list_workers(core: Core) -> list[pb.WorkerInfo]:
    """Every worker that is connected or awaited."""
    return [_worker(core, row) for row in core.engine.workers()]


def _worker(core: Core, row: WorkerRow) -> pb.WorkerInfo:
    info = pb.WorkerInfo(name=row.name, instance=row.instance, connected=row.connected, leases=row.leases)
    session = core.sessions.by_name.get(row.name)
    if session is not None:
        hello = session.hello
        info.queues.extend(hello.queues)
        info.tasks.extend(sorted(hello.tasks))
        info.labels.extend(sorted(hello.labels))
        info.slots, info.pool, info.host = hello.slots, hello.pool, hello.host
        info.pid, info.version = hello.pid, hello.version
        info.connected_unix_ms, info.last_seen_unix_ms = session.connected_ms, session.heard_ms
    return info


async def get_job(core: Core, text: str) -> job_pb2.JobStatus:
    """One job with everything known of it. Raises Invalid for an id that cannot be one."""
    (job,) = await core.get([text_id(text)], with_args=True, with_attempts=True, with_children=True)
    return write_status(job, core.waits_for(job), with_args=True)
