"""One child process as the parent holds it: start, messages, end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable

from tqbroker_worker.arguments import Arguments
from tqbroker_worker.config import WorkerConfig
from tqbroker_worker.pipe import Pipe
from tqbroker_worker.progress import Progress, create_page
from tqbroker_worker.protocol import Broken, Done, Down, Ended, Manifest, Stop, Unstarted, decode_up, encode
from tqbroker_worker.seats import Seat


class Child:
    """A child process and its seat. `on_message` gets what it says, `on_exit` is called once when it has ended."""

    def __init__(
        self,
        config: WorkerConfig,
        on_message: Callable[[Child, Manifest | Broken | Done | Ended | Unstarted], None],
        on_exit: Callable[[Child], None],
    ) -> None:
        self.ready = False
        self.stopping = False
        self._on_message = on_message
        self._on_exit = on_exit
        self._exited = False
        ours, theirs = socket.socketpair()
        page = create_page()
        try:
            self._progress = Progress(page)
            self.process = _spawn(config, theirs.fileno(), page)
        finally:
            os.close(page)
            theirs.close()
        self.seat = Seat(config.slots_each, self.send, self._started)
        self._pipe = Pipe(ours, self._frames, self._end)

    @property
    def pid(self) -> int:
        """Process id."""
        return self.process.pid

    def send(self, message: Down) -> None:
        """Tells the child something; without effect once it is gone."""
        self._pipe.send(encode(message))

    def stop(self) -> None:
        """Asks the child to finish what runs and to exit."""
        self.stopping = True
        self.send(Stop())

    def kill(self) -> None:
        """Ends the child at once."""
        self.stopping = True
        if self.process.poll() is None:
            self.process.kill()

    def reap(self) -> None:
        """Looks whether the process has ended; if so takes its last words and reports it."""
        if not self._exited and self.process.poll() is not None:
            self._exited = True
            self._pipe.drain()
            self._on_exit(self)
            self._progress.close()

    def how_it_ended(self) -> str:
        """In words, for logs and failures."""
        code = self.process.poll()
        if code is not None and code < 0:
            return f"child process {self.pid} was killed by signal {-code} ({signal.Signals(-code).name})"
        return f"child process {self.pid} ended with exit code {code}"

    def _started(self) -> int:
        return self._progress.started

    def _frames(self, frames: list[memoryview]) -> None:
        for body in frames:
            self._on_message(self, decode_up(body))

    def _end(self) -> None:
        """The socket closed: the process is ending, or has lost its way and is of no more use."""
        if self.process.poll() is None:
            self.process.kill()


def _spawn(config: WorkerConfig, sock: int, page: int) -> subprocess.Popen[bytes]:
    arguments = Arguments(
        app=config.app,
        broker=config.broker,
        pool=config.pool,
        slots=config.slots_each,
        level=config.loglevel,
        worker=config.name,
        show=int(config.loglevel.lower() in ("debug", "info")),
        socket=sock,
        page=page,
        parent=os.getpid(),
    )
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", "tqbroker_worker.child", *arguments.argv()],
        pass_fds=(sock, page),
        stdin=None if config.pool == "solo" else subprocess.DEVNULL,
    )
