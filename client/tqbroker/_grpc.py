"""Transport over gRPC for threads: one connection for each process and broker, opened with its first use."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Iterator, Sequence

import grpc

from tqbroker._grpc_admin import GrpcOperator
from tqbroker._grpc_connection import Connection
from tqbroker._grpc_errors import understood
from tqbroker._grpc_forks import check_usable, settle, supported
from tqbroker._grpc_submit import Submitter
from tqbroker._grpc_tell import Teller
from tqbroker._grpc_wait import Waiter
from tqbroker._grpc_workflow import WorkflowSubmitter
from tqbroker.call import Batch, Workflow
from tqbroker.exceptions import OperationalError
from tqbroker.ids import Key, text_of
from tqbroker.messages import broker_info, effects, job_info, pack_ids, pack_in_order, unpack_ids
from tqbroker.states import RevokeEffect
from tqbroker.transport import BrokerInfo, InputsInfo, JobInfo, Refused
from tqbroker.urls import target_of
from tqbroker.v1 import admin_pb2, queue_pb2

MOST_IDS = 10_000
"""Ids in one question: the most that a broker takes (max_request_jobs)."""


class GrpcTransport:
    """See Transport."""

    def __init__(self, target: str) -> None:
        self.connection = Connection(target)
        self._submitter = Submitter(self.connection)
        self._workflows = WorkflowSubmitter(self.connection)
        self._waiter = Waiter(self.connection)
        self._teller = Teller(self._waiter)

    def submit(self, batches: Sequence[Batch], timeout: float) -> list[Refused]:
        """See Transport.submit."""
        return self._submitter.submit(batches, timeout)

    def wait(self, key: Key, timeout: float | None, contact_timeout: float) -> JobInfo | None:
        """See Transport.wait."""
        return self._waiter.wait(key, timeout, contact_timeout)

    def ends(self, keys: Sequence[Key], timeout: float | None, contact_timeout: float) -> Iterator[JobInfo]:
        """See Transport.ends."""
        return self._waiter.ends(keys, timeout, contact_timeout)

    def tell(self, keys: Sequence[Key], callback: Callable[[JobInfo], object]) -> None:
        """See Transport.tell."""
        self._teller.tell(keys, callback)

    def get(
        self, keys: Sequence[Key], timeout: float, *, with_args: bool = False, with_children: bool = False
    ) -> list[JobInfo]:
        """See Transport.get."""
        request = queue_pb2.GetRequest(with_args=with_args, with_children=with_children)
        found: dict[Key, JobInfo] = {}
        with understood(self.connection.address):
            for some in _slices(keys):
                found.update((info.key, info) for info in self._get(request, some, timeout))
            return [found[key] for key in keys]

    def _get(self, request: queue_pb2.GetRequest, keys: Sequence[Key], timeout: float) -> Iterator[JobInfo]:
        """In one question, or more when the answer would be too large for one message."""
        request.ids.CopyFrom(pack_ids(keys))
        try:
            answer = self.connection.ask(lambda stubs: stubs.queue.Get, request, timeout)
        except OperationalError as error:
            if error.reason != "TOO_LARGE" or len(keys) == 1:
                raise
            half = len(keys) // 2
            yield from self._get(request, keys[:half], timeout)
            yield from self._get(request, keys[half:], timeout)
        else:
            yield from map(job_info, answer.jobs)

    def cancel(
        self, keys: Sequence[Key], timeout: float, *, terminate: bool = False, signal: str = ""
    ) -> list[RevokeEffect]:
        """See Transport.cancel."""
        ordered = sorted(keys, key=lambda key: isinstance(key, str))
        found: dict[Key, RevokeEffect] = {}
        request = queue_pb2.CancelRequest(terminate=terminate, signal=signal if terminate else "")
        for some in _slices(ordered):
            request.ids.CopyFrom(pack_ids(some))
            answer = self.connection.ask(lambda stubs: stubs.queue.Cancel, request, timeout)
            with understood(self.connection.address):
                found.update(zip(some, effects(answer.effects), strict=True))
        return [found[key] for key in keys]

    def forget(self, keys: Sequence[Key], timeout: float) -> int:
        """See Transport.forget."""
        requests = [queue_pb2.ForgetRequest(ids=pack_ids(some)) for some in _slices(keys)]
        return sum(self.connection.ask(lambda stubs: stubs.queue.Forget, each, timeout).forgotten for each in requests)

    def submit_workflow(self, workflow: Workflow, timeout: float) -> list[Refused]:
        """See Transport.submit_workflow."""
        return self._workflows.submit(workflow, timeout)

    def inputs(self, key: Key, first: int, timeout: float) -> InputsInfo:
        """See Transport.inputs."""
        request = queue_pb2.GetInputsRequest(id=text_of(key), first=first)
        found = self.connection.ask(lambda stubs: stubs.queue.GetInputs, request, timeout).inputs
        return InputsInfo(list(found.values), list(found.formats), found.count)

    def group(self, id: bytes, timeout: float) -> list[Key] | None:  # noqa: A002 - the word of the wire
        """See Transport.group."""
        keys: list[Key] = []
        while True:
            request = queue_pb2.GetGroupRequest(id=id, first=len(keys))
            answer = self.connection.ask(lambda stubs: stubs.queue.GetGroup, request, timeout)
            if answer.unknown:
                return None
            with understood(self.connection.address):
                page = unpack_ids(answer.ids)
            keys += page
            if not page or len(keys) >= answer.count:
                return keys

    def save_group(self, id: bytes, keys: Sequence[Key], timeout: float) -> None:  # noqa: A002
        """See Transport.save_group."""
        request = queue_pb2.SaveGroupRequest(id=id, ids=pack_in_order(keys))
        self.connection.ask(lambda stubs: stubs.queue.SaveGroup, request, timeout)

    def delete_group(self, id: bytes, timeout: float) -> bool:  # noqa: A002
        """See Transport.delete_group."""
        request = queue_pb2.DeleteGroupRequest(id=id)
        return bool(self.connection.ask(lambda stubs: stubs.queue.DeleteGroup, request, timeout).deleted)

    def broker(self, timeout: float) -> BrokerInfo:
        """See Transport.broker."""
        ask = self.connection.ask
        return broker_info(
            ask(lambda stubs: stubs.admin.GetBroker, admin_pb2.GetBrokerRequest(), timeout),
            ask(lambda stubs: stubs.admin.ListQueues, admin_pb2.ListQueuesRequest(), timeout),
            ask(lambda stubs: stubs.admin.ListWorkers, admin_pb2.ListWorkersRequest(), timeout),
        )

    def operator(self, timeout: float) -> GrpcOperator:
        """See Transport.operator."""
        return GrpcOperator(self.connection, timeout)

    def close(self) -> None:
        """See Transport.close."""
        self._teller.stop()
        self.connection.close()


def _slices(keys: Sequence[Key]) -> Iterator[Sequence[Key]]:
    for start in range(0, len(keys), MOST_IDS):
        yield keys[start : start + MOST_IDS]


_lock = threading.Lock()
_transports: dict[str, GrpcTransport] = {}
_forking = False


def transport_for(url: str) -> GrpcTransport:
    """This process's transport to a broker. Raises OperationalError in a child that cannot have one."""
    transport = _transports.get(url)
    if transport is None:
        check_usable()
        with _lock:
            transport = _transports.get(url)
            if transport is None:
                transport = _transports[url] = GrpcTransport(target_of(url))
    return transport


