"""One round of one system: fresh servers, submit, drain, round trips, everything stopped again."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

from . import servers
from .apps.work import first_start
from .load import Watch, tree_seconds
from .processes import Process
from .sizes import Sizes
from .systems import System

LONGEST = 400.0
"""Seconds after which a client process is given up."""

Sample = dict[str, float]


def answer(client: Process) -> Sample:
    """What a client process measured. Raises RunError when it did not come to that."""
    lines = [line for line in client.finish(LONGEST).splitlines() if line.startswith("{")]
    if not lines:
        raise client.failed("no figures")
    sample: Sample = json.loads(lines[-1])
    return sample


class Round:
    """The processes of one system, and what its clients measured, by name of the work."""

    def __init__(self, system: System, sizes: Sizes, folder: Path) -> None:
        self.samples: dict[str, Sample] = {}
        self._system = system
        self._sizes = sizes
        self._folder = folder
        self._submitted = 0

    def run(self) -> dict[str, Sample]:
        """Does all work. Raises RunError."""
        marks = self._folder / "marks"
        marks.mkdir(parents=True)
        with ExitStack() as stack:
            up = stack.enter_context(servers.running(self._system.servers, self._folder))
            self._servers = up.processes
            self._environment = self._system.environment(up.urls, marks)
            self._submit()
            self._drain(stack, marks)
            self._step("round_trips", self._sizes.round_trips if self._system.ours else self._sizes.rival_round_trips)
        return self.samples

    def _submit(self) -> None:
        if not self._system.ours:
            self._step("calls", self._sizes.rival_calls)
            return
        self._step("calls", self._sizes.calls)
        self._step("threads", self._sizes.threads)
        self._step("bulk", self._sizes.bulk)

    def _step(self, step: str, count: int) -> None:
        watch, spent = Watch(), self._spent(self._servers)
        with self._client(step, count) as client:
            sample = answer(client)
        self._submitted += int(sample["submitted"])
        self.samples[step] = sample | {
            "foreign": watch.foreign(),
            "server_cpu_us": 1e6 * (self._spent(self._servers) - spent) / sample["submitted"],
        }

    def _drain(self, stack: ExitStack, marks: Path) -> None:
        jobs = self._submitted
        with self._client("drained", jobs) as client:
            client.wait_until(lambda: "ready" in client.output(), "ready")
            watch, spent = Watch(), self._spent(self._servers)
            workers = [stack.enter_context(self._worker(command)) for command in self._system.workers]
            done = answer(client)["at"]
        first, started = first_start(marks), workers[0].started
        self.samples["drain"] = {
            "jobs": jobs,
            "per_second": jobs / (done - first),
            "per_second_with_start": jobs / (done - started),
            "worker_start_s": first - started,
            "foreign": watch.foreign(),
            "server_cpu_us": 1e6 * (self._spent(self._servers) - spent) / jobs,
            "worker_cpu_us": 1e6 * self._spent(workers) / jobs,
        }

    def _client(self, step: str, count: int) -> Process:
        return Process(f"{self._system.name}-{step}", self._system.client(step, count), self._environment, self._folder)

    def _worker(self, command: tuple[str, ...]) -> Process:
        program, *arguments = command
        path = str(self._system.bin / program)
        return Process(f"{self._system.name}-worker", [path, *arguments], self._environment, self._folder)

    def _spent(self, processes: list[Process]) -> float:
        return sum(tree_seconds(process.pid) for process in processes)
