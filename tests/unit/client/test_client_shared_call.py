"""Who waits on the shared call gets its answer at once, at whatever moment it comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

from tqbroker._grpc_stream import Harvest, Line, Ticket, Watchdog

SECONDS = 5


class Call:
    """Stands for gRPC's call: what it gives is put by the test."""

    def __init__(self) -> None:
        self.answers: SimpleQueue[Any] = SimpleQueue()

    def __next__(self) -> Any:
        answer = self.answers.get()
        if answer is None:
            raise StopIteration
        return answer

    def is_active(self) -> bool:
        return True

    def cancel(self) -> None:
        self.answers.put(None)


class Shared(Line[Any, Any]):
    """A line on such a call. The answers `coming` are there just when somebody has seen none, and queues up."""

    def __init__(self) -> None:
        self.call = Call()
        self.coming: list[tuple[Ticket, Any]] = []
        super().__init__(self._opened, lambda line, answer: line.deliver(*answer), object, Watchdog())

    def _opened(self, requests: Iterator[Any]) -> Call:
        return self.call

    def _take_over(self, ticket: Ticket) -> bool:
        while self.coming:
            self.deliver(*self.coming.pop())
        return super()._take_over(ticket)


def read_by_another(line: Line[Any, Any]) -> None:
    """A thread that waits for something else reads for all."""
    reader = Ticket()
    threading.Thread(target=line.wait, args=(reader, time.monotonic() + 3 * SECONDS), daemon=True).start()
    while line._read_by is not reader:
        time.sleep(0.001)


def test_an_answer_that_comes_while_its_thread_queues_up_is_seen_at_once() -> None:
    line = Shared()
    read_by_another(line)
    harvest = Harvest()
    for ticket in (Ticket(), harvest, harvest):
        line.coming = [(ticket, "answer")]
        start = time.monotonic()

        assert line.wait(ticket, start + SECONDS)

        assert time.monotonic() - start < 1
        if ticket is harvest:
            assert line.gather(harvest) == ["answer"]
    line.close()


def test_a_follower_gets_its_answers_from_the_reader_one_after_the_other() -> None:
    line = Shared()
    read_by_another(line)
    harvest = Harvest()
    for number in range(3):
        threading.Timer(0.05, line.call.answers.put, [(harvest, number)]).start()

        assert line.wait(harvest, time.monotonic() + SECONDS)
        assert line.gather(harvest) == [number]
    line.close()
