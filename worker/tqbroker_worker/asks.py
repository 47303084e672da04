"""Questions to children, and their answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from tqbroker_worker.children import Child
from tqbroker_worker.protocol import Answered, Ask

ANSWER_SECONDS = 2.0
"""How long a child may take to answer: a thread of its own does, unless a task holds the interpreter all the time."""
NO_ANSWER = f"no answer within {ANSWER_SECONDS:g} s"


class Asks:
    """The questions that are open."""

    def __init__(self) -> None:
        self._number = 0
        self._open: dict[int, asyncio.Future[Answered]] = {}

    async def ask(self, children: Iterable[Child], command: str, arguments: bytes = b"{}") -> dict[int, Answered]:
        """Asks all of these at once; gives the answers by process id, those that failed or did not come among them."""
        asked = {child.pid: self._ask(child, command, arguments) for child in children}
        if asked:
            await asyncio.wait(asked.values(), timeout=ANSWER_SECONDS)
        return {pid: future.result() if future.done() else self._without(future) for pid, future in asked.items()}

    def answered(self, message: Answered) -> None:
        """A child has answered."""
        if (future := self._open.pop(message.number, None)) is not None:
            future.set_result(message)

    def _ask(self, child: Child, command: str, arguments: bytes) -> asyncio.Future[Answered]:
        self._number += 1
        future = self._open[self._number] = asyncio.get_running_loop().create_future()
        child.send(Ask(self._number, command, arguments))
        return future

    def _without(self, future: asyncio.Future[Answered]) -> Answered:
        number = next(number for number, each in self._open.items() if each is future)
        del self._open[number]
        return Answered(number, NO_ANSWER)
