"""Ours. The broker's address comes from TQBROKER_URL."""

from __future__ import annotations

import os

import grpc

from tqbroker import App
from tqbroker.result import AsyncResult
from tqbroker.v1 import admin_pb2, admin_pb2_grpc

from . import work

app = App("bench")
add = app.task(name="add")(work.add)
record = app.task(name="record")(work.record)


class Client:
    """How the driver submits, reads and counts."""

    def __init__(self) -> None:
        address = os.environ["TQBROKER_URL"].removeprefix("tq://")
        self._admin = admin_pb2_grpc.AdminStub(grpc.insecure_channel(address))

    def delay(self, x: int, y: int) -> AsyncResult[int]:
        return add.delay(x, y)

    def submit(self, number: int) -> None:
        record.delay(number)

    def get(self, handle: AsyncResult[int]) -> int:
        return handle.get(timeout=30)

    def delay_many(self, count: int) -> None:
        add.delay_many((number, number) for number in range(count))

    def stored(self) -> int:
        queues = self._admin.ListQueues(admin_pb2.ListQueuesRequest(), timeout=10).queues
        return sum(queue.succeeded for queue in queues)
