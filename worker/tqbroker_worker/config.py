"""Worker settings: one field is one flag of `tqbroker worker`."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field

from tqbroker._daemon import LEVELS
from tqbroker.exceptions import ImproperlyConfigured

POOLS = {
    "process": "process",
    "prefork": "process",
    "processes": "process",
    "thread": "thread",
    "threads": "thread",
    "asyncio": "asyncio",
    "solo": "solo",
}
"""Accepted names of pools, Celery's among them, and ours for each."""


def cpus() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


MAX_NAME_BYTES = 384
"""The broker's limit for names, which are keys in its store (docs/protocol.md, Limits)."""


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What a worker is to do; each default with its reason. Raises ImproperlyConfigured for what is not allowed."""

    app: str
    """Where the app is: module or module:attribute."""

    loglevel: str = "WARNING"
    """Least severe level to log, as in Celery; `info` prints a line for each job received and ended."""

    concurrency: int = field(default_factory=cpus)
    """Jobs run at once: one a processor keeps them busy with plain computing."""

    queues: tuple[str, ...] = ()
    """Queues to take jobs from; empty means the app's default queue."""

    name: str = ""
    """Stable name; a new process under it is the old worker back. Empty means worker@host."""

    pool: str = "process"
    """How jobs run: in processes, which share nothing and use all processors, unless told otherwise."""

    broker: str = ""
    """URL of the broker; empty means the app's own setting."""

    def __post_init__(self) -> None:
        if not self.app:
            raise ImproperlyConfigured("no app given: write -A module or -A module:attribute")
        if self.loglevel.lower() not in LEVELS:
            raise ImproperlyConfigured(f"log level {self.loglevel!r} is not known: use one of {', '.join(LEVELS)}")
        if self.pool not in POOLS:
            raise ImproperlyConfigured(f"pool {self.pool!r} is not known: use one of {', '.join(POOLS)}")
        if not 1 <= self.concurrency <= 10_000:
            raise ImproperlyConfigured(f"concurrency {self.concurrency} is not allowed: use 1 to 10000")
        object.__setattr__(self, "pool", POOLS[self.pool])
        object.__setattr__(self, "name", expand_name(self.name, socket.gethostname()))
        if self.pool == "solo":
            object.__setattr__(self, "concurrency", 1)
        for what, name in [("worker name", self.name), *(("queue", queue) for queue in self.queues)]:
            if not 1 <= len(name) <= 128 or len(name.encode()) > MAX_NAME_BYTES or not name.isprintable():
                allowed = f"use 1 to 128 printable characters, {MAX_NAME_BYTES} bytes at most"
                raise ImproperlyConfigured(f"{what} {name[:200]!r} is not allowed: {allowed}")

    @property
    def children(self) -> int:
        """Processes to run jobs in."""
        return self.concurrency if self.pool == "process" else 1

    @property
    def slots_each(self) -> int:
        """Jobs each of them runs at once."""
        return self.concurrency // self.children


def expand_name(name: str, host: str) -> str:
    """The worker's name: %h is the host, %n its first part, %d the rest. Without an @ the host is appended."""
    first, _, domain = host.partition(".")
    full = name or "worker@%h"
    if "@" not in full:
        full += "@%h"
    for sign, value in (("%h", host), ("%n", first), ("%d", domain)):
        full = full.replace(sign, value)
    return full
