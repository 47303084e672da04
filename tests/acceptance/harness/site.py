"""One place where tqbroker runs: a folder, a broker, workers, a history. All of it ends with the test."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from tests.acceptance.harness.checker import BATCH, HELD, Injected, violations
from tests.acceptance.harness.daemon import TQBROKER, Daemon
from tests.acceptance.harness.footprint import excess, footprint
from tests.acceptance.harness.history import History
from tests.acceptance.harness.load import Calls
from tests.acceptance.harness.told import everything
from tests.acceptance.harness.waiting import PATIENCE, free_port, is_running
from tests.acceptance.harness.wire import Wire
from tests.proof.stores import faults_of

from tqbroker.v1 import job_pb2
from tqbroker_broker.storage.lmdb.opening import DATA_FILE
from tqbroker_worker.credit import MAX_APART

PROJECTS = Path(__file__).resolve().parents[1] / "projects"
ROOT = Path(__file__).resolve().parents[3]
FEW = ("--prefetch-multiplier", "16")
"""For workers that are killed as a whole: so many jobs they hold at most for each slot."""
LOSABLE = 2 * int(FEW[1])
"""Leases that such a worker with its two slots holds, and so may lose; suspects come on top of them."""


class Site:
    """A folder with a project in it, an address, and the daemons started here."""

    def __init__(self, folder: Path, project: str = "load", counts: Counter[str] | None = None) -> None:
        self.folder = folder
        self.counts = Counter() if counts is None else counts
        """What happens here, by kind, for the line of the test in `make proof`."""
        self.project = folder / "project"
        shutil.copytree(PROJECTS / project, self.project, ignore=shutil.ignore_patterns("__pycache__"))
        self.data = folder / "data"
        self.gate = folder / "gate"
        self.address = f"127.0.0.1:{free_port()}"
        self.url = f"tq://{self.address}"
        self.history = History(folder / "history")
        self.environment = _environment(
            TQBROKER_URL=self.url, TQ_HISTORY=str(self.history.path), TQ_GATE=str(self.gate)
        )
        self.daemons: list[Daemon] = []
        self.workers: list[Daemon] = []
        """Those of them that `worker` has started."""
        self._held: list[int] = []
        """Leases that each of these holds at most."""
        self.wire = Wire(self.address)
        self.calls = Calls(self.url)

    # -- daemons ---------------------------------------------------------------------------------------------------

    def daemon(self, name: str, *arguments: str | Path, under: Sequence[str] = (), mutant: str = "") -> Daemon:
        """A `tqbroker` command in the project's folder, not started yet.

        `under` is a command to run it with; with `mutant` it has the bug of that name, see tests/mutants.
        """
        command = [sys.executable, "-m", "tests.mutants", mutant] if mutant else [TQBROKER]
        environment = {**self.environment, "PYTHONPATH": _path_with(ROOT)} if mutant else self.environment
        daemon = Daemon(name, [*under, *command, *arguments], self.project, environment, self.counts)
        self.daemons.append(daemon)
        return daemon

    def broker(self, *arguments: str | Path, under: Sequence[str] = (), mutant: str = "", **environment: str) -> Daemon:
        """A broker that serves this site's address from this site's data directory, ready."""
        serve = ("serve", "--listen", self.address, "--data-dir", self.data)
        daemon = self.daemon("broker", *serve, *arguments, under=under, mutant=mutant)
        self.started(daemon, **environment)
        return daemon

    def started(self, broker: Daemon, **environment: str) -> None:
        """Starts the broker (again) and returns when it serves, and `wire` waits no more to try it again."""
        broker.start(**environment)
        broker.expect_event("ready")
        self.wire.ready()

    def worker(self, *arguments: str, name: str = "worker", mutant: str = "", **environment: str) -> Daemon:
        """A worker with two slots unless told otherwise, connected. One with FEW loses few jobs when it is killed."""
        daemon = self.daemon(name, "worker", "-A", "tasks", "-c", "2", "-n", f"{name}@test", *arguments, mutant=mutant)
        self.workers.append(daemon)
        self._held.append(LOSABLE + MAX_APART if set(FEW) <= set(arguments) else HELD)
        daemon.start(**environment)
        self.wire.connected(daemon.pid)
        return daemon

    # -- commands --------------------------------------------------------------------------------------------------

    def run(
        self, *command: str | Path, timeout: float = PATIENCE, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """A command in the project's folder, to its end."""
        return subprocess.run(
            [str(part) for part in command],
            cwd=self.project,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def tqbroker(self, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """`tqbroker ...`, to its end."""
        return self.run(TQBROKER, *arguments, timeout=PATIENCE, **environment)

    def python(self, code: str) -> str:
        """What `python -c CODE` prints in the project's folder. Fails when it fails."""
        done = self.run(sys.executable, "-c", code)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    # -- judgement -------------------------------------------------------------------------------------------------

    def settle(self, timeout: float = 60.0) -> dict[str, job_pb2.JobStatus]:
        """Waits until every acknowledged job has ended; then what the broker says of each."""
        ids = list(self.history.read().acknowledged.values())
        return self.wire.finals(ids, timeout)

    def dead(self) -> set[int]:
        """Processes that have run jobs and are gone."""
        pids = {run.pid for runs in self.history.read().starts.values() for run in runs}
        return {pid for pid in pids if not is_running(pid)}

    def check(self, killed: Collection[int] = (), lost: int | None = None, *, counted: bool = True) -> None:
        """Waits until all is quiet, then fails with every promise that was broken. See checker.Injected.

        Without `lost` as many leases may be lost as those could have that were killed: none if nobody was.
        """
        found = self.faults(killed, lost, counted=counted)
        assert not found, "\n".join(found)

    def faults(
        self, killed: Collection[int] = (), lost: int | None = None, *, counted: bool = True, timeout: float = 60.0
    ) -> list[str]:
        """Every promise that was broken, in words, when all is quiet or `timeout` seconds are over."""
        statuses = self.settle(timeout)
        self.counts["jobs"] += len(statuses)
        injected = self._injected(killed, lost, counted)
        found = violations(self.history.read(), statuses, injected, everything(self.wire))
        running = [daemon for daemon in self.daemons if daemon.running]
        return found + [fault for each in running for fault in excess(each.name, footprint(each.pid))]

    def _injected(self, killed: Collection[int], lost: int | None, counted: bool) -> Injected:
        alone = {pid for each in self.workers if each.running for pid in _killed_under(each, since=each.log.mark)}
        if lost is None:
            processes = {*killed, *(pid for each in self.workers for pid in _killed_under(each))}
            held = sum(each.times_killed * most for each, most in zip(self.workers, self._held, strict=True))
            lost = len(processes) * BATCH + held if killed else 0
        return Injected(killed, lost, counted, alone)

    def left(self) -> list[str]:
        """What is wrong with the store (I8, I9), if there is one, of which the broker has ended."""
        return faults_of(self.data) if (self.data / DATA_FILE).exists() else []

    def discard(self) -> None:
        """Ends every daemon: nobody uses the data directory then."""
        for daemon in self.daemons:
            daemon.discard()

    def close(self) -> None:
        """Ends everything that was started here."""
        self.calls.app.close()
        self.wire.close()
        self.discard()
        self.history.close()


def _killed_under(worker: Daemon, since: int = 0) -> set[int]:
    """The children that were killed, as a worker says from this line of its log on."""
    killed = re.compile(r"child process (\d+) was killed by signal 9")
    return {int(pid) for line in worker.log.lines[since:] for pid in killed.findall(line.text)}


def _path_with(folder: Path) -> str:
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))


def _environment(**more: str) -> Mapping[str, str]:
    """This process's environment without anything that steers tqbroker, and with these variables."""
    ours = ("TQBROKER_", "TQ_", "GRPC_VERBOSITY")  # the last is set by our own client, in this process
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    path = f"{TQBROKER.parent}{os.pathsep}{kept.get('PATH', os.defpath)}"  # as in an activated environment
    return {**kept, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", **more}
