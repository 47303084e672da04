"""A broker that says almost what a broker says: the answers to every call, with something wrong, by a seed."""

from __future__ import annotations

import threading
from random import Random
from typing import Any

from tests.network.inputs import services
from tests.network.mutation import Mutation
from tests.network.raw_server import RawServer, filled

from tqbroker.v1 import job_pb2, queue_pb2

GOOD = 0.15
"""Share of the answers that are as they should be, so that a call gets further than its first one."""


class Liar:
    """The server. `said` are its last answers, for the report of a failure."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._goods = {
            f"/{service.full_name}/{method.name}": filled(method.output_type)
            for service in services()
            for method in service.methods
        }
        corpus = [good.SerializeToString() for good in self._goods.values()]
        self._mutation = Mutation(self._random, corpus)
        self._lock = threading.Lock()
        self.said: list[tuple[str, bytes]] = []
        self.answers = 0
        self._server = RawServer(self._reply)
        self.target = f"127.0.0.1:{self._server.port}"

    def close(self) -> None:
        """Answers nobody any more."""
        self._server.close()

    def _reply(self, path: str, request: bytes) -> bytes:
        with self._lock:
            good = type(self._goods[path])()
            good.CopyFrom(self._goods[path])
            self._fit(path, request, good)
            raw = good.SerializeToString() if self._random.random() < GOOD else self._mutation.bad(good)
            self.answers += 1
            self.said = [*self.said[-3:], (path, raw)]
            return raw

    def _fit(self, path: str, request: bytes, good: Any) -> None:
        """Answers to those who asked: else nobody would read them."""
        match path.rpartition("/")[2]:
            case "EnqueueStream":
                good.call = queue_pb2.EnqueueStreamRequest.FromString(request).call
                if self._random.random() < 0.5:
                    good.ClearField("error")
            case "Wait":
                _name(good.jobs, queue_pb2.WaitRequest.FromString(request).watch.uuids)
            case "Get":
                _name(good.jobs, queue_pb2.GetRequest.FromString(request).ids.uuids)


def _name(jobs: Any, ids: bytes) -> None:
    """A status for each of these ids."""
    one = job_pb2.JobStatus()
    one.CopyFrom(jobs[0])
    del jobs[:]
    for at in range(0, len(ids), 16):
        one.uuid, one.state = ids[at : at + 16], job_pb2.STATE_SUCCEEDED
        jobs.add().CopyFrom(one)
