"""Transport over gRPC for threads: one connection for each process and broker, opened with its first use."""

from __future__ import annotations

import atexit
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import grpc

from tqbroker._grpc_channel import OPTIONS
from tqbroker._grpc_errors import again, answered, operational
from tqbroker._grpc_stream import Line, Watchdog
from tqbroker._grpc_submit import Submitter
from tqbroker._grpc_wait import Waiter
from tqbroker.call import Batch
from tqbroker.ids import Key
from tqbroker.messages import broker_info, effects, job_info, pack_ids
from tqbroker.states import RevokeEffect
from tqbroker.transport import BrokerInfo, JobInfo, Refused
from tqbroker.urls import target_of
from tqbroker.v1 import admin_pb2, admin_pb2_grpc, queue_pb2, queue_pb2_grpc

Up = TypeVar("Up")
Down = TypeVar("Down")

_PAUSE = 0.1


class Connection:
    """One channel, and what its streams share."""

    def __init__(self, target: str) -> None:
        self.address = target
        self.channel = grpc.insecure_channel(target, options=OPTIONS)
        self.stub = queue_pb2_grpc.QueueStub(self.channel)
        self.admin = admin_pb2_grpc.AdminStub(self.channel)
        self._lock = threading.Lock()
        self._watchdog = Watchdog()

    def line(
        self,
        method: Callable[[Iterator[Up]], Any],
        route: Callable[[Line[Up, Down], Down], None],
        question: Callable[[], Up],
    ) -> Line[Up, Down]:
        """A new shared stream on this connection."""
        return Line(method, route, question, self._watchdog)

    def reopen(
        self,
        current: Callable[[], Line[Up, Down] | None],
        open_line: Callable[[], Line[Up, Down]],
        deadline: float,
    ) -> Line[Up, Down] | None:
        """A healthy line: the current one if another thread was faster, else a new one. None at the deadline."""
        if not self._lock.acquire(timeout=min(max(0.0, deadline - time.monotonic()), threading.TIMEOUT_MAX)):
            return None
        try:
            line = current()
            if line is not None and line.healthy():
                return line
            if not self._ready(deadline):
                return None
            if line is not None:
                line.close()
            return open_line()
        finally:
            self._lock.release()

    def _ready(self, deadline: float) -> bool:
        """Whether the broker answers by the deadline. What was not sent before this is surely not stored.

        A question about no jobs, not `channel_ready_future`: that one leaves a thread behind which complains at exit.
        """
        while (left := deadline - time.monotonic()) > 0:
            try:
                self.stub.Get(queue_pb2.GetRequest(), timeout=None if left == math.inf else left, wait_for_ready=True)
            except grpc.RpcError as error:
                if answered(error):
                    return True
                time.sleep(min(_PAUSE, max(0.0, left)))
            else:
                return True
        return False


class GrpcTransport:
    """See Transport."""

    def __init__(self, target: str) -> None:
        self._connection = Connection(target)
        self._submitter = Submitter(self._connection)
        self._waiter = Waiter(self._connection)

    def submit(self, batches: Sequence[Batch], timeout: float) -> list[Refused]:
        """See Transport.submit."""
        return self._submitter.submit(batches, timeout)

    def wait(self, key: Key, timeout: float | None, contact_timeout: float) -> JobInfo | None:
        """See Transport.wait."""
        return self._waiter.wait(key, timeout, contact_timeout)

    def get(self, keys: Sequence[Key], timeout: float, *, with_args: bool = False) -> list[JobInfo]:
        """See Transport.get."""
        request = queue_pb2.GetRequest(ids=pack_ids(keys), with_args=with_args)
        answer = self._ask(self._connection.stub.Get, request, timeout)
        found = {info.key: info for info in map(job_info, answer.jobs)}
        return [found[key] for key in keys]

    def cancel(self, keys: Sequence[Key], timeout: float) -> list[RevokeEffect]:
        """See Transport.cancel."""
        ordered = sorted(keys, key=lambda key: isinstance(key, str))
        answer = self._ask(self._connection.stub.Cancel, queue_pb2.CancelRequest(ids=pack_ids(ordered)), timeout)
        found = dict(zip(ordered, effects(answer.effects), strict=True))
        return [found[key] for key in keys]

    def forget(self, keys: Sequence[Key], timeout: float) -> int:
        """See Transport.forget."""
        request = queue_pb2.ForgetRequest(ids=pack_ids(keys))
        return int(self._ask(self._connection.stub.Forget, request, timeout).forgotten)

    def broker(self, timeout: float) -> BrokerInfo:
        """See Transport.broker."""
        admin = self._connection.admin
        return broker_info(
            self._ask(admin.GetBroker, admin_pb2.GetBrokerRequest(), timeout),
            self._ask(admin.ListQueues, admin_pb2.ListQueuesRequest(), timeout),
            self._ask(admin.ListWorkers, admin_pb2.ListWorkersRequest(), timeout),
        )

    def _ask(self, method: Any, request: Any, timeout: float) -> Any:
        """A question, asked again while the broker is away. All questions are safe to repeat."""
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            try:
                return method(request, timeout=max(0.001, left), wait_for_ready=True)
            except grpc.RpcError as error:
                if left <= _PAUSE or not again(error):
                    raise operational(error, self._connection.address, timeout) from None
            time.sleep(_PAUSE)

    def close(self) -> None:
        """See Transport.close."""
        self._submitter.close()
        self._waiter.close()
        self._connection.channel.close()


_lock = threading.Lock()
_transports: dict[str, GrpcTransport] = {}
_parents: list[dict[str, GrpcTransport]] = []


def transport_for(url: str) -> GrpcTransport:
    """This process's transport to a broker."""
    transport = _transports.get(url)
    if transport is None:
        with _lock:
            transport = _transports.get(url)
            if transport is None:
                transport = _transports[url] = GrpcTransport(target_of(url))
    return transport


def close(url: str) -> None:
    """Closes this process's transport to a broker, if there is one."""
    with _lock:
        transport = _transports.pop(url, None)
    if transport is not None:
        transport.close()


def _close_all() -> None:
    for url in list(_transports):
        close(url)


def _after_fork() -> None:
    """A child has its own connections. Its parent's are kept unused: to close them here would disturb the parent."""
    global _lock, _transports
    _lock = threading.Lock()
    _parents.append(_transports)
    _transports = {}


atexit.register(_close_all)
os.register_at_fork(after_in_child=_after_fork)
