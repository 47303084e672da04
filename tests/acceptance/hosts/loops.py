"""A program of coroutines: several loops one after the other, calls side by side."""

from __future__ import annotations

import asyncio

from tests.acceptance.hosts.calls import ask, ask_async


async def side_by_side(first: int) -> None:
    await asyncio.gather(*(ask_async(first + at, first + at + 50) for at in range(20)))


async def sync_beside() -> None:
    """Blocking calls in threads, while coroutines call too."""
    await asyncio.gather(side_by_side(1500), *(asyncio.to_thread(ask, 1600 + at) for at in range(5)))


def main() -> None:
    for first in (0, 100, 200):
        asyncio.run(side_by_side(first))
    ask(300)
    asyncio.run(sync_beside())
    asyncio.run(ask_async(400))


if __name__ == "__main__":
    main()
