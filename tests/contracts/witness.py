"""What must hold on every walk, whatever the reference says: judged by somebody who only remembers answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from tqbroker_broker.answers import Job, QueueCounts
from tqbroker_broker.attempts import Leased
from tqbroker_broker.lifecycle import FINAL, may
from tqbroker_broker.records import Head, JobId, State


class Witness:
    """Watches one engine. `look` is called after every verb, the others when their verb has answered."""

    def __init__(self) -> None:
        self._seen: dict[JobId, Job] = {}
        self._highest_token = 0

    def look(self, jobs: Iterable[Job], queues: Mapping[str, QueueCounts]) -> None:
        """Compares every stored job with what was seen of it before, and the counts with the jobs."""
        jobs = list(jobs)
        for job in jobs:
            before = self._seen.get(job.id)
            assert before is None or is_possible(before, job), f"{before}\nbecame\n{job}"
        self._seen = {job.id: job for job in jobs}
        assert counted(jobs) == queues

    def leased(self, batches: Iterable[Leased]) -> None:
        """Only jobs that waited are handed out, each under a token above all before and with its key to itself."""
        batches = list(batches)
        running = [job.head for job in self._seen.values() if job.head and job.state is State.RUNNING]
        given = [batch.head for batch in batches for _ in batch.ids]
        keys = Counter(map(key_of, running + given))
        for head in given:
            assert not head.traits.ordering_key or keys[key_of(head)] == 1, f"not one at a time: {key_of(head)}"
        for batch in batches:
            for job, token in zip(batch.ids, batch.tokens, strict=True):
                before = self._seen[job]
                assert before.state is State.QUEUED, f"handed out: {before}"
                assert not before.cancel_requested, f"handed out: {before}"
                assert not before.recovering, f"handed out: {before}"
                assert token > self._highest_token, f"token {token} was given before"
                self._highest_token = token

    def accepted(self, worker: str, job: JobId, token: int) -> None:
        """Only the worker that runs a job can end it, under the token it runs it with."""
        before = self._seen[job]
        assert (before.state, before.worker, before.token) == (State.RUNNING, worker, token), f"ended: {before}"


def key_of(head: Head) -> tuple[str, str]:
    """What jobs run one at a time under, if they have an ordering key."""
    return head.queue, head.traits.ordering_key


def is_possible(before: Job, after: Job) -> bool:
    """Whether one verb can have made this of that."""
    if before.state is State.UNKNOWN:
        return after.state is State.UNKNOWN or not before.forgotten
    if before.state is State.WAITING and after.state is State.UNKNOWN:
        return not after.forgotten  # its upload was given up
    if before.state in FINAL:
        moved = bool(before.cause and after.cause)  # the one in the way may be another after a redrive
        same = after == before or (moved and replace(after, cause=before.cause) == before)
        return same or after.state is State.UNKNOWN or is_redriven(before, after)
    if before.state is State.RUNNING and after.state is not before.state and (after.retries, after.lost) == (0, 0):
        return may(before.state, after.state)  # perhaps it was replaced
    if after.retries < before.retries or after.lost < before.lost:
        return False
    if before.state is not after.state:
        return may(before.state, after.state)
    return before.state is not State.RUNNING or (before.worker, before.token) == (after.worker, after.token)


def is_redriven(before: Job, after: Job) -> bool:
    """Whether a dead letter began anew."""
    anew = (after.retries, after.lost, after.token, after.failure, after.cancel_requested) == (0, 0, 0, None, False)
    return may(before.state, after.state) and anew


def counted(jobs: Iterable[Job]) -> dict[str, QueueCounts]:
    """What the counts of these jobs should be."""
    queues: dict[str, Counter[str]] = {}
    for job in jobs:
        if job.head is not None:
            queues.setdefault(job.head.queue, Counter())[job.state.name.lower()] += 1
    return {queue: QueueCounts(**counts) for queue, counts in queues.items()}
