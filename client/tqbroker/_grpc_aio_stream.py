"""One long two-way call shared by the tasks of an event loop. A task of its own reads and hands out the answers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Hashable
from typing import Any, Generic, Protocol, TypeVar

import grpc

from tqbroker.exceptions import OperationalError

Up = TypeVar("Up")
Down = TypeVar("Down")

Answers = Callable[[Down | None], "list[tuple[Hashable, Any]]"]
"""From a message (None: gRPC could not read it) to the names of those who wait for it, each with its answer.

Raises OperationalError when nobody can make anything of it."""


class Waiting(Protocol):
    """Who waits for an answer: a future, or a harvest."""

    def done(self) -> bool:
        """Whether it wants no answer any more."""
        ...

    def set_result(self, result: Any, /) -> None:
        """Its answer; None when the line broke."""
        ...


class AioHarvest:
    """One who waits for many answers."""

    def __init__(self) -> None:
        self._answers: list[Any] = []
        self._arrived = asyncio.Event()

    def done(self) -> bool:
        """False: it always wants more."""
        return False

    def set_result(self, result: Any, /) -> None:
        """One more answer, or None when the line broke."""
        if result is not None:
            self._answers.append(result)
        self._arrived.set()

    async def gather(self, deadline: float) -> list[Any]:
        """The answers that have come, as soon as there are some; none when the line broke, or at the deadline."""
        left = deadline - asyncio.get_running_loop().time()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._arrived.wait(), None if left == float("inf") else max(0.0, left))
        self._arrived.clear()
        answers, self._answers = self._answers, []
        return answers


class AioLine(Generic[Up, Down]):
    """The shared call. Callers wait under a name; an answer goes to all that wait under its name."""

    def __init__(self, method: Callable[[AsyncIterator[Up]], Any], answers: Answers[Down]) -> None:
        self._requests: asyncio.Queue[Up | None] = asyncio.Queue()
        self._waiting: dict[Hashable, set[Waiting]] = {}
        self._answers = answers
        self._call = method(self._outgoing())
        self.broken: BaseException | None = None
        self._reader = asyncio.get_running_loop().create_task(self._read(), name="tqbroker-reader")

    async def _outgoing(self) -> AsyncIterator[Up]:
        while (request := await self._requests.get()) is not None:
            yield request

    def put(self, request: Up) -> None:
        """Sends a request."""
        self._requests.put_nowait(request)

    def expect(self, name: Hashable) -> asyncio.Future[Any]:
        """A future for the answer under this name; when the line breaks it ends with None."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.broken is not None:
            future.set_result(None)
        else:
            self._waiting.setdefault(name, set()).add(future)
        return future

    def join(self, name: Hashable, harvest: AioHarvest) -> bool:
        """Answers under this name go to the harvest too; true when it is the only one that waits for them."""
        waiting = self._waiting.setdefault(name, set())
        waiting.add(harvest)
        return len(waiting) == 1

    def alone(self, name: Hashable) -> bool:
        """Whether exactly one waits under this name."""
        return len(self._waiting.get(name, ())) == 1

    def drop(self, name: Hashable, waiting: Waiting) -> bool:
        """Waits no longer; true when nobody waits under this name any more."""
        futures = self._waiting.get(name)
        if futures is None:
            return False
        futures.discard(waiting)
        if not futures:
            del self._waiting[name]
        return not futures

    async def _read(self) -> None:
        try:
            async for message in self._call:
                for name, answer in self._answers(message):
                    self._give(name, answer)
            self._break(ConnectionError("the broker ended the call"))
        except (grpc.RpcError, OperationalError) as error:
            self._break(error)
        except BaseException as error:
            self._break(error)
            raise

    def _give(self, name: Hashable, answer: Any) -> None:
        for future in self._waiting.pop(name, ()):
            if not future.done():
                future.set_result(answer)

    def _break(self, error: BaseException) -> None:
        self.broken = error
        for name in list(self._waiting):
            self._give(name, None)
        self._requests.put_nowait(None)
        self._call.cancel()

    async def close(self) -> None:
        """Ends the call."""
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader


async def answer_of(future: asyncio.Future[Any], deadline: float) -> Any:
    """The future's result, or None at the deadline (in the loop's time)."""
    left = deadline - asyncio.get_running_loop().time()
    await asyncio.wait({future}, timeout=None if left == float("inf") else max(0.0, left))
    return future.result() if future.done() else None
