"""A worker as a process of its own, and a broker's end of its stream in the hands of the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import grpc
import grpc.aio
from google.rpc import status_pb2

from tqbroker.codec import decode, encode_call
from tqbroker.v1 import errors_pb2, job_pb2, worker_pb2_grpc
from tqbroker.v1 import worker_pb2 as pb

SECONDS = 20.0
STORE = b"s" * 16

TASKS = """
import asyncio, os, signal, sys, threading, time
from pathlib import Path
from tqbroker import App

app = App("tasks", broker="tq://localhost:1")

@app.task
def add(x, y):
    return x + y

@app.task
def broker_url():
    return app.conf.broker_url

@app.task
def fail():
    raise ValueError("no", 3)

@app.task
def killed():
    os.kill(os.getpid(), signal.SIGKILL)

@app.task
def segfault():
    os.kill(os.getpid(), signal.SIGSEGV)

@app.task
def die_unless(path):
    if not Path(path).exists():
        os.kill(os.getpid(), signal.SIGKILL)

@app.task
def pid():
    return os.getpid()

kept = []

@app.task
def grow(mib):
    kept.append(b"x" * (mib << 20))

@app.task
def until(path):
    Path(path + ".started").touch()
    while not Path(path).exists():
        time.sleep(0.01)
    return "seen"

@app.task
def stubborn(path):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
        signal.signal(number, lambda *_: None)
    Path(path + ".started").touch()
    while not Path(path).exists():
        time.sleep(0.01)

@app.task
def babble():
    from tqbroker_worker.arguments import parse
    from tqbroker_worker.pipe import frame
    os.write(parse(sys.argv[1:]).socket, frame(b"nonsense"))

@app.task
def break_link(method, gate):
    from tqbroker_worker.link import Link
    setattr(Link, method, None)
    while gate and not Path(gate).exists():
        time.sleep(0.01)

@app.task
def deaf():
    threading.Event().wait(60)

@app.task
def linger():
    threading.Thread(target=threading.Event().wait).start()

@app.task
async def forever(path):
    Path(path + ".started").touch()
    await asyncio.Event().wait()
"""


class Line:
    """One stream of the worker, from its Hello on."""

    def __init__(self, hello: pb.WorkRequest, context: Any) -> None:
        self.hello = hello.hello
        self.requests: asyncio.Queue[pb.WorkRequest] = asyncio.Queue()
        self.broken = asyncio.Event()
        self.slots = 0
        """What the worker takes at once, by the last message that was looked at."""
        self._context = context

    async def say(self, **fields: Any) -> None:
        """Sends one message down."""
        await self._context.write(pb.WorkResponse(**fields))

    async def welcome(self, **fields: Any) -> None:
        """Answers the Hello."""
        fields = {"store": STORE, "epoch": 1, "lease_ttl_ms": 30_000, "heartbeat_ms": 500, "grace_ms": 5000, **fields}
        await self.say(welcome=pb.Welcome(**fields))

    async def deliver(
        self, task: str, *calls: tuple[Any, ...], first: int = 1, traits: job_pb2.Traits | None = None
    ) -> list[UUID]:
        """Delivers one job for each call, under tokens from `first` on."""
        ids = [uuid4() for _ in calls]
        batch = pb.DeliveryBatch(
            task=f"tasks.{task}",
            queue="default",
            format="json",
            ids=job_pb2.Ids(uuids=b"".join(each.bytes for each in ids)),
            tokens=range(first, first + len(calls)),
            args=[encode_call(args, {}) for args in calls],
            traits=traits,
        )
        await self.say(deliveries=[batch])
        return ids

    async def until(self, wanted: Callable[[pb.WorkRequest], object], *, ack: bool = True) -> pb.WorkRequest:
        """The next message that has what is wanted; all before it are acknowledged, and it too unless told not to."""
        async with asyncio.timeout(SECONDS):
            while True:
                request = await self.requests.get()
                if request.HasField("credit"):
                    self.slots = request.credit.slots
                found = bool(wanted(request))
                if (ack or not found) and not request.leaving:  # after its goodbye the stream may be over
                    await self.say(acked=request.number, heartbeat=request.heartbeat)
                if found:
                    return request


async def slots_are(line: Line, slots: int) -> None:
    """Waits until the worker takes so many jobs at once."""
    if line.slots != slots:
        await line.until(lambda _: line.slots == slots)


class Broker(worker_pb2_grpc.WorkerServicer):
    """Hands each new stream to the test."""

    def __init__(self) -> None:
        self.lines: asyncio.Queue[Line] = asyncio.Queue()
        self.refusal: errors_pb2.Error | None = None

    async def Work(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]  # noqa: N802
        if self.refusal is not None:
            status = status_pb2.Status(message=self.refusal.message)
            status.details.add().Pack(self.refusal)
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, self.refusal.message)
        line = Line(await anext(request_iterator), context)
        await self.lines.put(line)
        reading = asyncio.ensure_future(self._read(request_iterator, line))
        broken = asyncio.ensure_future(line.broken.wait())
        await asyncio.wait([reading, broken], return_when=asyncio.FIRST_COMPLETED)
        for task in (reading, broken):
            task.cancel()

    async def _read(self, requests: AsyncIterator[pb.WorkRequest], line: Line) -> None:
        async for request in requests:
            line.requests.put_nowait(request)

    async def line(self) -> Line:
        """The next stream that the worker opens."""
        async with asyncio.timeout(SECONDS):
            return await self.lines.get()


class Worker:
    """The worker's process and what it printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    def signal(self, number: int) -> None:
        """Sends a signal to the parent."""
        self.process.send_signal(number)

    async def end(self) -> tuple[int, str]:
        """Waits for the end; gives the exit code and stderr."""
        async with asyncio.timeout(SECONDS):
            _, err = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, err.decode()


Start = Callable[..., Awaitable[Worker]]


async def connected(broker: Broker, slots: int = 1) -> Line:
    """A stream that was welcomed, with this many slots on offer."""
    line = await broker.line()
    await line.welcome()
    await line.until(lambda request: request.credit.slots == slots)
    return line


async def exists(path: Path) -> None:
    """Waits until a file is there."""
    async with asyncio.timeout(SECONDS):
        while not there(path):  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.01)


def success(request: pb.WorkRequest) -> list[tuple[int, Any]]:
    """Token and value of each success in a message."""
    return [
        (token, decode(result, columns.format))
        for columns in request.successes
        for token, result in zip(columns.tokens, columns.results, strict=True)
    ]


def uuids(ids: job_pb2.Ids) -> list[UUID]:
    """The ids of a column."""
    return [UUID(bytes=ids.uuids[at : at + 16]) for at in range(0, len(ids.uuids), 16)]


def children_of(pid: int) -> list[int]:
    """Process ids of its children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def there(path: Path) -> bool:
    """Whether a file is there."""
    return path.exists()
