"""Waiting for the end of jobs over the shared Wait stream: ids go up, final statuses are pushed down."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import grpc

from tqbroker._grpc_errors import operational, passes, understood, unreachable
from tqbroker._grpc_stream import Harvest, Line, Ticket
from tqbroker.exceptions import OperationalError
from tqbroker.ids import Key, new_key
from tqbroker.messages import job_info, pack_ids
from tqbroker.transport import JobInfo
from tqbroker.v1 import queue_pb2

if TYPE_CHECKING:
    from tqbroker._grpc_connection import Connection

Up = queue_pb2.WaitRequest
Down = queue_pb2.WaitResponse

_PAUSE = 0.05

WATCHED = 5000
"""Jobs of one question that are watched at once: a broker lets one connection watch 100,000 (max_watched)."""

log = logging.getLogger("tqbroker")


class Watch:
    """The jobs that are waited for on one line. A new line starts with none: each waiter puts its own job on it."""

    def __init__(self, connection: Connection) -> None:
        self._lock = threading.Lock()
        self._address = connection.address
        self._tickets: dict[Key, list[Ticket]] = {}
        self.line: Line[Up, Down] = connection.line(lambda stubs: stubs.queue.Wait, self._route, _question)

    def add(self, key: Key) -> Ticket:
        """A place among those who wait for this job."""
        ticket = Ticket()
        with self._lock:
            tickets = self._tickets.setdefault(key, [])
            tickets.append(ticket)
            if len(tickets) == 1:
                self.line.put(Up(watch=pack_ids([key])))
        return ticket

    def add_all(self, keys: Iterable[Key], ticket: Ticket) -> None:
        """Places for one ticket among those who wait for these jobs."""
        new: list[Key] = []
        with self._lock:
            for key in keys:
                tickets = self._tickets.setdefault(key, [])
                tickets.append(ticket)
                if len(tickets) == 1:
                    new.append(key)
            if new:
                self.line.put(Up(watch=pack_ids(new)))

    def drop(self, keys: Iterable[Key], ticket: Ticket) -> None:
        """Gives the places up."""
        alone: list[Key] = []
        with self._lock:
            for key in keys:
                tickets = self._tickets.get(key, [])
                if ticket in tickets:
                    tickets.remove(ticket)
                    if not tickets:
                        del self._tickets[key]
                        alone.append(key)
            if alone:
                self.line.put(Up(unwatch=pack_ids(alone)))

    def _route(self, line: Line[Up, Down], answer: Down) -> None:
        with understood(self._address):
            infos = list(map(job_info, answer.jobs))
        for info in infos:
            with self._lock:
                tickets = self._tickets.pop(info.key, [])
            for ticket in tickets:
                line.deliver(ticket, info)


def _question() -> Up:
    """Asking for an id that nobody has is answered at once."""
    return Up(watch=pack_ids([new_key()]))


def deadline_of(timeout: float | None, now: float) -> float:
    """When to give up. Raises ValueError for a time that never comes and never passes."""
    if timeout is None:
        return math.inf
    if timeout != timeout:
        raise ValueError(f"timeout={timeout!r} is not allowed: give seconds, or None to wait for ever")
    return now + timeout


class Waiter:
    """All waits of one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._watch: Watch | None = None

    def wait(self, key: Key, timeout: float | None, contact_timeout: float) -> JobInfo | None:
        """See Transport.wait."""
        deadline = deadline_of(timeout, time.monotonic())
        watch: Watch | None = self._reach(timeout, contact_timeout)
        while watch is not None:
            info = self._wait_on(watch, key, deadline)
            if info is not None or time.monotonic() >= deadline:
                return info
            self._lost(watch, deadline)
            watch = self._open(deadline)
        return None

    def ends(self, keys: Sequence[Key], timeout: float | None, contact_timeout: float) -> Iterator[JobInfo]:
        """See Transport.ends."""
        deadline = deadline_of(timeout, time.monotonic())
        left = dict.fromkeys(keys)
        watch: Watch | None = self._reach(timeout, contact_timeout)
        while watch is not None:
            yield from self._harvest(watch, left, deadline)
            if not left or time.monotonic() >= deadline:
                return
            watch = self.again(watch, deadline)

    def again(self, watch: Watch | None, deadline: float) -> Watch | None:
        """A healthy line: another one when that one broke, None at the deadline. Raises when waiting cannot help."""
        if watch is not None and watch.line.broken is not None:
            self._lost(watch, deadline)
        return self._open(deadline)

    def _harvest(self, watch: Watch, left: dict[Key, None], deadline: float) -> Iterator[JobInfo]:
        """The ends that come on this line until it breaks, none is left, or the deadline. Takes them out of `left`."""
        harvest = Harvest()
        watched: dict[Key, None] = {}
        try:
            while left:
                if len(watched) <= WATCHED // 2 and len(watched) < len(left):
                    more = [key for key in islice(left, WATCHED) if key not in watched]
                    watched.update(dict.fromkeys(more))
                    watch.add_all(more, harvest)
                if not watch.line.wait(harvest, deadline):
                    return
                for info in watch.line.gather(harvest):
                    del left[info.key], watched[info.key]
                    yield info
        finally:
            watch.drop(watched, harvest)

    def _reach(self, timeout: float | None, contact_timeout: float) -> Watch:
        contact = min(contact_timeout, math.inf if timeout is None else timeout)
        watch = self._open(time.monotonic() + contact)
        if watch is None:
            raise OperationalError(unreachable(self._connection.address, contact))
        return watch

    def _wait_on(self, watch: Watch, key: Key, deadline: float) -> JobInfo | None:
        ticket = watch.add(key)
        try:
            return ticket.answer if watch.line.wait(ticket, deadline) else None
        finally:
            if not ticket.done:
                watch.drop([key], ticket)

    def _lost(self, watch: Watch, deadline: float) -> None:
        """The line broke: raises when waiting cannot help, else pauses for a moment."""
        broken = watch.line.broken
        if isinstance(broken, OperationalError):
            raise broken
        if isinstance(broken, grpc.RpcError) and not passes(broken):
            raise operational(broken, self._connection.address, 0) from None
        log.info("lost the broker at %s while waiting for results; waiting on", self._connection.address)
        time.sleep(min(_PAUSE, max(0.0, deadline - time.monotonic())))

    def _open(self, deadline: float) -> Watch | None:
        watch = self._watch
        if watch is None or not watch.line.healthy():
            line = self._connection.reopen(self._line, self._new_line, deadline)
            watch = self._watch if line is not None else None
        return watch

    def _line(self) -> Line[Up, Down] | None:
        return self._watch.line if self._watch is not None else None

    def _new_line(self) -> Line[Up, Down]:
        self._watch = Watch(self._connection)
        return self._watch.line
