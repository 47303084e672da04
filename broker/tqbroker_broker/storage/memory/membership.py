"""Workers come, stay and go: the verbs `join`, `part`, `leave`, `extend`, `spare`, `marks` and `workers`."""

from __future__ import annotations

from collections.abc import Sequence

from tqbroker_broker.answers import Joined, Mark, WorkerRow
from tqbroker_broker.attempts import Held
from tqbroker_broker.config import StorageConfig
from tqbroker_broker.lifecycle import BEAT, DIED
from tqbroker_broker.questions import EventKind
from tqbroker_broker.records import State, Time
from tqbroker_broker.storage import NameTaken
from tqbroker_broker.storage.memory.admission import Admission
from tqbroker_broker.storage.memory.attempts import Attempts
from tqbroker_broker.storage.memory.book import Book, Connection, Lease
from tqbroker_broker.storage.memory.effects import Effects
from tqbroker_broker.storage.memory.log import EventLog
from tqbroker_broker.storage.memory.recovery import Recovery
from tqbroker_broker.storage.memory.store import MemoryStore, Row
from tqbroker_broker.storage.memory.upkeep import Upkeep


class Membership:
    """Who is on the durable list, who is connected, and what each still holds."""

    def __init__(
        self,
        store: MemoryStore,
        book: Book,
        recovery: Recovery,
        attempts: Attempts,
        admission: Admission,
        upkeep: Upkeep,
        log: EventLog,
        config: StorageConfig,
    ) -> None:
        self._store = store
        self._book = book
        self._recovery = recovery
        self._attempts = attempts
        self._admission = admission
        self._upkeep = upkeep
        self._log = log
        self._config = config

    def join(self, worker: str, instance: bytes, held: Sequence[Held], now: Time) -> Joined:
        """Enters the worker, adopts what is its own of `held`, and takes back the rest of what it had."""
        before = self._book.connections.get(worker)
        resumes = before is None or before.instance == instance
        if before and before.connected and not resumes:
            raise NameTaken(f"worker name {worker!r} is in use: give this worker another name, or stop the other one")
        in_time = bool(self._recovery.awaited)
        self._enter(worker, instance, now)
        adopted = {pair.token for pair in held if self._adopt(worker, pair, resumes, in_time)}
        effects = Effects()
        for lease in self._book.of_worker(worker):
            if lease.token in adopted:
                continue
            if resumes:
                self._attempts.release(lease, effects)
            else:
                self._attempts.lose(lease, DIED, now, effects)
        self._attempts.settle(now, effects)
        return Joined(
            lost=[at.token for at in held if at.token not in adopted and self._store.final_token(at.id) != at.token],
            woken=frozenset(effects.woken),
            final=tuple(effects.final),
        )

    def _enter(self, worker: str, instance: bytes, now: Time) -> None:
        self._book.connections[worker] = Connection(instance, now.mono + self._config.lease_ttl)
        if self._store.workers.get(worker) != instance:
            self._log.worker(EventKind.WORKER_ONLINE, worker)
        self._store.workers[worker] = instance
        self._recovery.awaited.discard(worker)

    def _adopt(self, worker: str, pair: Held, resumes: bool, in_time: bool) -> bool:
        """Whether a lease the worker says it has is its own: live, or from before the start and not ended since."""
        row = self._store.jobs.get(pair.id)
        if row is None or row.state is not State.QUEUED or pair.token <= row.floor:
            return False
        claim, lease = Lease(pair.id, pair.token, worker), self._book.by_job.get(pair.id)
        if lease:
            if pair.token < lease.token:
                row.floor = max(row.floor, pair.token)  # it must not count again after another start
            return resumes and lease[:3] == claim[:3]
        if pair.token >= self._book.first_token or pair.token in self._book.by_token:
            return False
        if not self._may_resume(worker, row, in_time):
            row.floor = pair.token
            return False
        self._book.put(claim)
        return True

    def _may_resume(self, worker: str, row: Row, in_time: bool) -> bool:
        """Whether a worker may go on with a job that nobody has.

        One that had been given up before the start may not: its jobs may have been in other hands since. Nor may one
        that comes when others have got what was kept for it until then: the ordering key, or the room under a limit.
        """
        if self._recovery.listed.get(worker) != self._book.connections[worker].instance:
            return False
        return in_time or not self._admission.taken(row.head)

    def part(self, worker: str, instance: bytes, now: Time) -> None:
        """Gives the worker the grace to come back."""
        connection = self._book.matches(worker, instance)
        if connection:
            connection.connected = False
            connection.deadline = min(connection.deadline, now.mono + self._config.grace)

    def leave(self, worker: str, instance: bytes) -> frozenset[str]:
        """Takes the worker off the list. Returns the queues that got work back."""
        effects = Effects()
        if self._store.workers.get(worker) == instance:
            for lease in self._book.of_worker(worker):
                self._attempts.release(lease, effects)
            self._upkeep.strike(worker)
            self._log.worker(EventKind.WORKER_OFFLINE, worker)
        return frozenset(effects.woken)

    def extend(self, worker: str, instance: bytes, now: Time) -> None:
        """A sign of life; of a worker whose stream broke only its coming back is one."""
        connection = self._book.matches(worker, instance)
        if connection and connection.connected:
            connection.deadline = now.mono + self._config.lease_ttl

    def spare(self, worker: str, instance: bytes, now: Time) -> None:
        """The worker is not given up within the grace."""
        connection = self._book.matches(worker, instance)
        if connection:
            connection.deadline = max(connection.deadline, now.mono + max(self._config.grace, BEAT))

    def marks(self, worker: str) -> dict[int, Mark]:
        """The leases of this worker whose jobs somebody cancelled, by token."""
        rows = {lease.token: self._store.jobs[lease.id] for lease in self._book.of_worker(worker)}
        return {token: row.mark for token, row in rows.items() if row.mark}

    def workers(self) -> list[WorkerRow]:
        """The durable list, by name."""
        return [
            WorkerRow(
                name,
                instance,
                connected=self._book.is_connected(name),
                leases=len(self._book.of_worker(name)),
                awaited=name in self._recovery.awaited,
            )
            for name, instance in sorted(self._store.workers.items())
        ]
