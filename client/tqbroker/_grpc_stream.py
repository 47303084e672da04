"""One long two-way call shared by threads, without a thread of its own that reads.

Of all threads that wait for an answer one reads for everybody, and gives each its own; when it has what it came for,
the next one goes on reading. A lone caller thus reads its own answer, which was measured at 30 to 50 µs less than a
reader thread that wakes it. The price: a reader cannot be interrupted. A watchdog therefore asks the broker a small
question when the reader's deadline passes, so that something arrives; when even that is not answered, it ends the call.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

import grpc

Up = TypeVar("Up")
Down = TypeVar("Down")

_PATIENCE = 1.0
"""Seconds the broker has to answer the watchdog's question."""


class Ticket:
    """One caller's place in the line."""

    __slots__ = ("answer", "done", "wake")

    def __init__(self) -> None:
        self.answer: Any = None
        self.done = False
        self.wake: threading.Lock | None = None

    def take(self, answer: Any) -> None:
        """Its answer is there."""
        self.answer = answer
        self.done = True


class Harvest(Ticket):
    """A ticket with many answers: done whenever some have come since `Line.gather`."""

    __slots__ = ("answers",)

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[Any] = []

    def take(self, answer: Any) -> None:
        """One more answer is there."""
        self.answers.append(answer)
        self.done = True


class Watchdog:
    """One thread that looks after the deadlines of all readers. It sleeps until the earliest of them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._lines: list[Line[Any, Any]] = []
        self._planned = math.inf
        self._thread: threading.Thread | None = None

    def add(self, line: Line[Any, Any]) -> None:
        """Looks after this line from now on."""
        with self._changed:
            self._lines.append(line)

    def remove(self, line: Line[Any, Any]) -> None:
        """Looks after it no longer."""
        with self._changed:
            if line in self._lines:
                self._lines.remove(line)

    def expect(self, deadline: float) -> None:
        """A reader has this deadline. Mostly a later one than what is planned for: nothing to do."""
        if deadline >= self._planned:
            return
        with self._changed:
            if self._thread is None:
                thread = threading.Thread(target=self._watch, name="tqbroker-watchdog", daemon=True)
                thread.start()
                self._thread = thread
            self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while True:
                self._planned = math.inf  # whoever starts to read while this looks round must say so
                now = time.monotonic()
                planned = min([line.look(now) for line in list(self._lines)], default=math.inf)
                self._planned = planned
                self._changed.wait(min(max(0.0, planned - now), threading.TIMEOUT_MAX))


class Line(Generic[Up, Down]):
    """The shared call. `route` gives an answer to its tickets by calling `deliver`; `question` is answered at once."""

    def __init__(
        self,
        open_call: Callable[[Iterator[Up]], Any],
        route: Callable[[Line[Up, Down], Down], None],
        question: Callable[[], Up],
        watchdog: Watchdog,
    ) -> None:
        self._requests: SimpleQueue[Up | None] = SimpleQueue()
        self._call = open_call(iter(self._requests.get, None))
        self._route = route
        self._question = question
        self._watchdog = watchdog
        self._lock = threading.Lock()
        self._read_by: Ticket | None = None
        self._followers: deque[Ticket] = deque()
        self._deadline = math.inf
        self._asked = False
        self.broken: BaseException | None = None
        watchdog.add(self)

    def healthy(self) -> bool:
        """Whether requests can still be put."""
        return self.broken is None and bool(self._call.is_active())

    def put(self, request: Up) -> None:
        """Sends a request."""
        self._requests.put(request)

    def wait(self, ticket: Ticket, deadline: float) -> bool:
        """Waits until the ticket is done, and reads for all if nobody does. False at the deadline or a broken line."""
        try:
            while not ticket.done and self.broken is None and time.monotonic() < deadline:
                if self._take_over(ticket):
                    self._read(ticket, deadline)
                else:
                    self._follow(ticket, deadline)
        finally:
            self._leave(ticket)
        return ticket.done

    def deliver(self, ticket: Ticket, answer: Any) -> None:
        """Gives a ticket its answer."""
        with self._lock:
            ticket.take(answer)
            _wake(ticket)

    def gather(self, harvest: Harvest) -> list[Any]:
        """The answers that have come."""
        with self._lock:
            answers, harvest.answers = harvest.answers, []
            harvest.done = False
        return answers

    def close(self) -> None:
        """Ends the call; who still waits sees a broken line."""
        self._break(ConnectionError("closed"))

    def join(self, timeout: float) -> None:
        """Waits until a closed call is over, inside gRPC too; at most `timeout` seconds."""
        over = threading.Event()
        if self._call.add_callback(over.set):
            over.wait(timeout)

    def look(self, now: float) -> float:
        """The watchdog's visit: helps a reader past its deadline, and says when to come again."""
        if self._deadline > now:
            return self._deadline
        if self._asked:
            self._break(TimeoutError("the broker does not answer"))
            return math.inf
        self._asked = True
        self._deadline = now + _PATIENCE
        self._requests.put(self._question())
        return self._deadline

    def _take_over(self, ticket: Ticket) -> bool:
        """Whether it is the one to read. If not it is to be woken, unless its answer has come in this very moment."""
        with self._lock:
            if self._read_by is None or self._read_by is ticket:
                self._read_by = ticket
                return True
            ticket.wake = ticket.wake or threading.Lock()
            if ticket.done or self.broken is not None:
                _wake(ticket)
            else:
                ticket.wake.acquire(blocking=False)
            if ticket not in self._followers:
                self._followers.append(ticket)
            return False

    def _follow(self, ticket: Ticket, deadline: float) -> None:
        assert ticket.wake is not None
        ticket.wake.acquire(timeout=max(0.0, min(deadline - time.monotonic(), threading.TIMEOUT_MAX)))

    def _read(self, ticket: Ticket, deadline: float) -> None:
        self._asked = False
        self._deadline = deadline
        self._watchdog.expect(deadline)
        try:
            while not ticket.done and time.monotonic() < deadline:
                self._route(self, next(self._call))
                if self._asked:  # whatever arrived, the broker is alive
                    self._asked = False
                    self._deadline = deadline
        except (grpc.RpcError, StopIteration) as error:
            self._break(error)
        except BaseException as error:  # Ctrl-C in the middle of a message: where the call stands is not known
            self._break(error)
            raise
        finally:
            self._deadline = math.inf

    def _leave(self, ticket: Ticket) -> None:
        """Out of the line; if this was the reader, the next follower reads from now on."""
        with self._lock:
            if self._read_by is ticket:
                self._read_by = self._followers.popleft() if self._followers else None
                if self._read_by is not None:
                    _wake(self._read_by)
            elif ticket in self._followers:
                self._followers.remove(ticket)

    def _break(self, error: BaseException) -> None:
        with self._lock:
            if self.broken is None:
                self.broken = error
            for ticket in self._followers:
                _wake(ticket)
        self._watchdog.remove(self)
        self._requests.put(None)
        self._call.cancel()


def _wake(ticket: Ticket) -> None:
    """Under the line's lock."""
    if ticket.wake is not None and ticket.wake.locked():
        ticket.wake.release()
