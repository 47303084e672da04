"""What workers say of their attempts: the verbs `finish`, `annotate` and `release`."""

from __future__ import annotations

from collections.abc import Sequence

from tqbroker_broker.answers import Finished
from tqbroker_broker.attempts import Annotation, Ending, Refusal, Successes
from tqbroker_broker.records import JobId, Time
from tqbroker_broker.storage.memory.attempts import Attempts
from tqbroker_broker.storage.memory.book import Book
from tqbroker_broker.storage.memory.effects import Effects
from tqbroker_broker.storage.memory.store import MemoryStore


class Outcomes:
    """Takes the word of whoever holds the lease, and of nobody else."""

    def __init__(self, store: MemoryStore, book: Book, attempts: Attempts) -> None:
        self._store = store
        self._book = book
        self._attempts = attempts

    def finish(self, worker: str, successes: Sequence[Successes], endings: Sequence[Ending], now: Time) -> Finished:
        """Ends attempts, successes first."""
        effects = Effects()
        refused: dict[int, Refusal] = {}
        for batch in successes:
            self._succeed(worker, batch, now, effects, refused)
        for ending in endings:
            lease = self._book.owned(worker, ending.token)
            if lease:
                self._attempts.end(lease, ending, now, effects)
            else:
                refused[ending.token] = self._refusal(ending.token, ending.id)
        self._attempts.settle(now, effects)
        return Finished(refused, effects.final, frozenset(effects.woken), effects.next_due_ms)

    def _succeed(self, worker: str, batch: Successes, now: Time, effects: Effects, refused: dict[int, Refusal]) -> None:
        for index, token in enumerate(batch.tokens):
            lease = self._book.owned(worker, token)
            if lease:
                self._attempts.succeed(lease, batch, index, now, effects)
            else:
                refused[token] = self._refusal(token, batch.ids[index] if batch.ids else None)

    def _refusal(self, token: int, job: JobId | None) -> Refusal:
        ended_by_it = job is not None and self._store.final_token(job) == token
        return Refusal.ALREADY if ended_by_it else Refusal.STALE

    def annotate(self, worker: str, annotations: Sequence[Annotation]) -> dict[int, Refusal]:
        """Replaces what was said before."""
        refused: dict[int, Refusal] = {}
        for annotation in annotations:
            lease = self._book.owned(worker, annotation.token)
            if lease is None:
                refused[annotation.token] = Refusal.STALE
                continue
            row = self._store.jobs[lease.id]
            row.progress = annotation.progress or row.progress
            if annotation.checkpoint is not None:
                row.checkpoint = annotation.checkpoint
                row.checkpoint_format = annotation.checkpoint_format if annotation.checkpoint else ""
        return refused

    def release(self, worker: str, tokens: Sequence[int]) -> frozenset[str]:
        """Gives jobs back to their places. Returns the woken queues."""
        effects = Effects()
        for token in tokens:
            lease = self._book.owned(worker, token)
            if lease:
                self._attempts.release(lease, effects)
        return frozenset(effects.woken)
