"""`make demo`: a job through a real broker and a real worker, then kill -9 of the broker under load.

Everything runs in a temporary directory on a free port and is gone afterwards. Exits 1 if one acknowledged job is lost.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent
TQBROKER = Path(sys.executable).parent / "tqbroker"
JOBS = 4000
THREADS = 4
KILL_AFTER = 1500
PATIENCE = 20.0
"""Seconds for anything that should take one or two."""


class Daemon:
    """A `tqbroker` process with its log in a file; restarted with the same arguments."""

    def __init__(self, name: str, *arguments: str, folder: Path, environment: dict[str, str]) -> None:
        self.arguments = arguments
        self.log = folder / f"{name}.log"
        self.environment = environment
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [TQBROKER, *self.arguments],
                cwd=EXAMPLES,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL to the process and its children: no chance to tidy up."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="tqbroker-demo-") as scratch:
        folder = Path(scratch)
        os.environ["TQBROKER_URL"] = f"tq://{free_address()}"
        daemons: list[Daemon] = []
        try:
            return demonstrate(folder, daemons)
        except Exception:
            for daemon in daemons:
                print(f"\n--- end of {daemon.log.name} ---\n{daemon.log.read_text()[-3000:]}", file=sys.stderr)
            raise
        finally:
            for daemon in daemons:
                daemon.kill()


def demonstrate(folder: Path, daemons: list[Daemon]) -> int:
    environment = dict(os.environ)
    address = environment["TQBROKER_URL"].removeprefix("tq://")
    arguments = ("serve", "--listen", address, "--data-dir", str(folder / "data"))
    broker = Daemon("broker", *arguments, folder=folder, environment=environment)
    daemons.append(broker)
    worker = Daemon("worker", "worker", "-A", "tasks", "-c", "2", folder=folder, environment=environment)
    daemons.append(worker)
    print(f"$ tqbroker serve --listen {address} --data-dir {folder / 'data'}")
    print("$ tqbroker worker -A tasks -c 2")
    first_job()
    return kill_under_load(broker)


def first_job() -> None:
    from tasks import add

    wait_for_broker()
    print("\n>>> from tasks import add\n>>> add.delay(4, 4).get(timeout=10)")
    print(add.delay(4, 4).get(timeout=PATIENCE))


def kill_under_load(broker: Daemon) -> int:
    print(f"\nNow {JOBS:,} more from {THREADS} threads, and in the middle of it: kill -9 of the broker.\n")
    load = Load()
    started = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        running = [pool.submit(load.submit, range(at, JOBS, THREADS)) for at in range(THREADS)]
        load.enough.wait(PATIENCE)
        broker.kill()
        print(f"  killed after {len(load.acknowledged):,} jobs had been acknowledged; started again at once")
        broker.start()
        for part in running:
            part.result()
    print(f"  submitted in {time.monotonic() - started:.1f} s, the restart included")
    return report(load)


class Load:
    """Submits jobs and remembers which were acknowledged: by id, with the sum that each must give."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, int] = {}
        self.refused = 0
        self.enough = threading.Event()

    def submit(self, numbers: range) -> None:
        from tasks import add

        from tqbroker.exceptions import OperationalError

        for number in numbers:
            try:
                self.acknowledged[add.delay(number, number).id] = 2 * number
            except OperationalError:
                self.refused += 1  # told so, hence not lost: the caller knows, and may send it again under its id
            if len(self.acknowledged) >= KILL_AFTER:
                self.enough.set()


def report(load: Load) -> int:
    deadline = time.monotonic() + PATIENCE
    lost = [job for job, total in load.acknowledged.items() if not came_back(job, total, deadline)]
    for job in lost[:5]:
        print(f"  lost: {job}")
    ran = len(load.acknowledged) - len(lost)
    refused = f"   (refused with an error: {load.refused:,})" if load.refused else ""
    print(f"\n  acknowledged {len(load.acknowledged):,}   ran {ran:,}   lost {len(lost):,}{refused}\n")
    print("This must not happen." if lost else "Every job that was acknowledged ran, and its result is here.")
    return 1 if lost else 0


def came_back(job: str, total: int, deadline: float) -> bool:
    """Whether the job ends with the right sum in time."""
    from tasks import app

    from tqbroker.exceptions import TqbrokerError

    try:
        return bool(app.AsyncResult(job).get(timeout=max(0.0, deadline - time.monotonic())) == total)
    except TqbrokerError:
        return False


def wait_for_broker() -> None:
    """Returns when something listens at the broker's address."""
    host, _, port = os.environ["TQBROKER_URL"].removeprefix("tq://").partition(":")
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


if __name__ == "__main__":
    sys.exit(main())
