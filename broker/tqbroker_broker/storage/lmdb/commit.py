"""Group commit: many callers, one transaction, one flush, then the answers.

While one commit is under way the next group gathers; there is no timer. Transactions are begun, filled and committed
by one writer thread, because LMDB ties them to their thread. While it fills a transaction the event loop waits for it:
py-lmdb lets go of the interpreter lock at every put, and a busy loop beside it would make each put hundreds of times
slower. During the commit itself, which may take seconds on a bad disk, the loop is free.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import lmdb

from tqbroker._failpoint import hit
from tqbroker_broker.storage import Ambiguous, Fenced, StorageError, StoreFull, Unavailable
from tqbroker_broker.storage.lmdb.fullness import Fullness
from tqbroker_broker.storage.lmdb.group import Group
from tqbroker_broker.storage.lmdb.txn import Txn, begin

T = TypeVar("T")

SLOW_COMMIT = 1.0
"""A commit that takes longer than this (seconds) is a stalled disk: nobody is judged by deadlines meanwhile."""

FULL = "The store is full: new work is refused until finished jobs are dropped or the map is made larger (map_size)."
NO_ROOM = "The store has no room for this change; keep it and try again."


class Op(Generic[T]):
    """One verb's part of a commit: `apply` writes it and returns the answer, sent once the commit is durable."""

    __slots__ = ("answer", "apply", "future", "new_work", "weight")

    def __init__(self, apply: Callable[[Group], T], weight: int, new_work: bool, future: asyncio.Future[T]) -> None:
        self.apply = apply
        self.weight = weight
        self.new_work = new_work
        self.future = future
        self.answer: Any = None


class Try:
    """One try to commit a group: what the writer thread made of it."""

    __slots__ = ("again", "culprit", "error", "full", "group", "ops")

    def __init__(self, ops: list[Op[Any]], *, again: bool = False) -> None:
        self.ops = ops
        self.again = again
        self.group: Group | None = None
        self.error: BaseException | None = None
        self.full = False
        """Whether the error is that there was no room."""
        self.culprit: Op[Any] | None = None


def _signal() -> threading.Lock:
    """A lock used as a signal from one thread to another: acquired is "not yet". Cheaper than a semaphore or event."""
    lock = threading.Lock()
    lock.acquire()
    return lock


