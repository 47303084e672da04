"""Which jobs a filter means, in two questions: the first needs nothing but what was submitted."""

from __future__ import annotations

from tqbroker_broker.answers import Job
from tqbroker_broker.questions import Filter
from tqbroker_broker.records import Head


def submit_matches(wanted: Filter, head: Head, submitted_ms: int) -> bool:
    """Whether a job as it was submitted matches."""
    return (
        (not wanted.queue or head.queue == wanted.queue)
        and (not wanted.task or head.task == wanted.task)
        and submitted_ms >= wanted.submitted_after_ms
        and (not wanted.submitted_before_ms or submitted_ms < wanted.submitted_before_ms)
        and (not wanted.stamps or set(wanted.stamps) <= set(head.traits.stamps))
    )


def fate_matches(wanted: Filter, job: Job) -> bool:
    """Whether what became of a job matches."""
    return (
        (not wanted.states or job.state in wanted.states)
        and (not wanted.worker or job.worker == wanted.worker)
        and (not wanted.error or (job.failure is not None and job.failure.type == wanted.error))
    )
