"""Many `delay()` calls from several threads, each written down before it is made and when it is answered."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import Self

from tests.acceptance.harness.history import History
from tests.acceptance.harness.waiting import PATIENCE

from tqbroker import App, AsyncResult, Task
from tqbroker.exceptions import OperationalError


class Calls:
    """The tasks of projects/load as a client sees them: the names and parameters, without the code."""

    def __init__(self, url: str) -> None:
        self.app = app = App("tasks", broker=url)

        @app.task(name="tasks.mark")
        def mark(number: int) -> int:
            raise NotImplementedError(number)

        @app.task(name="tasks.hold")
        def hold(number: int) -> int:
            raise NotImplementedError(number)

        @app.task(name="tasks.ahold")
        def ahold(number: int) -> int:
            raise NotImplementedError(number)

        @app.task(name="tasks.nap")
        def nap(number: int, seconds: float) -> int:
            raise NotImplementedError(number, seconds)

        @app.task(name="tasks.step")
        def step(number: int) -> int:
            raise NotImplementedError(number)

        @app.task(name="tasks.die")
        def die(number: int) -> int:
            raise NotImplementedError(number)

        self.mark, self.hold, self.ahold, self.nap, self.step, self.die = mark, hold, ahold, nap, step, die


def submit_many(task: Task[[int], int], history: History, jobs: int) -> list[AsyncResult[int]]:
    """Calls the task `jobs` times in one durable request. Each gives back the number that it is passed."""
    numbers = [next(Callers.numbers) for _ in range(jobs)]
    for number in numbers:
        history.write("invoke", number)
    results = task.delay_many([(number,) for number in numbers])
    for number, result in zip(numbers, results, strict=True):
        history.write("ok", number, result.id)
    return results


class Callers(ABC):
    """`jobs` calls or more from `threads` threads; the numbers passed go on from load to load.

    Use as a context manager: leaving it waits for the last call.
    """

    numbers = count()

    def __init__(self, history: History, jobs: int, threads: int) -> None:
        self.history = history
        self.answered = 0
        self.longest = 0.0
        """Seconds that the slowest call took."""
        self._left = jobs
        self._changed = threading.Condition()
        self._pool = ThreadPoolExecutor(threads)
        self._stopped = False
        self._parts: list[Future[None]] = [self._pool.submit(self._submit) for _ in range(threads)]

    @abstractmethod
    def make(self, number: int) -> int:
        """Makes a call with this number, or several with further ones, and writes them down. How many are confirmed."""

    def number(self) -> int:
        """A number for a call that nobody else has."""
        return next(Callers.numbers)

    def after(self, answers: int, timeout: float = PATIENCE) -> None:
        """Returns when this many calls have been acknowledged."""
        with self._changed:
            done = self._changed.wait_for(lambda: self.answered >= answers, timeout)
        assert done, f"{self.answered} calls were acknowledged within {timeout:g} s, {answers} expected"

    def stop(self) -> None:
        """No further calls."""
        self._stopped = True

    def join(self, timeout: float = 60.0) -> None:
        """Returns when every call has been answered or refused."""
        for part in self._parts:
            part.result(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.stop()
        self._pool.shutdown(cancel_futures=True)
        self.join()

    def _submit(self) -> None:
        while not self._stopped and self._may():
            begun = time.monotonic()
            answered = self.make(self.number())
            with self._changed:
                self.longest = max(self.longest, time.monotonic() - begun)
                self.answered += answered
                self._changed.notify_all()

    def _may(self) -> bool:
        with self._changed:
            self._left -= 1
            return self._left >= 0


class Load(Callers):
    """Calls of one task."""

    def __init__(self, task: Task[[int], int], history: History, jobs: int, threads: int = 4) -> None:
        self.task = task
        super().__init__(history, jobs, threads)

    def make(self, number: int) -> int:
        self.history.write("invoke", number)
        try:
            job = self.task.delay(number)
        except OperationalError as error:
            self.history.write("fail", number, error.outcome)
            return 0
        self.history.write("ok", number, job.id)
        return 1
