"""A client that is to be killed: `python -m ... URL HISTORY FIRST COUNT` calls `tasks.mark` COUNT times.

The ids of its calls are made of their numbers, so that another process can make the same calls again.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

from tests.acceptance.harness.history import History

from tqbroker import App

THREADS = 4


def id_of(number: int) -> str:
    """The id of a call."""
    return str(uuid5(NAMESPACE_OID, str(number)))


def main(url: str, path: str, first: str, count: str) -> None:
    """Makes the calls from several threads."""
    app, history = App("caller", broker=url), History(Path(path))

    def call(number: int) -> None:
        history.write("invoke", number)
        job = app.send_task("tasks.mark", (number,), task_id=id_of(number))
        history.write("ok", number, job.id)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(call, range(int(first), int(first) + int(count))))


if __name__ == "__main__":
    main(*sys.argv[1:])
