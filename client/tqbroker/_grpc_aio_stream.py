"""One long two-way call shared by the tasks of an event loop. A task of its own reads and hands out the answers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Hashable
from typing import Any, Generic, TypeVar

import grpc

Up = TypeVar("Up")
Down = TypeVar("Down")

Answers = Callable[[Down], "list[tuple[Hashable, Any]]"]
"""From a message to the names of those who wait for it, each with its answer."""


class AioLine(Generic[Up, Down]):
    """The shared call. Callers wait under a name; an answer goes to all that wait under its name."""

    def __init__(self, method: Callable[[AsyncIterator[Up]], Any], answers: Answers[Down]) -> None:
        self._requests: asyncio.Queue[Up | None] = asyncio.Queue()
        self._waiting: dict[Hashable, set[asyncio.Future[Any]]] = {}
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

    def alone(self, name: Hashable) -> bool:
        """Whether exactly one waits under this name."""
        return len(self._waiting.get(name, ())) == 1

    def drop(self, name: Hashable, future: asyncio.Future[Any]) -> bool:
        """Waits no longer; true when nobody waits under this name any more."""
        futures = self._waiting.get(name)
        if futures is None:
            return False
        futures.discard(future)
        if not futures:
            del self._waiting[name]
        return not futures

    async def _read(self) -> None:
        try:
            async for message in self._call:
                for name, answer in self._answers(message):
                    self._give(name, answer)
            self._break(ConnectionError("the broker ended the call"))
        except grpc.RpcError as error:
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
