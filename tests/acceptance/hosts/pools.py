"""A program with an open channel uses process pools. The second argument is how they start processes."""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

from tests.acceptance.hosts.calls import PATIENCE, ask


def work(first: int) -> int:
    ask(*range(first, first + 3))
    return first


def main(method: str) -> None:
    ask(0)
    context = multiprocessing.get_context(method)
    firsts = list(range(100, 900, 100))
    with context.Pool(2) as pool:
        assert pool.map_async(work, firsts).get(PATIENCE) == firsts
        pool.close()
        pool.join()
    ask(1)
    with ProcessPoolExecutor(2, context) as executor:
        assert list(executor.map(work, [first + 10 for first in firsts], timeout=PATIENCE))
    ask(2)


if __name__ == "__main__":
    main(sys.argv[2])
