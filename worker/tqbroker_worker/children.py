"""One child process as the parent holds it: start, messages, end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec

from tqbroker._daemon import get_logger
from tqbroker_worker.arguments import Arguments
from tqbroker_worker.config import WorkerConfig
from tqbroker_worker.deaths import Death, look
from tqbroker_worker.pipe import Pipe
from tqbroker_worker.progress import Progress, create_page
from tqbroker_worker.protocol import Down, Stop, Up, decode_up, encode
from tqbroker_worker.seats import Seat

END_SECONDS = 1.0
"""How long a child may take to end once it has closed its socket; killed at once, what killed it could not be told."""
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


class Child:
    """A child process and its seat. `on_message` gets what it says, `on_exit` is called once when it has ended.

    Raises OSError when the system has no room for another process.
    """

    def __init__(
        self,
        config: WorkerConfig,
        on_message: Callable[[Child, Up], None],
        on_exit: Callable[[Child, Death], None],
    ) -> None:
        self.ready = False
        """Whether it has loaded the app."""
        self.abandoned = False
        """Whether it was ended on purpose, together with whatever it ran."""
        self._on_message = on_message
        self._on_exit = on_exit
        self._killed = self._exited = self._unreadable = False
        self._log = get_logger("tqbroker.worker")
        with ExitStack() as opened, ExitStack() as handed:
            ours, theirs = socket.socketpair()
            opened.callback(ours.close)
            handed.callback(theirs.close)
            page = create_page()
            handed.callback(os.close, page)
            self._progress = Progress(page)
            opened.callback(self._progress.close)
            self._process = _spawn(config, theirs.fileno(), page)
            opened.pop_all()
        most = config.max_tasks_per_child or 0
        self.seat = Seat(config.slots_each, self.send, self._started, self.pid, most)
        self._pipe = Pipe(ours, self._frames, self._end)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def send(self, message: Down) -> None:
        """Tells the child something; without effect once it is gone."""
        self._pipe.send(encode(message))

    def stop(self) -> None:
        """Asks the child to finish what it has and to exit."""
        self.send(Stop())

    def kill(self) -> None:
        """Ends the child at once."""
        if not self._exited:
            self.reap()
        if not self._exited:
            self._killed = True
            os.kill(self.pid, signal.SIGKILL)

    def reap(self) -> None:
        """Looks whether the process has ended; if so takes its last words and reports it."""
        if not self._exited and (death := look(self.pid, self._killed)) is not None:
            self._exited = True
            self._process.returncode = death.code  # we waited in its place, to learn what it had used
            self._pipe.drain()
            self._on_exit(self, death)
            self._progress.close()

    def memory_kib(self) -> int:
        """Memory that the process has now; 0 when that cannot be told."""
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE_KIB
        except (OSError, IndexError):
            return 0

    def _started(self) -> int:
        return self._progress.started

    def _end(self) -> None:
        """The socket closed: the process is ending, or has lost its way and is of no more use."""
        if not self._exited:
            asyncio.get_running_loop().call_later(END_SECONDS, self.kill)

    def _frames(self, frames: list[memoryview]) -> None:
        for body in frames:
            if self._unreadable:
                return
            try:
                message = decode_up(body)
            except msgspec.DecodeError as error:  # what became of its jobs cannot be known any more
                self._unreadable = True
                self._log.error(f"child process {self.pid} said what cannot be read: {error}", pid=self.pid)
                asyncio.get_running_loop().call_soon(self.kill)
            else:
                self._on_message(self, message)


def _spawn(config: WorkerConfig, sock: int, page: int) -> subprocess.Popen[bytes]:
    arguments = Arguments(
        app=config.app,
        broker=config.broker,
        pool=config.kind,
        slots=config.slots_each,
        level=config.loglevel,
        worker=config.name,
        show=int(config.loglevel.lower() in ("debug", "info")),
        socket=sock,
        page=page,
        parent=os.getpid(),
        include=",".join(config.include),
    )
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [config.executable or sys.executable, "-m", "tqbroker_worker.child", *arguments.argv()],
        pass_fds=(sock, page),
        stdin=None if config.pool == "solo" else subprocess.DEVNULL,
    )
