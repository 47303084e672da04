"""What a serving worker does when something is asked of it: by operators through the broker, or by a signal."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Coroutine
from types import TracebackType
from typing import Any

from tqbroker._daemon import get_logger
from tqbroker.failures import clean
from tqbroker_worker.commands import CommandError, run
from tqbroker_worker.commands.stacks import stacks
from tqbroker_worker.desk import Desk
from tqbroker_worker.jobs import Jobs
from tqbroker_worker.protocol import Fire
from tqbroker_worker.session import Command

MAX_REPLY = 1 << 20
"""Bytes of an answer, as large as a result may be."""


class Reactions:
    """Runs commands and answers signals of the system while it is entered.

    SIGUSR1 logs the stacks of all threads. SIGHUP replaces the children, unless it has another meaning: that of a
    closed terminal, or none at all (nohup).
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._log = get_logger("tqbroker.worker")
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers: list[signal.Signals] = []

    def __enter__(self) -> Reactions:
        desk, loop = self._desk, asyncio.get_running_loop()
        desk.session.on_command = self._on_command
        loop.add_signal_handler(signal.SIGUSR1, lambda: self._spawn(self._log_stacks()))
        self._numbers = [signal.SIGUSR1]
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            loop.add_signal_handler(signal.SIGHUP, self._restart)
            self._numbers.append(signal.SIGHUP)
        if "task_received" in desk.manifest.signals:
            desk.handover.received = self._received
        if "heartbeat_sent" in desk.manifest.signals:
            desk.session.on_beat = lambda: self.fire("heartbeat_sent")
        for task, limits in desk.manifest.limits.items():
            if limits.per_worker and limits.rates:
                self._log.warning(f"rate_limit of {task}: it holds for all workers together, not for each by itself")
        if desk.autoscale is not None:
            self._spawn(desk.autoscale.run())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for number in self._numbers:
            asyncio.get_running_loop().remove_signal_handler(number)
        for task in self._tasks:
            task.cancel()

    def fire(self, name: str, **kwargs: object) -> None:
        """Sends one of the app's signals, in a child, if it has handlers."""
        if name in self._desk.manifest.signals:
            sender = self._desk.config.name
            self._desk.pool.tell_one(Fire(name, json.dumps({"sender": sender, **kwargs}).encode()))

    def _received(self, jobs: Jobs) -> None:
        for at in range(len(jobs)):
            request = {"id": jobs.id_at(at), "name": jobs.head.task, "hostname": self._desk.config.name}
            self.fire("task_received", request=request)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _restart(self) -> None:
        self._log.warning("SIGHUP: replacing all children; those that go finish what they run")
        self._desk.pool.restart()

    async def _log_stacks(self) -> None:
        for where, text in (await stacks(self._desk)).items():
            self._log.warning(f"stacks of {where}:\n{text}")

    def _on_command(self, command: Command) -> None:
        self._spawn(self._answer(command))

    async def _answer(self, command: Command) -> None:
        error, body = "", b"null"
        try:
            body = json.dumps(await run(self._desk, command.name, command.arguments), default=repr).encode()
            if len(body) > MAX_REPLY:
                error, body = (
                    f"the answer has {len(body)} bytes, at most {MAX_REPLY} are allowed: ask for less",
                    b"null",
                )
        except CommandError as refusal:
            error = str(refusal)
        except Exception as unforeseen:
            self._log.exception(f"command {command.name!r} failed")
            error = f"{type(unforeseen).__name__}: {unforeseen}"
        self._desk.session.reply(command.number, clean(error), body)
