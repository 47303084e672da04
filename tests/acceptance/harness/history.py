"""What really happened, written down as it happens by everybody concerned: one append-only file, one line an event.

Clients write `invoke N`, then `ok N ID` or `fail N OUTCOME`; task bodies write `start N ID PID TOKEN` and `end N ID PID
TOKEN`. N is the argument of the call, different for each, so that a call that ran twice under two ids is seen as well.
What does not just succeed with its number says what it must come to: `invoke N STATE VALUE RUNS`, see End. The broker's
own account of the same jobs is its event log, see told.py.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class Run(NamedTuple):
    """One start or end of a task body. `token` is the fencing token of its attempt."""

    id: str
    pid: int
    token: int


class End(NamedTuple):
    """What a call must come to: the name of its state, the result of one that succeeds, and how often its body runs.

    `runs` does not count those that were for nothing because a lease was lost.
    """

    state: str
    value: int
    runs: int = 1


@dataclass
class Events:
    """A history as read back."""

    invoked: dict[int, End] = field(default_factory=dict)
    acknowledged: dict[int, str] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    starts: dict[int, list[Run]] = field(default_factory=lambda: defaultdict(list))
    ends: dict[int, list[Run]] = field(default_factory=lambda: defaultdict(list))
    ended: dict[int, list[Run]] = field(default_factory=lambda: defaultdict(list))
    """The same ends by process, in their order."""

    def end_of(self, number: int) -> End:
        """What a call must come to."""
        return self.invoked.get(number) or End("SUCCEEDED", number)

    def unfinished(self) -> set[int]:
        """Numbers of calls that have started and not ended."""
        return {number for number in self.starts if len(self.starts[number]) > len(self.ends[number])}


def lines_of(path: Path) -> list[str]:
    """The lines of a file that are whole: of one that is being written by a process only a part may be seen."""
    whole, _, _ = path.read_text().rpartition("\n")
    return whole.splitlines()


class History:
    """The file. Writing is one O_APPEND write a line: safe between threads and processes, and after kill -9."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, *words: object) -> None:
        """Appends one line."""
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())

    def close(self) -> None:
        """Closes the file; it stays readable."""
        os.close(self._file)

    def lines(self) -> list[str]:
        """The lines that are whole."""
        return lines_of(self.path)

    def read(self) -> Events:
        """Everything written so far."""
        events = Events()
        for line in self.lines():
            kind, number, *rest = line.split(" ")
            _take(events, kind, int(number), rest)
        return events


def _take(events: Events, kind: str, number: int, rest: list[str]) -> None:
    if kind == "invoke":
        events.invoked[number] = End(rest[0], int(rest[1]), int(rest[2])) if rest else End("SUCCEEDED", number)
    elif kind == "ok":
        events.acknowledged[number] = rest[0]
    elif kind == "fail":
        events.refused[number] = rest[0]
    else:
        run = Run(rest[0], int(rest[1]), int(rest[2]))
        {"start": events.starts, "end": events.ends}[kind][number].append(run)
        if kind == "end":
            events.ended[run.pid].append(run)
