"""The broker's disk: real commits, which take virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any
from unittest import mock

from tqbroker_broker.storage import Fenced
from tqbroker_broker.storage.lmdb import engine as engine_module
from tqbroker_broker.storage.lmdb.commit import Committer, Try


class Disk(Committer):
    """A committer that needs no thread: a commit is done at once, and known when as much time has passed as it took.

    What is read in between is on the disk already and not in memory, as it may be with the thread.
    """

    rng = Random(0)
    calm = False

    def _launch(self, attempt: Try) -> None:
        self._idle.clear()
        self._began = self._loop.time()
        self._current = attempt
        try:
            self._commit(attempt)
        except Exception as error:
            attempt.error = error
        self._filled.acquire()
        self._loop.call_later(self._seconds(), self._done)

    def _seconds(self) -> float:
        """Mostly a third of a millisecond, at times a second or more."""
        draw = self.rng.random()
        if draw < 0.98 or self.calm:
            return 0.0003 + self.rng.random() * 0.0005
        return self.rng.random() * (0.2 if draw < 0.998 else 4.0)

    def _done(self) -> None:
        if self._current is not None:  # else the process has died meanwhile
            super()._done()

    async def close(self) -> None:
        await self._idle.wait()
        self.stop()

    def stop(self) -> None:
        """Ends the thread at once; what is in flight is on the disk, or is not."""
        self._failed = self._failed or Fenced("the store is closed")
        self._current = None
        self._go.release()
        self._thread.join()


@contextmanager
def virtual_disk(rng: Random) -> Iterator[None]:
    """Every store opened meanwhile is on such a disk."""
    Disk.rng, Disk.calm = rng, False
    replaced: Any = Disk
    with mock.patch.object(engine_module, "Committer", replaced):
        yield
