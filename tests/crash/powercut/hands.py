"""A worker reduced to its stream: it ends jobs as a seed says, and knows exactly which outcomes were acknowledged."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from random import Random
from typing import Any, NamedTuple

import grpc
from tests.acceptance.harness.waiting import PATIENCE
from tests.crash.powercut import claims
from tests.crash.powercut.claims import Claim, result_of
from tests.crash.powercut.clients import TASK, WORKED, Board
from tests.crash.powercut.judge import TICK

from tqbroker.v1 import job_pb2, worker_pb2, worker_pb2_grpc
from tqbroker_broker.records import State

FAILURE = job_pb2.Failure(type="ValueError", module="builtins", message="no")


class Told(NamedTuple):
    """What is true of a job once its message is acknowledged and its token is not refused."""

    token: int
    claim: Claim


class Hands:
    """Connected from the start until `close`; a thread of its own works."""

    def __init__(self, board: Board, seed: int, name: str, slots: int = 12) -> None:
        self._board = board
        self._random = Random(f"{seed} {name}")
        self._up: queue.SimpleQueue[worker_pb2.WorkRequest | None] = queue.SimpleQueue()
        self._number = 0
        self._unacked: deque[tuple[int, list[Told]]] = deque()
        self._welcomed = threading.Event()
        hello = worker_pb2.Hello(name=name, instance=os.urandom(16), queues=[WORKED], tasks=[TASK, TICK], slots=slots)
        self._send([], hello=hello, credit=worker_pb2.Credit(slots=slots))
        self._stream: Any = worker_pb2_grpc.WorkerStub(board.wire.channel).Work(self._requests(), wait_for_ready=True)
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()
        assert self._welcomed.wait(PATIENCE), "the broker did not welcome a worker"

    def close(self) -> None:
        """Drops the stream and waits for the thread."""
        self._up.put(None)
        self._stream.cancel()
        self._thread.join(PATIENCE)

    def _requests(self) -> Iterator[worker_pb2.WorkRequest]:
        while (request := self._up.get()) is not None:
            yield request

    def _send(self, told: list[Told], **fields: object) -> None:
        self._number += 1
        self._unacked.append((self._number, told))
        self._up.put(worker_pb2.WorkRequest(number=self._number, **fields))  # type: ignore[arg-type]

    def _work(self) -> None:
        with contextlib.suppress(grpc.RpcError):
            for response in self._stream:
                self._welcomed.set()
                self._hear(response.acked, {refused.token for refused in response.refused})
                for batch in response.deliveries:
                    raw = batch.ids.uuids
                    self._take(zip((raw[at : at + 16] for at in range(0, len(raw), 16)), batch.tokens, strict=True))

    def _hear(self, acked: int, refused: set[int]) -> None:
        """What was acknowledged is written down. A refusal comes with the acknowledgement, or before it."""
        self._unacked = deque((n, [each for each in told if each.token not in refused]) for n, told in self._unacked)
        while self._unacked and self._unacked[0][0] <= acked:
            _, told = self._unacked.popleft()
            if told:
                self._board.write(*(each.claim for each in told))
            ended = (each.claim.id for each in told if isinstance(each.claim, claims.Ended))
            self._board.ended.extend(job for job in ended if job in self._board.alone)

    def _take(self, jobs: Iterable[tuple[bytes, int]]) -> None:
        for job, token in jobs:
            draw = self._random.random()
            if draw < 0.15:
                self._annotate(job, token)
            if draw < 0.25:
                self._retry(job, token)
            elif draw < 0.35:
                self._fail(job, token)
            else:
                self._succeed(job, token, result_of(job))

    def _annotate(self, job: bytes, token: int) -> None:
        self._board.said[job] += 1
        checkpoint = worker_pb2.Checkpoint(data=str(self._board.said[job]).encode(), format="json")
        told = [Told(token, claims.Said(job, self._board.said[job]))]
        self._send(told, annotations=[worker_pb2.Annotation(token=token, checkpoint=checkpoint)])

    def _retry(self, job: bytes, token: int) -> None:
        self._board.retries[job] += 1
        told = Told(token, claims.Retried(job, self._board.retries[job]))
        wait = self._random.randint(0, 50)
        ending = worker_pb2.Ending(token=token, verdict=worker_pb2.VERDICT_RETRY, failure=FAILURE, retry_in_ms=wait)
        self._send([told], endings=[ending])

    def _fail(self, job: bytes, token: int) -> None:
        ending = worker_pb2.Ending(token=token, verdict=worker_pb2.VERDICT_FAILED, failure=FAILURE)
        self._send([Told(token, claims.Ended(job, State.FAILED))], endings=[ending])

    def _succeed(self, job: bytes, token: int, result: bytes) -> None:
        successes = worker_pb2.Successes(
            tokens=[token], results=[result], format="json", started_unix_ms=[1], runtime_us=[1]
        )
        self._send([Told(token, claims.Ended(job, State.SUCCEEDED))], successes=[successes])
