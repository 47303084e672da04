"""The two processes behind `tqbroker dev`: started, restarted when sources change, stopped in the right order."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import click
import watchfiles

from tqbroker._daemon import StopSignals

DRAIN = 30.0
"""Seconds a process may take to stop before it is killed."""

READY = 15.0
"""Seconds the broker may take until it answers."""

PAUSE = 0.1
"""Seconds between two questions to somebody else's broker: ours ends as soon as it finds the address taken."""


class Child:
    """One of our own commands in a process of its own, out of reach of the terminal's Ctrl-C."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Starts it; what it prints goes to our terminal."""
        command = [sys.executable, "-m", "tqbroker", *self._arguments]
        self._process = await asyncio.create_subprocess_exec(*command, start_new_session=True)

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.returncode is None

    async def ended(self) -> int:
        """Waits for its end and returns the exit code."""
        assert self._process is not None
        return await self._process.wait()

    def ask_to_stop(self) -> None:
        """SIGTERM: once to drain, twice to hurry."""
        if self._process is not None and self.running:
            self._process.send_signal(signal.SIGTERM)

    async def stop(self) -> None:
        """Drains it, and kills it when that takes too long."""
        if not self.running:
            return
        self.ask_to_stop()
        try:
            await asyncio.wait_for(self.ended(), DRAIN)
        except TimeoutError:
            assert self._process is not None
            self._process.kill()
            await self.ended()


async def serves(url: str, data_dir: Path, since: float) -> None:
    """Returns when a broker answers at `url` that has `data_dir` (absolute) and was started after `since`.

    `since` is in seconds since 1970. Whoever else answers there is not ours, and is asked again: no time limit here.
    """
    while True:
        answer = await _status(url)
        if answer.get("data_dir") == str(data_dir) and answer["started_ms"] >= int(since * 1000):
            return
        await asyncio.sleep(PAUSE)


async def _status(url: str) -> dict[str, Any]:
    """What `tqbroker status` says, which waits some seconds for a broker itself; nothing when there is none."""
    command = [sys.executable, "-m", "tqbroker", "status", "--json", "-b", url]
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        *command, stdin=null, stdout=pipe, stderr=null, start_new_session=True
    )
    try:
        output, _ = await process.communicate()
        answer: dict[str, Any] = json.loads(output) if process.returncode == 0 else {}
        return answer
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class Pair:
    """A broker and a worker that lives with the sources in `folder`."""

    def __init__(self, broker: Child, worker: Child, folder: Path, data_dir: Path) -> None:
        self._broker = broker
        self._worker = worker
        self._folder = folder
        self._data_dir = data_dir

    async def run(self, serving: Coroutine[Any, Any, None], greeting: str) -> int:
        """Runs both until Ctrl-C or until the broker ends. `serving` ends when ours answers. Returns the exit code."""
        with StopSignals() as signals:
            await self._broker.start()
            try:
                if not await self._is_ready(serving):
                    return 1
                await self._worker.start()
                click.echo(greeting)
                return await self._supervise(signals)
            finally:
                await self._stop_worker(signals)
                await self._broker.stop()

    async def _is_ready(self, serving: Coroutine[Any, Any, None]) -> bool:
        """Whether our broker serves. When it has ended instead, it has said why."""
        ready = asyncio.create_task(serving)
        ended = asyncio.create_task(self._broker.ended())
        try:
            done, _ = await asyncio.wait({ready, ended}, timeout=READY, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
            ended.cancel()
            await asyncio.gather(ready, ended, return_exceptions=True)
        if not done:
            click.echo(f"The broker did not start within {READY:g} seconds.", err=True)
        if ready in done:
            ready.result()
        return ready in done and ended not in done

    async def _supervise(self, signals: StopSignals) -> int:
        stop = asyncio.create_task(signals.first.wait())
        broker = asyncio.create_task(self._broker.ended())
        worker = asyncio.create_task(self._live_with_sources())
        tasks = {stop, broker, worker}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if worker.done():
                worker.result()
            if broker.done() and not stop.done():
                click.echo(f"The broker ended by itself with exit code {broker.result()}: see above.", err=True)
                return 1
            return 0
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _live_with_sources(self) -> None:
        """Restarts the worker at each change; says when it ended by itself, and waits for the change that mends it."""
        note = asyncio.create_task(self._note_end())
        keep = watchfiles.PythonFilter(ignore_paths=[str(self._data_dir.absolute())])
        try:
            async for changes in watchfiles.awatch(self._folder, watch_filter=keep):
                names = sorted({Path(name).name for _, name in changes})
                click.echo(f"{', '.join(names)} changed: the worker starts anew.")
                note.cancel()
                await self._worker.stop()
                await self._worker.start()
                note = asyncio.create_task(self._note_end())
        finally:
            note.cancel()

    async def _note_end(self) -> None:
        code = await self._worker.ended()
        click.echo(
            f"The worker ended by itself with exit code {code}: see above. It starts anew at the next change.", err=True
        )

    async def _stop_worker(self, signals: StopSignals) -> None:
        hurry = asyncio.create_task(signals.second.wait())
        hurry.add_done_callback(lambda done: None if done.cancelled() else self._worker.ask_to_stop())
        await self._worker.stop()
        hurry.cancel()
