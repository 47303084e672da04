"""Clients of a simulated world: each sends again, under the same ids, whatever it got no answer to."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message
from tests.proof.simulation import bodies
from tests.proof.simulation.flows import Flow, draw_flow
from tests.proof.simulation.host import BrokerHost
from tests.proof.simulation.network import CallerSide, Host, Network, rpc_error
from tests.proof.simulation.record import Record

from tqbroker.ids import text_of
from tqbroker.v1 import admin_pb2, errors_pb2, job_pb2, queue_pb2
from tqbroker_broker.calls import EOF

DEADLINE = 10.0
TRIES = 200
QUEUES = ("a", "b", "c")

FINAL_REASONS = {
    errors_pb2.REASON_INVALID,
    errors_pb2.REASON_NOT_UNIQUE,
    errors_pb2.REASON_QUEUE_FULL,
    errors_pb2.REASON_NOT_FOUND,
}


class GaveUpError(Exception):
    """No answer after many tries."""


class Caller:
    """Single calls over the network."""

    def __init__(self, name: str, broker: BrokerHost, net: Network, stretch: float = 1.0) -> None:
        self.host = Host(name)
        self.stretch = stretch
        self._broker = broker
        self._net = net

    async def once(self, service: str, method: str, request: Message) -> Any:
        """One try. Raises AioRpcError, for an answer that does not come DEADLINE_EXCEEDED."""
        try:
            async with asyncio.timeout(DEADLINE):
                return await self._ask(service, method, request)
        except TimeoutError:
            raise rpc_error(grpc.StatusCode.DEADLINE_EXCEEDED, "no answer") from None

    async def _ask(self, service: str, method: str, request: Message) -> Any:
        net = self._net
        await asyncio.sleep(net.delay())
        if net.repeats():
            self._twice(service, method, request)
        if net.loses():
            await asyncio.sleep(2 * DEADLINE)
        await self._broker.host.awake()
        answer = await self._broker.serve(service, method, request)
        if net.loses():
            await asyncio.sleep(2 * DEADLINE)
        await asyncio.sleep(net.delay())
        return answer

    def _twice(self, service: str, method: str, request: Message) -> None:
        """The same request arrives once more, at some time; nobody hears the answer."""
        copy = type(request)()
        copy.CopyFrom(request)
        asyncio.get_running_loop().create_task(self._again(service, method, copy))

    async def _again(self, service: str, method: str, request: Message) -> None:
        await asyncio.sleep(self._net.rng.choice((0.0, 0.01, 1.0, 30.0)))
        await self._broker.host.awake()
        try:
            await self._broker.serve(service, method, request)
        except grpc.aio.AioRpcError:
            return

    async def call(self, service: str, method: str, request: Message) -> Any:
        """Until there is an answer."""
        last = ""
        for number in range(TRIES):
            try:
                return await self.once(service, method, request)
            except grpc.aio.AioRpcError as error:
                if error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL):
                    raise
                last = str(error.details())
            await asyncio.sleep(min(0.1 * 2 ** min(number, 5), 2.0) * self.stretch)
        raise GaveUpError(f"{method}: no answer, at last {last}")


class Client(Caller):
    """An application that submits jobs, cancels some and waits for all."""

    def __init__(
        self, name: str, broker: BrokerHost, net: Network, record: Record, rng: Random, stretch: float
    ) -> None:
        super().__init__(name, broker, net, stretch)
        self.rng = rng
        self.record = record
        self.flows: list[Flow] = []
        self._mine: list[str] = []

    async def run(self, until: float, pause: float) -> None:
        """Does something every `pause` seconds on average."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_task(self._wait_for_all())
        while loop.time() < until:
            await asyncio.sleep(self.rng.expovariate(1 / pause))
            draw = self.rng.random()
            if draw < 0.75:
                await self._submit()
            elif draw < 0.88:
                await self._submit_flow()
            elif self._mine:
                await self._cancel()
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)

    def _new_id(self) -> bytes:
        return self.rng.randbytes(16)

    async def _submit(self) -> None:
        rng = self.rng
        ids = [self._new_id() for _ in range(rng.choice((1, 1, 1, 2, 5)))]
        args = [bodies.draw(rng, self.stretch).args() for _ in ids]
        batch = job_pb2.JobBatch(
            task=rng.choice(bodies.TASKS),
            queue=rng.choice(QUEUES),
            priority=rng.choice((0, 0, 5)),
            format="json",
            ids=job_pb2.Ids(uuids=b"".join(ids)),
            args=args,
            traits=self._traits(ids),
        )
        if rng.random() < 0.15:
            batch.countdown_ms = round(rng.choice((500, 5000, 120_000)) * self.stretch)
        elif rng.random() < 0.05:
            batch.expires_in_ms = round(rng.choice((100, 5000, 60_000)) * self.stretch)
        await self._enqueue(ids, batch)

    def _traits(self, ids: list[bytes]) -> job_pb2.Traits:
        rng = self.rng
        traits = job_pb2.Traits()
        if rng.random() < 0.1:
            traits.ordering_key = rng.choice(("k", "l"))
        if rng.random() < 0.1:
            traits.limits.append("api")
        return traits

    async def _enqueue(self, ids: list[bytes], batch: job_pb2.JobBatch) -> None:
        record, texts = self.record, [text_of(job) for job in ids]
        for text in texts:
            record.invoked[text] = record.clock()
        record.say(f"{self.host.name} submits {texts}")
        answer = await self.call("Queue", "enqueue", queue_pb2.EnqueueRequest(batches=[batch]))
        refused = {each.index for each in answer.exceptions if not each.duplicate}
        for index, text in enumerate(texts):
            if index in refused:
                record.problem(f"{text} was refused: {answer.exceptions}")
            else:
                record.acked[text] = record.clock()
                self._mine.append(text)
        record.say(f"{self.host.name} has an answer for {texts}")

    async def _submit_flow(self) -> None:
        flow = draw_flow(self.rng, self.stretch)
        record = self.record
        for text in flow.nodes:
            record.invoked[text] = record.clock()
        record.say(f"{self.host.name} submits the workflow {flow.id.hex()}")
        answer = await self.call("Queue", "submit_workflow", queue_pb2.SubmitWorkflowRequest(part=flow.part()))
        if answer.refused:
            record.problem(f"a workflow was refused: {answer}")
            return
        self.flows.append(flow)
        for text in flow.nodes:
            record.acked[text] = record.clock()
            self._mine.append(text)

    async def _cancel(self) -> None:
        text = self.rng.choice(self._mine)
        self.record.cancelled.add(text)
        self.record.say(f"{self.host.name} cancels {text}")
        request = queue_pb2.CancelRequest(ids=ids_of([text]), terminate=self.rng.random() < 0.5)
        await self.call("Queue", "cancel", request)

    # -- waiting -----------------------------------------------------------------------------------------------------

    async def _wait_for_all(self) -> None:
        """Watches all that is its own over a stream, and opens another one when that breaks."""
        while True:
            left = [text for text in self._mine if text not in self.record.told]
            if not left:
                await asyncio.sleep(1.0 * self.stretch)
                continue
            try:
                await self._watch(left)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(1.0 * self.stretch)

    async def _watch(self, texts: list[str]) -> None:
        duplex = self._net.open(self.host, self._broker.host)
        await asyncio.sleep(self._net.delay())
        self._broker.serve_stream("Queue", "wait", queue_pb2.WaitRequest, duplex)
        side = CallerSide(duplex, queue_pb2.WaitResponse)
        try:
            await side.write(queue_pb2.WaitRequest(watch=ids_of(texts)))
            await side.done_writing()
            while (answer := await side.read()) is not EOF:
                for status in answer.jobs:
                    self._hear(status)
        finally:
            side.cancel()

    def _hear(self, status: job_pb2.JobStatus) -> None:
        text = text_of(status.uuid) if status.uuid else status.text
        self.record.say(f"{self.host.name} hears that {text} is {job_pb2.State.Name(status.state)}")
        self.record.told.setdefault(text, []).append((status.state, status.result))


def ids_of(texts: list[str]) -> job_pb2.Ids:
    """Ids as the wire has them; all are UUIDs here."""
    return job_pb2.Ids(uuids=b"".join(bytes.fromhex(text.replace("-", "")) for text in texts))


class Operator(Caller):
    """Sets limits and schedules."""

    async def set_up(self, limits: admin_pb2.SetLimitsRequest, schedules: admin_pb2.SetSchedulesRequest) -> None:
        """Before anything else."""
        await self.call("Admin", "set_limits", limits)
        await self.call("Admin", "set_schedules", schedules)
