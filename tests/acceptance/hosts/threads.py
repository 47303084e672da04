"""A program with a hundred threads that share an app, and programs that it starts."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.acceptance.hosts.calls import FIRST, PATIENCE, ask, forked, reaped

THREADS = 100


def main() -> None:
    if len(sys.argv) > 2:  # it was started by itself
        return ask(0)
    with ThreadPoolExecutor(THREADS) as pool:
        waiting = [pool.submit(ask, *range(at * 10, at * 10 + 3)) for at in range(THREADS)]
        started = subprocess.run([*sys.orig_argv[:3], str(FIRST + 2000), "again"], timeout=PATIENCE)
        child = forked(lambda: ask(3000))
        for each in waiting:
            each.result(PATIENCE)
    assert started.returncode == 0
    reaped([child])
    return ask(5000)


if __name__ == "__main__":
    main()
