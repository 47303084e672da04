"""The answer to one want of a hand-out as it grows."""

from __future__ import annotations

from tqbroker_broker.attempts import Extra, Leased, Want
from tqbroker_broker.records import Head, JobId
from tqbroker_broker.storage.lmdb.book import Holder
from tqbroker_broker.storage.lmdb.extras import size_of
from tqbroker_broker.storage.lmdb.lanes import Kind
from tqbroker_broker.storage.lmdb.rows import Note


def is_rated(kind: Kind) -> bool:
    """Whether a rate limit holds for jobs of this kind."""
    return bool(kind.gates) and kind.rated


class Columns:
    """Jobs for one worker, and how many more it may have: at most `deliverable`, so that all results will fit."""

    def __init__(self, want: Want, holder: Holder, deliverable: int) -> None:
        self.want = want
        self.holder = holder
        self.most = min(want.window, deliverable)
        self.taken = 0
        self.slow = 0
        self.rated = False
        """Whether a rate limit holds for the jobs that are added next."""
        self.bytes = 0
        self.batches: list[Leased] = []

    @property
    def full(self) -> bool:
        """Whether nothing more may be taken."""
        return self.taken >= self.most or self.bytes >= self.want.max_bytes

    def is_slow(self, kind: Kind) -> bool:
        """Whether jobs of this kind need a slot each."""
        return kind.task not in self.want.fast or is_rated(kind)

    def room(self, kind: Kind) -> int:
        """How many more jobs of this kind may be taken."""
        if self.bytes >= self.want.max_bytes:
            return 0
        room = self.most - self.taken
        return min(room, self.want.slots - self.slow) if self.is_slow(kind) else room

    def add(self, head: Head, job: JobId, token: int, args: bytes, note: Note | None) -> None:
        """Adds a job; jobs that share their head share a batch."""
        batch = self.batches[-1] if self.batches else None
        if batch is None or batch.head is not head:
            batch = Leased(head, [], [], [], [], [], {}, self.rated)
            self.batches.append(batch)
        batch.ids.append(job)
        batch.tokens.append(token)
        batch.args.append(args)
        batch.retries.append(note.retries if note else 0)
        batch.lost.append(note.lost if note else 0)
        self.taken += 1
        self.bytes += len(args)

    def beside(self, extra: Extra | None) -> None:
        """Adds what goes with the job added last."""
        if extra is not None:
            batch = self.batches[-1]
            batch.extras[len(batch.ids) - 1] = extra
            self.bytes += size_of(extra)
