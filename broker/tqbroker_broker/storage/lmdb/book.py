"""Leases and their holders, in memory.

What makes them safe over a restart is on disk: the epoch, the fence floors and the list of workers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tqbroker_broker.answers import Mark
from tqbroker_broker.lifecycle import COUNTER_BITS
from tqbroker_broker.records import Head, JobId
from tqbroker_broker.storage.lmdb.lanes import Kind, Lane
from tqbroker_broker.storage.lmdb.levels import Levels


@dataclass(slots=True, eq=False)
class Lease:
    """One job in the hands of one worker. `key` is its row in `lanes`; `noted`: it has a row in `notes`.

    `since_ms` is when it was handed out, 0 when that was before this broker was started.
    """

    token: int
    seq: int
    id: JobId
    head: Head
    lane: Lane
    key: bytes
    noted: bool
    holder: Holder
    mark: Mark = Mark.NONE
    since_ms: int = 0


@dataclass(slots=True, eq=False)
class Holder:
    """A worker that may hold leases: on the durable list, connected or awaited. All its leases share one deadline."""

    name: str
    instance: bytes
    deadline: float
    connected: bool = False
    awaited: bool = False
    leases: dict[int, Lease] = field(default_factory=dict)


class Book:
    """Who holds what. Tokens are (epoch << 32 | counter) and rise strictly."""

    def __init__(self, levels: Levels) -> None:
        self._levels = levels
        self.holders: dict[str, Holder] = {}
        self.by_seq: dict[int, Lease] = {}
        self.running: dict[str, int] = {}
        self.next_token = 0
        self.first_token = 0

    def begin(self, epoch: int) -> None:
        """Starts an epoch: every token from now on is above every earlier one."""
        self.first_token = self.next_token = (epoch << COUNTER_BITS) + 1

    @property
    def epoch(self) -> int:
        """The epoch that the next token belongs to: a full counter carries over into it."""
        return self.next_token >> COUNTER_BITS

    def add(self, lease: Lease) -> None:
        """Records a lease."""
        lease.holder.leases[lease.token] = lease
        self.by_seq[lease.seq] = lease
        lane = lease.lane
        kind = lane.kind
        self._levels.gates.refresh(kind)
        self.running[kind.queue] = self.running.get(kind.queue, 0) + 1
        if kind.gates or lane.ordering_key:
            self._levels.started(lane)

    def drop(self, lease: Lease) -> None:
        """Ends a lease; the caller has decided what becomes of the job."""
        if lease.holder.leases.pop(lease.token, None) is not None:
            del self.by_seq[lease.seq]
            lane = lease.lane
            kind = lane.kind
            self.running[kind.queue] -= 1
            if not self.running[kind.queue]:
                del self.running[kind.queue]
            if kind.gates or lane.ordering_key:
                self._levels.ended(lane)

    def kinds(self) -> list[Kind]:
        """The kind of each leased job."""
        return [lease.lane.kind for lease in self.by_seq.values()]

    def overdue(self, mono: float) -> list[Holder]:
        """Holders that gave no sign of life until their deadline."""
        return sorted((h for h in self.holders.values() if h.deadline <= mono), key=lambda holder: holder.name)

    def shift(self, seconds: float) -> None:
        """Extends every deadline: time in which the broker itself could not hear anybody does not count."""
        for holder in self.holders.values():
            holder.deadline += seconds
