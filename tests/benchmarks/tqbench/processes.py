"""Processes of a run: started with their output in a file, ended with everything they started."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PATIENCE = 60.0
"""Seconds for anything that should take a few: a start, a stop."""
POLL = 0.02
"""Seconds between two looks while waiting for something that has no event to wait on."""


class RunError(RuntimeError):
    """Something of the run did not work; the message says what, and ends with the output of the process."""


class Process:
    """A running process in its own group. `with` ends it, whatever happens."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}-{time.monotonic_ns()}.log"
        self.started = time.monotonic()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def output(self) -> str:
        """What it has written so far, to stdout and stderr."""
        return self.log.read_text(errors="replace")

    def wait_until(self, condition: Callable[[], bool], what: str, poll: float = POLL) -> None:
        """Returns when `condition` holds. Raises RunError when the process ends first, or after PATIENCE."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if self._process.poll() is not None:
                raise self.failed(f"ended with {self._process.returncode} before it was {what}")
            if time.monotonic() > deadline:
                raise self.failed(f"not {what} after {PATIENCE:.0f} s")
            time.sleep(poll)

    def wait_listening(self, port: int, poll: float = POLL) -> None:
        """Returns when the process accepts connections on this port of 127.0.0.1."""
        self.wait_until(lambda: _accepts(port), f"listening on port {port}", poll)

    def finish(self, seconds: float) -> str:
        """Waits for its end and gives its output. Raises RunError when it takes longer, or ends with an error."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise self.failed(f"not done after {seconds:.0f} s") from None
        if code:
            raise self.failed(f"ended with {code}")
        return self.output()

    def failed(self, what: str) -> RunError:
        """The error to raise, with the end of the output."""
        return RunError(f"{self.name}: {what}\n{self.output()[-3000:]}")

    def terminate(self) -> None:
        """SIGTERM; it may take its time to end."""
        self._process.terminate()

    def kill(self) -> None:
        """SIGKILL to its group, without a chance to do anything about it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL to whatever of its group is left when it has ended or does not."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE / 4)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
