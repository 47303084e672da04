"""A `tqbroker` process as an operator has it: a command, a log, signals. Never left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from tests.acceptance.harness.waiting import PATIENCE, children_of, descendants_of

TQBROKER = Path(sys.executable).parent / "tqbroker"


class Line(NamedTuple):
    """One line a process has printed, on "stdout" or "stderr"."""

    stream: str
    text: str
    at: float

    @property
    def event(self) -> dict[str, Any]:
        """The line as a log event; empty when it is none."""
        if not self.text.startswith("{"):
            return {}
        with contextlib.suppress(ValueError):
            event = json.loads(self.text)
            return event if isinstance(event, dict) else {}
        return {}


class Log:
    """What a process prints, gathered by threads so that a full pipe never stops it, and awaited by tests."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.mark = 0
        """Where the output of the latest start begins."""
        self._changed = threading.Condition()
        self._open = 0

    def follow(self, stream: IO[bytes], name: str) -> None:
        """Reads a stream to its end, in a thread."""
        with self._changed:
            self._open += 1
        threading.Thread(target=self._read, args=(stream, name), daemon=True).start()

    def _read(self, stream: IO[bytes], name: str) -> None:
        with stream:
            for raw in stream:
                line = Line(name, raw.decode(errors="replace").rstrip("\n"), time.monotonic())
                with self._changed:
                    self.lines.append(line)
                    self._changed.notify_all()
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    def expect(self, wanted: Callable[[Line], bool], what: str, timeout: float, since: int | None = None) -> Line:
        """The first line for which `wanted` is true, from the latest start on or from line number `since`."""
        deadline = time.monotonic() + timeout
        at = self.mark if since is None else since
        with self._changed:
            while True:
                while at < len(self.lines):
                    if wanted(self.lines[at]):
                        return self.lines[at]
                    at += 1
                left = deadline - time.monotonic()
                if left <= 0 or not self._open:
                    why = "in time" if self._open else "before the process ended"
                    raise AssertionError(f"{what!r} did not appear {why} in:\n{self.tail()}")
                self._changed.wait(left)

    def closed(self, timeout: float) -> bool:
        """Whether everybody who could print here is gone: the process and all it has started."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, timeout)

    def text(self, stream: str = "") -> str:
        """Everything printed since the latest start, or what went to one stream."""
        return "\n".join(line.text for line in self.lines[self.mark :] if stream in ("", line.stream))

    def tail(self, count: int = 60) -> str:
        """The last lines, for a failure report."""
        return "\n".join(f"{line.stream}: {line.text[:2000]}" for line in self.lines[-count:])


class Daemon:
    """A process that can be started again and again with the same command."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        folder: Path,
        environment: Mapping[str, str],
        counts: Counter[str] | None = None,
    ) -> None:
        self.name = name
        self.counts = Counter() if counts is None else counts
        """Gets every kill, by a test or by a failpoint, and every freeze."""
        self.command = [str(part) for part in command]
        self.folder = folder
        self.environment = dict(environment)
        self.log = Log()
        self.process: subprocess.Popen[bytes] | None = None
        self._killed_before = 0

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self, **environment: str) -> None:
        """Starts it, with these variables in addition; does not wait until it is ready."""
        self._killed_before = self.times_killed
        self.log.mark = len(self.log.lines)
        self.process = subprocess.Popen(
            self.command,
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.log.follow(self.process.stdout, "stdout")
        self.log.follow(self.process.stderr, "stderr")

    @property
    def pid(self) -> int:
        """Process id of the latest start."""
        assert self.process is not None, f"{self.name} was never started"
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self.process is not None and self.process.poll() is None

    @property
    def times_killed(self) -> int:
        """How many of its starts have ended by SIGKILL."""
        return self._killed_before + (self.process is not None and self.process.poll() == -signal.SIGKILL)

    def children(self) -> list[int]:
        """Process ids of its children."""
        return children_of(self.pid)

    def wait(self, timeout: float = PATIENCE) -> int:
        """The exit code, negative for a signal. Fails when the process does not end in time."""
        assert self.process is not None
        was_known = self.process.returncode is not None
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {timeout:g} s:\n{self.log.tail()}") from None
        self.counts["kills"] += code == -signal.SIGKILL and not was_known
        return code

    # -- signals ---------------------------------------------------------------------------------------------------

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the process alone."""
        self.counts["freezes"] += number is signal.SIGSTOP
        os.kill(self.pid, number)

    def stop(self, timeout: float = PATIENCE) -> int:
        """SIGTERM, as service managers send it; the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> None:
        """SIGKILL to the process alone: what it has started must notice by itself."""
        self.signal(signal.SIGKILL)
        self.wait()

    def discard(self) -> None:
        """Ends whatever is left of it, what it has started included."""
        if self.process is None:
            return
        left = descendants_of(self.pid)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.log.closed(PATIENCE)

    # -- its log ---------------------------------------------------------------------------------------------------

    def expect(self, text: str, timeout: float = PATIENCE, since: int | None = None) -> Line:
        """The first line that contains `text`, from the latest start on or from line number `since`."""
        return self.log.expect(lambda line: text in line.text, text, timeout, since)

    def expect_event(self, event: str, timeout: float = PATIENCE) -> dict[str, Any]:
        """The first log event of this name, from the latest start on."""
        return self.log.expect(lambda line: line.event.get("event") == event, event, timeout).event
