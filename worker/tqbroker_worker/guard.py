"""Raises an exception of our choice inside of a coroutine, where it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any


class Guard:
    """`await Guard(coroutine)` is the coroutine, until `strike` raises something in it.

    A cancelled asyncio task gets CancelledError thrown in where it waits; here it is exchanged for the exception that
    was asked for, on its way in, so that the body can catch it by its name.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop) -> None:
        self._coroutine = coroutine
        self._loop = loop
        self._task: asyncio.Task[Any] | None = None
        self._error: type[BaseException] | None = None

    def strike_soon(self, error: type[BaseException]) -> None:
        """`strike` from any thread."""
        self._loop.call_soon_threadsafe(self.strike, error)

    def strike(self, error: type[BaseException]) -> None:
        """Raises `error` where the coroutine waits; without effect once it has ended."""
        if self._task is None or not self._task.done():
            self._error = error
            if self._task is not None:
                self._task.cancel()

    async def run(self) -> Any:
        """The coroutine's value."""
        return await self

    def __await__(self) -> Generator[Any, Any, Any]:
        self._task = asyncio.current_task()
        resume: Callable[[Any], Any] = self._coroutine.send
        value: Any = None
        if self._error is not None:  # struck before its first step
            resume, value = self._coroutine.throw, self._error()
            self._error = None
        while True:
            try:
                waits_for = resume(value)
            except StopIteration as stop:
                return stop.value
            try:
                resume, value = self._coroutine.send, (yield waits_for)
            except GeneratorExit:
                self._coroutine.close()
                raise
            except asyncio.CancelledError as error:
                resume, value = self._coroutine.throw, self._exchanged(error)
            except BaseException as error:
                resume, value = self._coroutine.throw, error

    def _exchanged(self, error: asyncio.CancelledError) -> BaseException:
        if self._error is None or self._task is None:
            return error
        asked, self._error = self._error, None
        self._task.uncancel()
        return asked()
