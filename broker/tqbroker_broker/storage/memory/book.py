"""What a restart forgets: who is connected, and who holds which job under which token."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from tqbroker_broker.lifecycle import COUNTER_BITS
from tqbroker_broker.records import JobId


class Lease(NamedTuple):
    """A worker's right to run a job. `since_ms`: when it was handed out, 0 when that was before the start."""

    id: JobId
    token: int
    worker: str
    since_ms: int = 0


@dataclass(slots=True)
class Connection:
    """A worker in touch, or one whose stream broke and that has until `deadline` (monotonic seconds) to come back."""

    instance: bytes
    deadline: float
    connected: bool = True


@dataclass(slots=True)
class Book:
    """Leases by token and by job, workers by name, and the tokens of one epoch."""

    epoch: int = 0
    granted: int = 0
    by_token: dict[int, Lease] = field(default_factory=dict)
    by_job: dict[JobId, Lease] = field(default_factory=dict)
    connections: dict[str, Connection] = field(default_factory=dict)

    @property
    def first_token(self) -> int:
        """Below every token of this epoch, above every token of earlier ones."""
        return self.epoch << COUNTER_BITS

    @property
    def last_token(self) -> int:
        """The highest token so far."""
        return self.first_token + self.granted

    def grant(self, job: JobId, worker: str, now_ms: int) -> Lease:
        """A lease under a new token, higher than all before."""
        self.granted += 1
        lease = Lease(job, self.last_token, worker, now_ms)
        self.put(lease)
        return lease

    def put(self, lease: Lease) -> None:
        """Enters a lease, new or adopted."""
        self.by_token[lease.token] = self.by_job[lease.id] = lease

    def owned(self, worker: str, token: int) -> Lease | None:
        """The live lease with this token, if this worker holds it."""
        lease = self.by_token.get(token)
        return lease if lease and lease.worker == worker else None

    def strike(self, lease: Lease) -> None:
        """Removes a lease that has ended."""
        del self.by_token[lease.token], self.by_job[lease.id]

    def of_worker(self, worker: str) -> list[Lease]:
        """What this worker holds, oldest token first."""
        return sorted((lease for lease in self.by_token.values() if lease.worker == worker), key=lambda at: at.token)

    def matches(self, worker: str, instance: bytes) -> Connection | None:
        """The worker's connection, if it is this instance's."""
        connection = self.connections.get(worker)
        return connection if connection and connection.instance == instance else None

    def is_connected(self, worker: str) -> bool:
        """Whether this worker may take jobs."""
        connection = self.connections.get(worker)
        return connection is not None and connection.connected
