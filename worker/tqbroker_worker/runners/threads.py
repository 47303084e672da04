"""Runs jobs in one or several threads: the pools process and solo (one, the main thread) and thread."""

from __future__ import annotations

import threading

from tqbroker_worker.execute import Executor
from tqbroker_worker.link import Link


def run(link: Link, executor: Executor, slots: int) -> None:
    """Runs jobs until the parent says stop; returns when those that run have ended.

    The calling thread is one of the `slots`, so with one slot user code runs in the main thread, where signals and
    debuggers work.
    """
    others = [
        threading.Thread(target=_work, args=(link, executor), name=f"tqbroker-slot-{number}", daemon=True)
        for number in range(2, slots + 1)
    ]
    for thread in others:
        thread.start()
    _work(link, executor)
    for thread in others:
        thread.join()
    link.flush()


def _work(link: Link, executor: Executor) -> None:
    while (job := link.next()) is not None:
        if job.lost:
            # It may be what killed its last worker: what has finished is reported before it starts.
            link.flush()
        link.report(executor.run(job))
        if job.lost:
            link.flush()
    executor.close()