class Committer:
    """The only writer. `limit` bounds the jobs and outcomes of one commit; `directory` is where the store is."""

    def __init__(self, env: lmdb.Environment, new_group: Callable[[Txn], Group], limit: int, directory: Path) -> None:
        self._env = env
        self._new_group = new_group
        self._limit = limit
        self._fullness = Fullness(directory)
        self._most = limit
        """Changes in one commit: fewer while there is little room, so that those which fit get in."""
        self._waiting: deque[Op[Any]] = deque()
        self._current: Try | None = None
        self._failed: StorageError | None = None
        self._loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()
        self._idle.set()
        self._go, self._filled = _signal(), _signal()
        self._began: float | None = None
        self._slow = 0.0
        self._thread = threading.Thread(target=self._write, name="tqbroker-writer", daemon=True)
        self._thread.start()

    async def run(self, apply: Callable[[Group], T], *, weight: int = 1, new_work: bool = False) -> T:
        """Applies a change in the next commit and returns its answer once that is durable.

        `weight` is the number of jobs it concerns; `new_work` marks what may be refused when the store is full.
        Raises StoreFull or Unavailable when it was not done, Fenced when storage has failed.
        """
        self.check()
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting.append(Op(apply, weight, new_work, future))
        if self._current is None:
            self._start()
        return await future

    def check(self) -> None:
        """Raises Fenced when storage has failed or is closed."""
        if self._failed is not None:
            raise self._failed

    def elapsed(self) -> float:
        """For how many seconds the commit under way has been running; 0.0 when none is."""
        return self._loop.time() - self._began if self._began is not None else 0.0

    def take_slow(self) -> float:
        """Seconds that commits took beyond what is not slow yet, since this was last asked."""
        slow, self._slow = self._slow, 0.0
        return slow

    def _start(self) -> None:
        """Hands everything that waits, up to the limit, to the writer thread, and waits until it is written down."""
        ops: list[Op[Any]] = []
        weight = 0
        while self._waiting and len(ops) < self._most and (not ops or weight + self._waiting[0].weight <= self._limit):
            op = self._waiting.popleft()
            weight += op.weight
            ops.append(op)
        if not ops:
            self._current = None
            self._began = None
            self._idle.set()
            return
        self._launch(Try(ops))

    def _launch(self, attempt: Try) -> None:
        self._idle.clear()
        self._began = self._loop.time()
        self._current = attempt
        self._go.release()
        self._filled.acquire()

    def _write(self) -> None:
        """The writer thread: fills a transaction, lets the loop go on, commits."""
        while True:
            self._go.acquire()
            attempt = self._current
            if attempt is None:
                return
            try:
                self._commit(attempt)
            except BaseException as error:
                attempt.error = error
                attempt.full = self._fullness.is_full(error)
            self._loop.call_soon_threadsafe(self._done)

    def _commit(self, attempt: Try) -> None:
        try:
            if attempt.again:
                self._free_pages()
            txn = begin(self._env, write=True)
        except BaseException:
            self._filled.release()
            raise
        try:
            try:
                self._fill(attempt, txn)
            finally:
                self._filled.release()
            hit("before_commit")
        except BaseException:
            txn.abort()
            raise
        txn.commit()
        hit("after_commit")

    def _free_pages(self) -> None:
        """Pages freed by one transaction can be used by the next but one only: this is the one between."""
        with contextlib.suppress(lmdb.MapFullError), self._env.begin(write=True) as txn:
            txn.put(b"freed", b"", db=self._env.open_db(b"meta", txn=txn))

    def _fill(self, attempt: Try, txn: Txn) -> None:
        group = attempt.group = self._new_group(txn)
        for op in attempt.ops:
            attempt.culprit = op
            op.answer = op.apply(group)
        attempt.culprit = None
        group.complete()

    def _done(self) -> None:
        """Back on the loop. An error here would leave memory and disk apart, so it ends the service too."""
        attempt = self._current
        assert attempt is not None
        try:
            self._settle(attempt)
        except Exception as error:
            self._fail(attempt, error)
            raise

    def _settle(self, attempt: Try) -> None:
        """Answers, or says why not; then the next group."""
        if (took := self.elapsed()) > SLOW_COMMIT:
            self._slow += took - SLOW_COMMIT
        if attempt.error is None:
            assert attempt.group is not None
            self._most = min(2 * self._most, self._limit)
            hit("before_apply")
            attempt.group.committed()
            for op in attempt.ops:
                if not op.future.done():
                    op.future.set_result(op.answer)
            self._start()
        else:
            self._recover(attempt, attempt.error)

    def _recover(self, attempt: Try, error: BaseException) -> None:
        """After a failed try: what is sound is tried again, the rest is refused."""
        if attempt.group is not None:
            attempt.group.abandoned()
        if attempt.full:
            if not attempt.again:
                self._launch(Try(attempt.ops, again=True))
                return
            retry = self._make_room(attempt.ops)
        elif attempt.culprit is not None and (
            isinstance(error, lmdb.BadValsizeError) or not isinstance(error, lmdb.Error)
        ):
            self._refuse([attempt.culprit], error)
            retry = [op for op in attempt.ops if op is not attempt.culprit]
        else:
            self._fail(attempt, error)
            return
        self._waiting.extendleft(reversed(retry))
        self._start()

    def _make_room(self, ops: list[Op[Any]]) -> list[Op[Any]]:
        """After a commit that did not fit: refuses new work, else what does not fit by itself. What is left to try."""
        if any(op.new_work for op in ops):
            self._refuse([op for op in ops if op.new_work], StoreFull(FULL))
            return [op for op in ops if not op.new_work]
        if len(ops) > 1:
            self._most = len(ops) // 2
            return ops
        self._refuse(ops, Unavailable(NO_ROOM))
        return []

    @staticmethod
    def _refuse(ops: list[Op[Any]], error: BaseException) -> None:
        for op in ops:
            if not op.future.done():
                op.future.set_exception(error)

    def _fail(self, attempt: Try, error: BaseException) -> None:
        """A commit failed: nobody can know what is on the disk, so nothing is answered OK any more."""
        self._failed = Fenced(f"storage failed: {error}. The broker must be restarted; what was answered OK is safe.")
        self._refuse(attempt.ops, Ambiguous(f"storage failed during the commit: {error}"))
        self._refuse(list(self._waiting), self._failed)
        self._waiting.clear()
        self._idle.set()

    async def close(self) -> None:
        """Waits for the commit under way and everything gathered, then ends the writer thread."""
        await self._idle.wait()
        self._failed = self._failed or Fenced("the store is closed")
        self._current = None
        self._go.release()
        await asyncio.to_thread(self._thread.join)
