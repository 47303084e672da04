"""The verbs of the seam over plain dicts."""

from __future__ import annotations

from collections.abc import Sequence

from tqbroker_broker.config import StorageConfig
from tqbroker_broker.lifecycle import DIED, FINAL, next_epoch, stall
from tqbroker_broker.records import (
    CancelAnswer,
    Cancelled,
    Due,
    Ending,
    Enqueued,
    Expired,
    Finished,
    HandedOut,
    Held,
    Job,
    JobId,
    Joined,
    NewJobs,
    Opened,
    QueueCounts,
    Refusal,
    State,
    Stats,
    Stored,
    Successes,
    Time,
    Want,
    WorkerRow,
)
from tqbroker_broker.storage import NameTaken
from tqbroker_broker.storage.memory.attempts import Attempts, Effects
from tqbroker_broker.storage.memory.book import Book, Connection, Lease
from tqbroker_broker.storage.memory.handout import Handout
from tqbroker_broker.storage.memory.recovery import Recovery
from tqbroker_broker.storage.memory.store import MemoryStore, Row
from tqbroker_broker.storage.memory.upkeep import Upkeep


class MemoryEngine:
    """The seam's reference: no bytes, no threads, no cleverness. A second engine over one `store` is a restart.

    `rest` (of the URL) is not used. `store` is what an earlier engine left; by default a new one.
    """

    durability = "none: everything is lost when the broker stops"

    def __init__(self, rest: str, config: StorageConfig, *, store: MemoryStore | None = None) -> None:
        self.store = store or MemoryStore()
        self._config = config
        self._book = Book()
        self._recovery = Recovery()
        self._attempts = Attempts(self.store, self._book, config)
        self._handout = Handout(self.store, self._book, self._recovery)
        self._upkeep = Upkeep(self.store, self._book, self._recovery, self._attempts, config)
        self._last_beat: float | None = None

    async def open(self, now: Time) -> Opened:
        self._book.epoch = self.store.epoch = next_epoch(self.store.epoch, now.wall_ms)
        self._recovery.awaited.update(self.store.workers)
        self._recovery.ends = now.mono + self._config.lease_ttl
        self._recovery.last_number = self.store.number
        return Opened(self.store.id, self.store.epoch, sorted(self.store.workers))

    async def close(self) -> None:
        return

    def beat(self, now: Time) -> float:
        stalled = stall(now.mono - self._last_beat) if self._last_beat is not None else 0.0
        self._last_beat = now.mono
        self._recovery.ends += stalled
        for connection in self._book.connections.values():
            connection.deadline += stalled
        return stalled

    # -- workers ---------------------------------------------------------------------------------------------------

    async def join(self, worker: str, instance: bytes, held: Sequence[Held], now: Time) -> Joined:
        before = self._book.connections.get(worker)
        resumes = before is None or before.instance == instance
        if before and before.connected and not resumes:
            raise NameTaken(f"worker name {worker!r} is in use: give this worker another name, or stop the other one")
        self._book.connections[worker] = Connection(instance, now.mono + self._config.lease_ttl)
        self.store.workers[worker] = instance
        self._recovery.awaited.discard(worker)
        adopted = {pair.token: pair.id for pair in held if self._adopt(worker, pair, resumes)}
        effects = Effects()
        for lease in self._book.of_worker(worker):
            if lease.token in adopted:
                continue
            if resumes:
                self._attempts.release(lease, effects)
            else:
                self._attempts.lose(lease, DIED, now, effects)
        lost = [at.token for at in held if at.token not in adopted and self.store.final_token(at.id) != at.token]
        cancelled = [token for token, job in adopted.items() if self.store.jobs[job].marked]
        return Joined(lost, cancelled, frozenset(effects.woken), tuple(effects.final))

    def _adopt(self, worker: str, pair: Held, resumes: bool) -> bool:
        """Whether a lease the worker says it has is its own: live, or from before the start and not ended since."""
        row = self.store.jobs.get(pair.id)
        if row is None or row.state is not State.QUEUED or pair.token <= row.floor:
            return False
        claim, lease = Lease(pair.id, pair.token, worker), self._book.by_job.get(pair.id)
        if lease:
            return resumes and lease == claim
        if pair.token >= self._book.first_token or pair.token in self._book.by_token:
            return False
        self._book.put(claim)
        return True

    def part(self, worker: str, instance: bytes, now: Time) -> None:
        connection = self._book.matches(worker, instance)
        if connection:
            connection.connected = False
            connection.deadline = min(connection.deadline, now.mono + self._config.grace)

    async def leave(self, worker: str, instance: bytes, now: Time) -> frozenset[str]:
        effects = Effects()
        if self.store.workers.get(worker) == instance:
            for lease in self._book.of_worker(worker):
                self._attempts.release(lease, effects)
            self._upkeep.strike(worker)
        return frozenset(effects.woken)

    def extend(self, worker: str, instance: bytes, now: Time) -> None:
        connection = self._book.matches(worker, instance)
        if connection:
            connection.deadline = now.mono + self._config.lease_ttl

    def workers(self) -> list[WorkerRow]:
        return [
            WorkerRow(
                name,
                instance,
                connected=self._book.is_connected(name),
                leases=len(self._book.of_worker(name)),
                awaited=name in self._recovery.awaited,
            )
            for name, instance in sorted(self.store.workers.items())
        ]

    def recovery_left(self, now: Time) -> float:
        return self._recovery.left(now.mono)

    # -- the life of a job -------------------------------------------------------------------------------------------

    async def enqueue(self, batches: Sequence[NewJobs], now: Time) -> list[Enqueued]:
        return [self._enqueue(batch, now) for batch in batches]

    def _enqueue(self, batch: NewJobs, now: Time) -> Enqueued:
        exceptions: dict[int, Stored] = {}
        for index, (job, digest) in enumerate(zip(batch.ids, batch.digests, strict=True)):
            known = self.store.digest(job)
            if known is None:
                self.store.jobs[job] = self._new_row(batch, index, now)
            else:
                exceptions[index] = Stored.DUPLICATE if known == digest else Stored.CONFLICT
        return Enqueued(len(batch.ids) - len(exceptions), exceptions)

    def _new_row(self, batch: NewJobs, index: int, now: Time) -> Row:
        delayed = batch.due_ms > now.wall_ms
        return Row(
            id=batch.ids[index],
            head=batch.head,
            args=batch.args[index],
            digest=batch.digests[index],
            seq=(number := self.store.next_number()),
            state=State.SCHEDULED if delayed else State.QUEUED,
            submitted_ms=now.wall_ms,
            due_ms=batch.due_ms,
            expires_ms=batch.expires_ms,
            order=0 if delayed else number,
        )

    async def lease(self, wants: Sequence[Want], now: Time) -> HandedOut:
        return HandedOut([self._handout.lease(want, now) for want in wants])

    async def finish(
        self, worker: str, successes: Sequence[Successes], endings: Sequence[Ending], now: Time
    ) -> Finished:
        effects = Effects()
        refused: dict[int, Refusal] = {}
        for batch in successes:
            for index, token in enumerate(batch.tokens):
                lease = self._book.owned(worker, token)
                if lease:
                    result, started_ms = batch.results[index], batch.started_ms[index]
                    row = self._attempts.succeed(lease, result, batch.format, started_ms, now)
                    effects.final.append(row.id)
                else:
                    refused[token] = self._refusal(token, batch.ids[index] if batch.ids else None)
        for ending in endings:
            lease = self._book.owned(worker, ending.token)
            if lease:
                self._attempts.end(lease, ending, now, effects)
            else:
                refused[ending.token] = self._refusal(ending.token, ending.id)
        next_due_ms = min(effects.retries_due_ms, default=0)
        return Finished(refused, effects.final, frozenset(effects.woken), next_due_ms)

    def _refusal(self, token: int, job: JobId | None) -> Refusal:
        ended_by_it = job is not None and self.store.final_token(job) == token
        return Refusal.ALREADY if ended_by_it else Refusal.STALE

    async def release(self, worker: str, tokens: Sequence[int], now: Time) -> frozenset[str]:
        effects = Effects()
        for token in tokens:
            lease = self._book.owned(worker, token)
            if lease:
                self._attempts.release(lease, effects)
        return frozenset(effects.woken)

    async def cancel(self, ids: Sequence[JobId], now: Time) -> CancelAnswer:
        tokens: dict[str, list[int]] = {}
        return CancelAnswer([self._cancel(job, tokens, now) for job in ids], tokens)

    def _cancel(self, job: JobId, tokens: dict[str, list[int]], now: Time) -> Cancelled:
        row = self.store.jobs.get(job)
        if row is None or row.state in FINAL:
            return Cancelled.FINAL if row or job in self.store.remembered else Cancelled.UNKNOWN
        lease = self._book.by_job.get(job)
        if lease:
            row.marked = row.marked or self.store.next_number()
            tokens.setdefault(lease.worker, []).append(lease.token)
            return Cancelled.RUNNING
        if self._recovery.withholds(row, now.mono):
            row.marked = row.marked or self.store.next_number()
            return Cancelled.PENDING
        self._attempts.make_final(row, State.CANCELLED, now)
        return Cancelled.CANCELLED

    async def forget(self, ids: Sequence[JobId], now: Time) -> int:
        dropped = 0
        for job in ids:
            row = self.store.jobs.get(job)
            if row and row.state in FINAL:
                self.store.drop(row, self._upkeep.remember_until(row), now.wall_ms)
                dropped += 1
        return dropped

    # -- upkeep ----------------------------------------------------------------------------------------------------

    async def due(self, now: Time, limit: int) -> Due:
        return self._upkeep.due(now, limit)

    async def expire(self, now: Time, limit: int) -> Expired:
        return self._upkeep.expire(now, limit)

    # -- reading ---------------------------------------------------------------------------------------------------

    async def get(self, ids: Sequence[JobId], *, with_args: bool = False) -> list[Job]:
        return [self._get(job, with_args) for job in ids]

    def _get(self, job: JobId, with_args: bool) -> Job:
        row = self.store.jobs.get(job)
        if row is None:
            return Job(job, State.UNKNOWN, forgotten=job in self.store.remembered)
        lease = self._book.by_job.get(job)
        return Job(
            id=job,
            state=self._attempts.state(row),
            head=row.head,
            args=row.args if with_args else b"",
            submitted_ms=row.submitted_ms,
            due_ms=row.due_ms,
            expires_ms=row.expires_ms,
            started_ms=row.started_ms,
            finished_ms=row.finished_ms,
            worker=lease.worker if lease else row.worker,
            retries=row.retries,
            lost=row.lost,
            token=lease.token if lease else row.token,
            result=row.result,
            result_format=row.result_format,
            failure=row.failure,
            cancel_requested=row.marked > 0,
            recovering=lease is None and self._recovery.covers(row),
        )

    async def stats(self) -> Stats:
        stats = Stats()
        for row in self.store.jobs.values():
            counts = stats.queues.setdefault(row.head.queue, QueueCounts())
            name = self._attempts.state(row).name.lower()
            setattr(counts, name, getattr(counts, name) + 1)
        return stats
