"""A worker reduced to its heartbeat: a Work stream that only measures how soon the broker answers."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Iterator

import grpc
from tests.acceptance.harness.waiting import PATIENCE
from tests.acceptance.harness.wire import Wire

from tqbroker.v1 import worker_pb2, worker_pb2_grpc


class Heart:
    """Joined under the name `heart@test`, knowing a task that nobody submits."""

    def __init__(self, wire: Wire) -> None:
        self._up: queue.SimpleQueue[worker_pb2.WorkRequest | None] = queue.SimpleQueue()
        self._down: queue.SimpleQueue[worker_pb2.WorkResponse | None] = queue.SimpleQueue()
        self._number = 0
        self._stream = worker_pb2_grpc.WorkerStub(wire.channel).Work(self._requests(), wait_for_ready=True)
        threading.Thread(target=self._read, daemon=True).start()
        hello = worker_pb2.Hello(name="heart@test", instance=os.urandom(16), tasks=["heart.none"], slots=1)
        self._send(worker_pb2.WorkRequest(hello=hello))
        assert self._answer(PATIENCE).HasField("welcome")

    def beat(self, timeout: float) -> float:
        """Sends a heartbeat; seconds until its answer. Fails after `timeout` seconds, or when the stream has ended."""
        begun = time.monotonic()
        self._send(worker_pb2.WorkRequest(heartbeat=True))
        while not self._answer(timeout).heartbeat:
            pass
        return time.monotonic() - begun

    def close(self) -> None:
        """Leaves for good."""
        self._send(worker_pb2.WorkRequest(leaving=True))
        self._up.put(None)

    def _send(self, request: worker_pb2.WorkRequest) -> None:
        self._number += 1
        request.number = self._number
        self._up.put(request)

    def _answer(self, timeout: float) -> worker_pb2.WorkResponse:
        try:
            answer = self._down.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f"the broker did not answer a worker within {timeout:g} s") from None
        assert answer is not None, "the broker has ended a worker's stream"
        return answer

    def _requests(self) -> Iterator[worker_pb2.WorkRequest]:
        while (request := self._up.get()) is not None:
            yield request

    def _read(self) -> None:
        with contextlib.suppress(grpc.RpcError):
            for answer in self._stream:
                self._down.put(answer)
        self._down.put(None)
