"""A server that loads the app, submits, and forks its workers, as gunicorn does with --preload.

The master goes on submitting; workers are killed while they are at it and replaced; at the end all are told to stop.
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import count

from tests.acceptance.hosts.calls import ask, forked, reaped

WORKERS = 3


def serve(first: int, asked: int) -> None:
    """Requests until SIGTERM. The master is told when the first ones are done."""
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    ask(first, first + 1)
    os.write(asked, b".")
    for number in count(first + 2):
        ask(number)
        if stopping:
            return


def main(rounds: int) -> None:
    ask(0)
    heard, asked = os.pipe()
    firsts = count(1000, 1000)

    def another() -> int:
        first = next(firsts)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # until the worker can hear it
        try:
            return forked(lambda: serve(first, asked))
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])

    workers = [another() for _ in range(WORKERS)]
    for number in range(1, rounds + 1):
        ask(number)
        os.read(heard, WORKERS)
        victim = workers.pop(0)
        os.kill(victim, signal.SIGKILL)
        reaped([victim], -signal.SIGKILL)
        workers.append(another())
    for worker in workers:
        os.kill(worker, signal.SIGTERM)
    reaped(workers)
    ask(rounds + 1)


if __name__ == "__main__":
    main(int(sys.argv[2]))
