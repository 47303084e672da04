"""What happens to a worker in one commit with something else, through a core over LMDB."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.broker.harness import Bench

from tqbroker_broker.answers import CancelAnswer, Cancelled
from tqbroker_broker.attempts import Held
from tqbroker_broker.core import Core
from tqbroker_broker.storage import create_engine


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """An open broker core over LMDB with nothing in it."""
    bench = Bench()
    engine = create_engine(f"lmdb:{tmp_path}/data", bench.config)
    bench.core = Core(engine, bench.clock, bench.config, bench.failures.append)
    await bench.open()
    yield bench
    await bench.core.close()


@pytest.mark.parametrize("cancel_first", [True, False])
async def test_a_cancel_in_one_commit_with_the_return_of_its_worker_reaches_it(
    bench: Bench, cancel_first: bool
) -> None:
    worker = await (await bench.worker().attach()).credit(1)
    (job,) = await bench.enqueue(1)
    ((_, token),) = worker.take()
    bench.core.workers.part(worker.session)

    under_way = asyncio.create_task(bench.enqueue(1))
    await asyncio.sleep(0)
    cancel = bench.core.cancel([job], terminate=True)
    back = worker.attach([Held(job, token)])
    answers = await asyncio.gather(*((cancel, back) if cancel_first else (back, cancel)))
    await under_way

    (cancelled,) = (answer for answer in answers if isinstance(answer, CancelAnswer))
    assert cancelled.effects == [Cancelled.RUNNING]
    assert worker.lost == []
    assert (worker.session.cancelled, worker.session.terminate) == ([token], [(token, "")])