def close(url: str) -> None:
    """Closes this process's connection to a broker, if there is one; the next use opens it again.

    The transport stays: were it forgotten, a thread in the middle of a call would open a connection that nobody closes.
    """
    transport = _transports.get(url)
    if transport is not None:
        transport.close()


def _close_all() -> None:
    for url in list(_transports):
        close(url)


def _before_fork() -> None:
    global _forking
    _lock.acquire()
    _forking = True
    used = [transport.connection.park() for transport in _transports.values()]
    if any(used):
        settle()


def _after_fork_here() -> None:
    global _forking
    if not _forking:  # this was loaded when the fork had begun
        return
    _forking = False
    for transport in _transports.values():
        transport.connection.resume()
    _lock.release()


def _after_fork_in_child() -> None:
    """A child has its own connections; nobody is there to wait on its parent's locks and streams."""
    global _forking, _lock, _transports
    _forking = False
    _lock = threading.Lock()
    _transports = {}


def _watch_forks() -> None:
    """Before a fork those who registered last come first, and we must come before gRPC, which then holds its threads.

    It registers with its first channel, and only when its own support of forks is asked for.
    """
    if supported():
        grpc.insecure_channel("localhost:1").close()
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_here, after_in_child=_after_fork_in_child)


atexit.register(_close_all)
_watch_forks()
