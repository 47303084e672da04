"""Which jobs a filter means."""

from __future__ import annotations

from tqbroker_broker.questions import Filter
from tqbroker_broker.records import Job


def matches(wanted: Filter, job: Job) -> bool:
    """Whether a job, as `get` returns it, has everything the filter asks for."""
    head = job.head
    return (
        head is not None
        and (not wanted.states or job.state in wanted.states)
        and wanted.queue in ("", head.queue)
        and wanted.task in ("", head.task)
        and wanted.worker in ("", job.worker)
        and wanted.error in ("", job.failure.type if job.failure else "")
        and set(wanted.stamps) <= set(head.traits.stamps)
        and job.submitted_ms >= wanted.submitted_after_ms
        and (not wanted.submitted_before_ms or job.submitted_ms < wanted.submitted_before_ms)
    )
