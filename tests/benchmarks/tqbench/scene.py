"""A broker of ours that may be killed and started again, its workers, and clients that do one step each."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from . import servers
from .load import Watch
from .processes import Process, free_port
from .rounds import Sample, answer
from .systems import OUR_BIN, plain_environment


class Scene:
    """`with` stops everything. Data, logs and what jobs leave are in `folder`; `app` is a module of apps."""

    def __init__(self, folder: Path, app: str = "tq_features") -> None:
        self.folder = folder
        self._app = f"tqbench.apps.{app}"
        self.marks = folder / "marks"
        self.marks.mkdir(parents=True)
        self.watch = Watch()
        self._port = free_port()
        self._stack = ExitStack()
        self.broker = self._start()

    def _start(self) -> Process:
        broker, _ = servers.start_tqbroker(self.folder, self._port)
        self._stack.enter_context(broker)
        broker.wait_listening(self._port, poll=0.002)
        return broker

    def restart_broker(self) -> float:
        """Ends it by SIGKILL and starts it again; seconds from that start until it listens."""
        self.broker.kill()
        self.broker = self._start()
        return time.monotonic() - self.broker.started

    def worker(self, name: str, slots: int) -> Process:
        """One more worker; it may not be connected yet."""
        arguments = ["worker", "-A", self._app, "--loglevel=error", "-n", name, "-c", str(slots)]
        return self._stack.enter_context(self._process(f"worker-{name}", [str(OUR_BIN / "tqbroker"), *arguments]))

    def client(self, step: str, *numbers: int) -> Process:
        """A client process that has begun with a step."""
        command = [str(OUR_BIN / "python"), "-m", self._app, step, *map(str, numbers)]
        return self._stack.enter_context(self._process(step, command))

    def step(self, step: str, *numbers: int) -> Sample:
        """What a client measured that has done this step."""
        return answer(self.client(step, *numbers))

    def drain(self, jobs: int) -> Process:
        """A client that looks, from now on, for the end of so many jobs in all."""
        client = self.client("drained", jobs)
        client.wait_until(lambda: "ready" in client.output(), "ready")
        return client

    def _process(self, name: str, command: list[str]) -> Process:
        urls = {"TQBROKER_URL": f"tq://127.0.0.1:{self._port}"}
        ours = {"BENCH_MARKS": str(self.marks), "NO_COLOR": "1"}
        return Process(name, command, plain_environment() | urls | ours, self.folder)

    def __enter__(self) -> Scene:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
