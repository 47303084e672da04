"""The broker asked directly, over the wire: nothing of our client stands between the test and the answer."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar
from uuid import UUID

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.acceptance.harness.waiting import PATIENCE, until

from tqbroker.v1 import admin_pb2, admin_pb2_grpc, job_pb2, queue_pb2, queue_pb2_grpc

T = TypeVar("T")
OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", 64 << 20),
]
AT_ONCE = 2000
"""Ids in one request."""


class Wire:
    """A channel of its own to the broker at `address`, through its restarts."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address, options=OPTIONS)
        self.queue = queue_pb2_grpc.QueueStub(self.channel)
        self.admin = admin_pb2_grpc.AdminStub(self.channel)
        self._health = health_pb2_grpc.HealthStub(self.channel)

    def close(self) -> None:
        """Closes the channel."""
        self.channel.close()

    def health(self, timeout: float = 1.0) -> float:
        """Seconds that the health check took. Fails when it is not SERVING within `timeout`."""
        begun = time.monotonic()
        answer = self._health.Check(health_pb2.HealthCheckRequest(), timeout=timeout)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        return time.monotonic() - begun

    def told(self, timeout: float = PATIENCE) -> Iterator[str]:
        """What the health service says, as it changes, until the broker is gone."""
        answers = self._health.Watch(health_pb2.HealthCheckRequest(), timeout=timeout)
        try:
            for answer in answers:
                yield health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
        except grpc.RpcError as error:
            if getattr(error, "code", lambda: None)() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise

    def ready(self, timeout: float = PATIENCE) -> None:
        """Returns when the broker answers its health check."""
        request = health_pb2.HealthCheckRequest()
        self._health.Check(request, timeout=timeout, wait_for_ready=True)

    def broker(self) -> admin_pb2.GetBrokerResponse:
        """What the broker says of itself."""
        return self.admin.GetBroker(admin_pb2.GetBrokerRequest(), timeout=PATIENCE, wait_for_ready=True)

    def workers(self) -> dict[str, admin_pb2.WorkerInfo]:
        """Connected and awaited workers by name."""
        request = admin_pb2.ListWorkersRequest()
        answer = self.admin.ListWorkers(request, timeout=PATIENCE, wait_for_ready=True)
        return {worker.name: worker for worker in answer.workers}

    def connected(self, pid: int, timeout: float = PATIENCE) -> admin_pb2.WorkerInfo:
        """The worker of this process, once it is connected."""

        def look() -> admin_pb2.WorkerInfo | None:
            return next((each for each in self.workers().values() if each.connected and each.pid == pid), None)

        found = until(look, f"worker process {pid} to be connected", timeout)
        assert found is not None
        return found

    def counts(self, queue: str = "default") -> admin_pb2.QueueInfo:
        """Counts of one queue; zeros when it does not exist yet."""
        answer = self.admin.ListQueues(admin_pb2.ListQueuesRequest(), timeout=PATIENCE, wait_for_ready=True)
        return next((each for each in answer.queues if each.name == queue), admin_pb2.QueueInfo(name=queue))

    def statuses(self, ids: Sequence[str]) -> dict[str, job_pb2.JobStatus]:
        """What the broker knows of these ids now."""
        found: dict[str, job_pb2.JobStatus] = {}
        for part in _parts(ids):
            request = queue_pb2.GetRequest(ids=_column(part))
            answer = self.queue.Get(request, timeout=PATIENCE, wait_for_ready=True)
            found.update({_text(status): status for status in answer.jobs})
        return found

    def finals(self, ids: Sequence[str], timeout: float = PATIENCE) -> dict[str, job_pb2.JobStatus]:
        """What the broker says when each of these ids has ended: pushed by it. Stops at `timeout` with what came."""
        found: dict[str, job_pb2.JobStatus] = {}
        requests = (queue_pb2.WaitRequest(watch=_column(part)) for part in _parts(ids))
        answers = self.queue.Wait(requests, timeout=timeout, wait_for_ready=True)
        try:
            for answer in answers:
                found.update({_text(status): status for status in answer.jobs})
        except grpc.RpcError as error:
            if getattr(error, "code", lambda: None)() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                raise
        return found

    def events(self, after: int = 0) -> Iterator[admin_pb2.Events]:
        """What the event log has now, from an event on."""
        request = admin_pb2.WatchEventsRequest(after=after)
        for answer in self.admin.WatchEvents(request, timeout=PATIENCE, wait_for_ready=True):
            yield from answer.events


def texts(ids: job_pb2.Ids) -> list[str]:
    """The ids of a column as users see them."""
    uuids = ids.uuids
    return [str(UUID(bytes=uuids[at : at + 16])) for at in range(0, len(uuids), 16)] + list(ids.texts)


def _parts(ids: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(ids)
    while part := list(islice(rest, AT_ONCE)):
        yield part


def _column(ids: Iterable[str]) -> job_pb2.Ids:
    return job_pb2.Ids(uuids=b"".join(UUID(each).bytes for each in ids))


def _text(status: job_pb2.JobStatus) -> str:
    return str(UUID(bytes=status.uuid)) if status.uuid else status.text
