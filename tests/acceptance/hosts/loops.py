"""A program of coroutines: loops one after the other, calls side by side, forks in the middle and after the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.acceptance.hosts.calls import ask, ask_async, forked, reaped, tasks

from tqbroker.exceptions import OperationalError


async def side_by_side(first: int) -> None:
    await asyncio.gather(*(ask_async(first + at, first + at + 50) for at in range(20)))


async def forking() -> None:
    """The children of a loop are told that they cannot call tasks; their parent goes on."""
    going = asyncio.ensure_future(side_by_side(1000))
    await ask_async(1100)
    children = []
    for _ in range(5):
        children += [forked(refused), forked(lambda: in_a_loop_of_its_own(refused_async))]
        await asyncio.sleep(0.02)
    await asyncio.gather(going, asyncio.to_thread(reaped, children))
    await ask_async(1101)


def refused() -> None:
    with pytest.raises(OperationalError, match="spawn") as told:
        tasks.mark.delay(0)
    assert (told.value.reason, told.value.outcome) == ("FORKED", "rejected")


async def refused_async() -> None:
    with pytest.raises(OperationalError, match="spawn") as told:
        await tasks.mark.adelay(0)
    assert (told.value.reason, told.value.outcome) == ("FORKED", "rejected")


def in_a_loop_of_its_own(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """In a thread that has none: a child may be inside of its parent's."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(work())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert not failed, failed


def after_the_loops() -> None:
    """Children of a process whose loops have ended."""
    reaped([forked(lambda first=first: ask(first)) for first in range(1700, 1703)])  # type: ignore[misc]
    reaped([forked(lambda: in_a_loop_of_its_own(lambda: side_by_side(1800)))])


async def sync_beside() -> None:
    """Blocking calls in threads, while coroutines call too."""
    await asyncio.gather(side_by_side(1500), *(asyncio.to_thread(ask, 1600 + at) for at in range(5)))


def main() -> None:
    for first in (0, 100, 200):
        asyncio.run(side_by_side(first))
    ask(300)
    after_the_loops()
    asyncio.run(forking())
    asyncio.run(sync_beside())
    asyncio.run(ask_async(400))


if __name__ == "__main__":
    main()
