"""A site with the tasks of projects/lanes, and what they have written down."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.site import Site
from tests.acceptance.harness.waiting import PATIENCE, until

from tqbroker import App, AsyncResult


class Note(NamedTuple):
    """One line of a task: "start", "end" or "cancelled", at a moment in Unix seconds."""

    kind: str
    label: str
    job: str
    at: float
    pid: int
    worker: str
    queue: str
    lost: int


class Workshop(Site):
    """Submits by name, as a client that has not the tasks' code."""

    def __init__(self, folder: Path, project: str = "lanes", counts: Counter[str] | None = None) -> None:
        super().__init__(folder, project, counts)
        self.app = App("client", broker=self.url, set_as_current=False)

    def send(self, task: str, *args: Any, **options: Any) -> AsyncResult[Any]:
        """Submits `tasks.TASK`."""
        return self.app.send_task(f"tasks.{task}", args, **options)

    def send_many(self, task: str, labels: list[str], *args: Any, **options: Any) -> list[AsyncResult[Any]]:
        """One job for each label, in one request."""
        with self.app.batch():
            return [self.send(task, label, *args, **options) for label in labels]

    # -- what the tasks wrote ----------------------------------------------------------------------------------------

    def notes(self, kind: str = "", prefix: str = "") -> list[Note]:
        """Everything written so far, of one kind, of jobs whose labels begin so."""
        found = [Note(**json.loads(line)) for line in self.history.lines() if line.startswith("{")]
        return [note for note in found if kind in ("", note.kind) and note.label.startswith(prefix)]

    def labels(self, kind: str = "start", prefix: str = "") -> list[str]:
        """The labels in the order of the notes."""
        return [note.label for note in self.notes(kind, prefix)]

    def noted(self, kind: str, prefix: str, count: int = 1, timeout: float = PATIENCE) -> list[Note]:
        """The notes, once there are so many."""
        what = f"{count} notes {kind} {prefix}"

        def look() -> list[Note]:
            found = self.notes(kind, prefix)
            return found if len(found) >= count else []

        return until(look, what, timeout)

    def open_gate(self, name: str = "") -> None:
        """Lets the tasks end that wait for this gate."""
        Path(f"{self.gate}{name}").touch()

    def close_gate(self, name: str = "") -> None:
        """Lets the next ones wait again."""
        Path(f"{self.gate}{name}").unlink(missing_ok=True)

    # -- daemons -------------------------------------------------------------------------------------------------------

    def restart(self, broker: Daemon) -> None:
        """kill -9, and a start with the same data."""
        broker.kill()
        self.started(broker)

    def waits_for(self, job: AsyncResult[Any], words: str) -> None:
        """Returns when the job says that it waits for this."""
        until(lambda: words in job.waits_for, f"job {job.id} to wait for {words!r}, not {job.waits_for!r}")

    def close(self) -> None:
        self.app.close()
        super().close()


def at_most_at_once(notes: list[Note]) -> int:
    """The most runs that overlapped."""
    running, most = 0, 0
    for note in sorted(notes, key=lambda each: each.at):
        running += 1 if note.kind == "start" else -1
        most = max(most, running)
    return most


def at_most_within(times: list[float], seconds: float) -> int:
    """The most moments in any window of this length."""
    moments = sorted(times)
    return max((sum(first <= each < first + seconds for each in moments) for first in moments), default=0)
