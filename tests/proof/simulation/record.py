"""What everybody in a simulated world remembers for the judge, and the trace that tells two runs apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

TAIL = 400


@dataclass(slots=True)
class Run:
    """One run of a job's body. `worker` is the name, `process` the number of its process, `token` that of the lease.

    `verdict` and `result` are what it ended with, None while it runs, or for ever when its process died.
    """

    job: str
    worker: str
    process: int
    token: int
    began: float
    ended: float | None = None
    verdict: str = ""
    result: bytes = b""
    handed: list[bytes] | None = None


class Away(NamedTuple):
    """A time in which a worker could not be heard. `process` is the number of one that died then, else 0."""

    worker: str
    since: float
    until: float
    process: int = 0


HARMLESS = 4.0
"""Seconds a worker may be away without losing anything: the grace, less what it takes to notice and to come back.

These, and those below, if nothing is stretched.
"""

AFTERWARDS = 120.0
"""Seconds after the end of an outage within which its consequences show: lease, recovery, a broker that was down."""


@dataclass
class Record:
    """The history of one world. Jobs are texts of ids; times are virtual seconds.

    `invoked` are jobs somebody tried to submit, `acked` those that were answered OK, `cancelled` those somebody wanted
    to cancel. `told` is what a client heard of the end of a job: state and result.
    """

    clock: Callable[[], float]
    stretch: float = 1.0
    invoked: dict[str, float] = field(default_factory=dict)
    acked: dict[str, float] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    told: dict[str, list[tuple[int, bytes]]] = field(default_factory=dict)
    runs: dict[str, list[Run]] = field(default_factory=dict)
    by_token: dict[int, Run] = field(default_factory=dict)
    away: list[Away] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)
    """The last things that happened."""

    def __post_init__(self) -> None:
        self._trace = blake2b(digest_size=16)
        self.lines = 0

    def say(self, what: str) -> None:
        """Something happened now."""
        line = f"{self.clock():.6f} {what}"
        self._trace.update(line.encode() + b"\n")
        self.lines += 1
        self.tail.append(line)
        if len(self.tail) > 2 * TAIL:
            del self.tail[:TAIL]

    def fault(self, kind: str, what: str = "") -> None:
        """A fault was injected."""
        self.faults[kind] += 1
        self.say(f"FAULT {kind} {what}")

    def problem(self, what: str) -> None:
        """Something that must never happen, seen while it happened."""
        self.say(f"PROBLEM {what}")
        self.problems.append(what)

    def may_lose(self, worker: str, run: Run | None) -> bool:
        """Whether the faults injected excuse the loss of a lease; `run` is what ran under it, None if nothing did."""
        if run is not None and run.verdict == "crashed":
            return True
        harmless, afterwards = HARMLESS * self.stretch, AFTERWARDS * self.stretch
        for away in self.away:
            if away.worker != worker or (not away.process and away.until - away.since < harmless):
                continue
            if run is None or away.process == run.process:
                return True
            if away.until > run.began - afterwards and (run.ended is None or away.since < run.ended + afterwards):
                return True
        return False

    def trace(self) -> str:
        """The same for two worlds in which the same happened at the same times."""
        return self._trace.hexdigest()
