"""Worker settings: one field is one flag of `tqbroker worker`."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass, replace

from tqbroker._daemon import LEVELS
from tqbroker.exceptions import ImproperlyConfigured
from tqbroker_worker.protocol import WorkerSettings

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
MAX_SLOTS = 10_000
MAX_NAME_BYTES = 384
"""The broker's limit for names, which are keys in its store (docs/protocol.md, Limits)."""
MAX_LABELS = 64


def cpus() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What a worker is to do; each default with its reason. Raises ImproperlyConfigured for what is not allowed.

    What is None or empty is the app's own setting, see `resolved`.
    """

    app: str
    """Where the app is: module or module:attribute."""

    loglevel: str = "WARNING"
    """Least severe level to log, as in Celery; `info` prints a line for each job received and ended."""

    concurrency: int | None = None
    """Jobs run at once; in the end as many as there are processors, which plain computing keeps busy."""

    queues: tuple[str, ...] = ()
    """Queues to take jobs from; empty means those that the app names."""

    name: str = ""
    """Stable name; a new process under it is the old worker back. Empty means worker@host."""

    pool: str = ""
    """How jobs run; in the end in processes, which share nothing and use all processors."""

    broker: str = ""
    """URL of the broker; empty means the app's own setting."""

    exclude: tuple[str, ...] = ()
    """Queues not to take jobs from although the app's settings name them."""

    labels: tuple[str, ...] = ()
    """What this worker has, for jobs that ask for it: "gpu", "region=eu"."""

    include: tuple[str, ...] = ()
    """Modules to import beside the app's own, for the tasks in them."""

    time_limit: float | None = None
    """Seconds after which a job is ended, where neither its task nor its call says."""

    soft_time_limit: float | None = None
    """Seconds after which SoftTimeLimitExceeded is raised in a job, where neither its task nor its call says."""

    max_tasks_per_child: int | None = None
    """Jobs after which a child process is replaced; in the end any number."""

    max_memory_per_child: int | None = None
    """KiB of memory above which a child process is replaced after the job it runs; in the end any size."""

    autoscale: tuple[int, int] | None = None
    """Most and least child processes: as many as there is work for. None keeps their number."""

    prefetch: int | None = None
    """Jobs to hold for each slot at most, 0 for any number, 1 for none ahead. None leaves it to measured run times."""

    executable: str = ""
    """Python interpreter for the child processes; empty means the one this process runs on."""

    purge: bool = False
    """Cancel every job that waits in the queues of this worker before it takes one."""

    def __post_init__(self) -> None:
        if not self.app:
            raise ImproperlyConfigured("no app given: write -A module or -A module:attribute")
        for module in (self.app, *self.include):
            if not module.isprintable():
                raise ImproperlyConfigured(f"{module[:200]!r} is not allowed: no module has such a name")
        if self.loglevel.lower() not in LEVELS:
            raise ImproperlyConfigured(f"log level {self.loglevel!r} is not known: use one of {', '.join(LEVELS)}")
        if self.pool and self.pool not in POOLS:
            raise ImproperlyConfigured(f"pool {self.pool!r} is not known: use one of {', '.join(POOLS)}")
        object.__setattr__(self, "pool", POOLS.get(self.pool, ""))
        object.__setattr__(self, "name", expand_name(self.name, socket.gethostname()))
        self._check_numbers()
        _check_names("worker name", [self.name])
        _check_names("queue", [*self.queues, *self.exclude])
        _check_names("label", self.labels)
        if len(self.labels) > MAX_LABELS:
            raise ImproperlyConfigured(f"{len(self.labels)} labels are not allowed: use at most {MAX_LABELS}")

    def _check_numbers(self) -> None:
        _check("concurrency", self.concurrency, 1, MAX_SLOTS)
        _check("max-tasks-per-child", self.max_tasks_per_child, 1, 1 << 40)
        _check("max-memory-per-child", self.max_memory_per_child, 1, 1 << 40)
        _check("prefetch-multiplier", self.prefetch, 0, MAX_SLOTS)
        _check("time-limit", self.time_limit, 0.001, 1e9)
        _check("soft-time-limit", self.soft_time_limit, 0.001, 1e9)
        if self.autoscale is not None:
            most, least = self.autoscale
            if not 1 <= least <= most <= MAX_SLOTS:
                allowed = f"write --autoscale MAX,MIN with 1 <= MIN <= MAX <= {MAX_SLOTS}"
                raise ImproperlyConfigured(f"autoscale {most},{least} is not allowed: {allowed}")
            if self.pool not in ("", "process"):
                raise ImproperlyConfigured(f"the pool {self.pool} cannot be scaled: leave out --autoscale or -P")

    def resolved(self, settings: WorkerSettings) -> WorkerConfig:
        """The same with everything decided: what the command line leaves open is what the app says, or the default."""
        autoscaled = self.autoscale[0] if self.autoscale else None
        return replace(
            self,
            pool=self.pool or settings.pool or "process",
            concurrency=autoscaled or self.concurrency or settings.concurrency or cpus(),
            max_tasks_per_child=self.max_tasks_per_child or settings.max_tasks_per_child,
            max_memory_per_child=self.max_memory_per_child or settings.max_memory_per_child_kib,
            prefetch=settings.prefetch if self.prefetch is None else self.prefetch,
        )

    @property
    def kind(self) -> str:
        """The pool."""
        return self.pool or "process"

    @property
    def slots(self) -> int:
        """Jobs run at once."""
        return 1 if self.kind == "solo" else self.concurrency or cpus()

    @property
    def children(self) -> int:
        """Processes to run jobs in."""
        return self.slots if self.kind == "process" else 1

    @property
    def slots_each(self) -> int:
        """Jobs each of them runs at once."""
        return self.slots // self.children

    @property
    def killable(self) -> bool:
        """Whether a job can be ended with its child, because the child runs nothing beside it."""
        return self.kind in ("process", "solo")


def _check(what: str, value: float | None, least: float, most: float) -> None:
    if value is not None and not least <= value <= most:
        shown = f"{value:g}" if isinstance(value, float) else f"{value!s:.40}"
        raise ImproperlyConfigured(f"{what} {shown} is not allowed: use {least:g} to {most:.0f}")


def _check_names(what: str, names: Iterable[str]) -> None:
    for name in names:
        if not 1 <= len(name) <= 128 or not name.isprintable() or len(name.encode()) > MAX_NAME_BYTES:
            allowed = f"use 1 to 128 printable characters, {MAX_NAME_BYTES} bytes at most"
            raise ImproperlyConfigured(f"{what} {name[:200]!r} is not allowed: {allowed}")


def expand_file(path: str, name: str) -> str:
    """The path of a file of this worker as Celery writes it: %p is its name, %n and %h the parts around the @.

    %d is what follows the first dot of %h. %i and %I count children, which share this file: 0 and nothing.
    """
    node, _, host = name.partition("@")
    signs = {"%p": name, "%n": node, "%h": host, "%d": host.partition(".")[2], "%i": "0", "%I": "", "%%": "%"}
    return re.sub("%[pnhdiI%]", lambda found: signs[found[0]], path)


def expand_name(name: str, host: str) -> str:
    """The worker's name: %h is the host, %n its first part, %d the rest. Without an @ the host is appended."""
    first, _, domain = host.partition(".")
    full = name or "worker@%h"
    if "@" not in full:
        full += "@%h"
    for sign, value in (("%h", host), ("%n", first), ("%d", domain)):
        full = full.replace(sign, value)
    return full
