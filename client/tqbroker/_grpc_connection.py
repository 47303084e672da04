"""One channel to the broker for all threads of a process: opened when used, and closed for the moment of a fork.

gRPC survives a fork only while nobody is inside of it. So before a fork the channel is closed, and those who used it
find it open again right after: what was under way is sent again, as after any lost connection.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import grpc

from tqbroker._grpc_channel import OPTIONS, limit
from tqbroker._grpc_errors import again, answered, operational
from tqbroker._grpc_stream import Line, Watchdog
from tqbroker.v1 import admin_pb2_grpc, queue_pb2, queue_pb2_grpc

Up = TypeVar("Up")
Down = TypeVar("Down")

_PAUSE = 0.1
_QUIET = 1.0
"""Seconds a fork waits at most for those inside gRPC to come out."""


class ClosedError(Exception):
    """Another thread has closed the channel; the next use opens it again."""


class Stubs(NamedTuple):
    """What calls are made on."""

    channel: grpc.Channel
    queue: queue_pb2_grpc.QueueStub
    admin: admin_pb2_grpc.AdminStub


class Connection:
    """The channel, questions asked on it, and the streams that threads share."""

    def __init__(self, target: str) -> None:
        self.address = target
        self._gate = threading.Condition()
        self._parked = False
        self._used = False
        self._stubs: Stubs | None = None
        self._asking = 0
        self._lines: list[Line[Any, Any]] = []
        self._opening = threading.Lock()
        self._watchdog = Watchdog()

    # -- questions ----------------------------------------------------------------------------------------------------

    def ask(self, method: Callable[[Stubs], Any], request: Any, timeout: float) -> Any:
        """One answer, asked for again while the broker is away. Raises OperationalError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                return self.once(method, request, max(0.001, deadline - time.monotonic()))
            except ClosedError:
                continue
            except grpc.RpcError as error:
                if deadline - time.monotonic() <= _PAUSE or not again(error):
                    raise operational(error, self.address, timeout) from None
            time.sleep(_PAUSE)

    def reach(self, timeout: float) -> None:
        """Raises OperationalError when the broker does not answer within `timeout` seconds."""
        self.ask(_nothing, queue_pb2.GetRequest(), timeout)

    def watch(self, method: Callable[[Stubs], Any], request: Any, timeout: float | None) -> Iterator[Any]:
        """The answers of a call that goes on, at most `timeout` seconds.

        Raises grpc.RpcError when it breaks, as at the end of that time, by a fork or by `close`.
        """
        with self._gate:
            call = method(self._open())(request, timeout=limit(timeout), wait_for_ready=True)
        try:
            yield from call
        finally:
            call.cancel()

    def once(self, method: Callable[[Stubs], Any], request: Any, timeout: float | None) -> Any:
        """One answer, asked for once. Raises grpc.RpcError, or ClosedError when the channel went away meanwhile."""
        with self._gate:
            stubs = self._open()
            self._asking += 1
        try:
            return method(stubs)(request, timeout=limit(timeout), wait_for_ready=True)
        except ValueError:  # what gRPC says when another thread has closed the channel meanwhile
            if self._stubs is stubs:
                raise
            raise ClosedError from None
        finally:
            with self._gate:
                self._asking -= 1
                self._gate.notify_all()

    def _open(self) -> Stubs:
        """The channel's stubs; under the gate. Waits while a fork is under way."""
        while self._parked:
            self._gate.wait()
        if self._stubs is None:
            self._used = True
            channel = grpc.insecure_channel(self.address, options=OPTIONS)
            self._stubs = Stubs(channel, queue_pb2_grpc.QueueStub(channel), admin_pb2_grpc.AdminStub(channel))
        return self._stubs

    # -- streams ------------------------------------------------------------------------------------------------------

    def line(
        self,
        method: Callable[[Stubs], Callable[[Iterator[Up]], Any]],
        route: Callable[[Line[Up, Down], Down], None],
        question: Callable[[], Up],
    ) -> Line[Up, Down]:
        """A new shared stream."""
        with self._gate:
            line: Line[Up, Down] = Line(method(self._open()), route, question, self._watchdog)
            self._lines = [each for each in self._lines if each.broken is None]
            self._lines.append(line)
        return line

    def reopen(
        self,
        current: Callable[[], Line[Up, Down] | None],
        open_line: Callable[[], Line[Up, Down]],
        deadline: float,
    ) -> Line[Up, Down] | None:
        """A healthy line: the current one if another thread was faster, else a new one. None at the deadline."""
        if not self._opening.acquire(timeout=min(max(0.0, deadline - time.monotonic()), threading.TIMEOUT_MAX)):
            return None
        try:
            line = current()
            if line is not None and line.healthy():
                return line
            if not self.ready(deadline):
                return None
            if line is not None:
                line.close()
            return open_line()
        finally:
            self._opening.release()

    def ready(self, deadline: float) -> bool:
        """Whether the broker answers by the deadline. What was not sent before this is surely not stored.

        Asked with `_nothing`, not `channel_ready_future`: that one leaves a thread behind which complains at exit.
        """
        while (left := deadline - time.monotonic()) > 0:
            try:
                self.once(_nothing, queue_pb2.GetRequest(), left)
            except ClosedError:
                continue
            except grpc.RpcError as error:
                if answered(error):
                    return True
                time.sleep(min(_PAUSE, max(0.0, deadline - time.monotonic())))
            else:
                return True
        return False

    # -- the end, and forks -------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Ends all streams and closes the channel. The next use opens it again."""
        with self._gate:
            stubs, self._stubs = self._stubs, None
            lines, self._lines = self._lines, []
        for line in lines:
            line.close()
        if stubs is not None:
            stubs.channel.close()

    def park(self) -> bool:
        """Before a fork: none of ours is inside gRPC, or comes in, until `resume`. False if none was since the last."""
        with self._gate:
            self._parked = True
            used, self._used = self._used, False
            lines = self._lines
        self.close()
        for line in lines:
            line.join(_QUIET)
        with self._gate:
            self._gate.wait_for(lambda: not self._asking, _QUIET)
        return used

    def resume(self) -> None:
        """After a fork, in the parent."""
        with self._gate:
            self._parked = False
            self._gate.notify_all()


def _nothing(stubs: Stubs) -> Any:
    """The cheapest question: about no jobs."""
    return stubs.queue.Get
