"""Commands to workers: sent to all that are meant, answered or missed, each within its deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tqbroker_broker.refusals import Busy
from tqbroker_broker.sessions import Command, Sessions

MAX_ASKED = 256
"""Commands under way at a time, over all operators."""

MAX_REPLY = 1 << 20
"""Bytes of one worker's answer: a dump of all its stacks has a tenth."""

MAX_REPLIES = 3 << 20
"""Bytes of all answers to one command: gRPC clients take 4 MiB when nobody has set it up otherwise."""

MAX_ERROR = 4096
"""Characters of what went wrong at a worker."""


class Reply(NamedTuple):
    """What a worker did about a command. `error` is empty when all is well; `body` is JSON."""

    number: int
    error: str
    body: bytes


class Asked(NamedTuple):
    """What came back: the answers by worker, and those who did not answer. Every worker meant is in one of them."""

    replies: dict[str, Reply]
    missing: list[str]


class _Pending:
    """One command on its way."""

    def __init__(self, names: Iterable[str]) -> None:
        self.waiting = set(names)
        self.replies: dict[str, Reply] = {}
        self.size = 0
        self.complete = asyncio.Event()

    def take(self, worker: str, reply: Reply) -> None:
        if worker in self.waiting:
            self.waiting.discard(worker)
            reply = self._bounded(reply)
            self.size += len(reply.body) + len(reply.error)
            self.replies[worker] = reply
        if not self.waiting:
            self.complete.set()

    def _bounded(self, reply: Reply) -> Reply:
        error = reply.error[:MAX_ERROR]
        if len(reply.body) <= MAX_REPLY and self.size + len(reply.body) + len(error) <= MAX_REPLIES:
            return reply._replace(error=error)
        text = f"the answer has {len(reply.body)} bytes, which is too much: ask this worker alone, or for less"
        return Reply(reply.number, text, b"")


class Commands:
    """The table of commands under way, by number."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._pending: dict[int, _Pending] = {}
        self._last = 0

    async def ask(self, name: str, arguments: bytes, workers: Sequence[str], seconds: float) -> Asked:
        """Asks these workers, and waits for their answers, at most so many seconds.

        Missing are those that are not connected, do not read, or have not answered in time. Raises Busy.
        """
        if len(self._pending) >= MAX_ASKED:
            raise Busy(f"{MAX_ASKED} commands are under way already: ask again in a moment")
        self._last += 1
        command = Command(self._last, name, arguments)
        meant = dict.fromkeys(workers)
        sent = [worker for worker in meant if self._send(worker, command)]
        pending = self._pending[command.number] = _Pending(sent)
        try:
            if sent:
                await self._wait(pending, seconds)
        finally:
            del self._pending[command.number]
        return Asked(pending.replies, [worker for worker in meant if worker not in pending.replies])

    def _send(self, worker: str, command: Command) -> bool:
        session = self._sessions.by_name.get(worker)
        return session is not None and session.command(command)

    @staticmethod
    async def _wait(pending: _Pending, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await pending.complete.wait()
        except TimeoutError:
            return

    def answered(self, worker: str, reply: Reply) -> None:
        """A worker answers; too late, or not asked, it is not heard."""
        pending = self._pending.get(reply.number)
        if pending is not None:
            pending.take(worker, reply)
