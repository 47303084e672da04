"""Every reason why a job waits, as it is printed."""

from __future__ import annotations

from tests.unit.broker.harness import TASK, Bench

from tqbroker_broker.records import JobId
from tqbroker_broker.rules import LimitRule, QueueRule, Rate, Traits


async def why(bench: Bench, job: JobId) -> str:
    (found,) = await bench.core.get([job])
    return bench.core.waits_for(found)


async def test_nothing_is_said_of_a_job_that_is_simply_next(bench: Bench) -> None:
    await bench.worker().attach()
    (job,) = await bench.enqueue(1)
    assert await why(bench, job) == ""


async def test_recovering() -> None:
    first = await Bench().open()
    await (await first.worker().attach()).credit(0)
    (job,) = await first.enqueue(1)
    bench = await Bench(first.engine.store).open()
    assert await why(bench, job) == "recovering"


async def test_paused(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(1)
    await bench.core.orders.change_queue("default", lambda _: QueueRule(paused=True))
    (job,) = await bench.enqueue(1)
    assert await why(bench, job) == "paused"
    assert worker.take() == []
    await bench.core.orders.change_queue("default", lambda _: QueueRule())
    assert [taken for taken, _ in worker.take()] == [job], "resuming hands out at once"


async def test_a_limit_of_so_many_at_once(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(9)
    await bench.core.orders.put_limits([LimitRule("mail", 1)], [])
    _, second = await bench.enqueue(2, traits=Traits(limits=("mail",)))
    assert await why(bench, second) == "limit mail"
    ((_, token),) = worker.take()
    await worker.succeed(token)
    assert [taken for taken, _ in worker.take()] == [second]


async def test_a_limit_of_so_many_starts(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(9)
    await bench.core.orders.put_limits([LimitRule(f"task:{TASK}", rates=(Rate(1, 10_000),))], [])
    jobs = await bench.enqueue(2)
    assert [taken for taken, _ in worker.take()] == jobs[:1]
    assert await why(bench, jobs[1]) == f"limit task:{TASK}"


async def test_an_ordering_key(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(9)
    first, second = await bench.enqueue(2, traits=Traits(ordering_key="order 7"))
    assert [taken for taken, _ in worker.take()] == [first]
    assert await why(bench, second) == "ordering key order 7"


async def test_no_worker_knows_the_task(bench: Bench) -> None:
    await bench.worker(tasks=("tasks.other",)).attach()
    (job,) = await bench.enqueue(1)
    assert await why(bench, job) == "no worker knows tasks.add"


async def test_no_worker_of_the_queue_knows_the_task(bench: Bench) -> None:
    await bench.worker(queues=("mail",)).attach()
    await bench.worker("w2", tasks=("tasks.other",)).attach()
    (job,) = await bench.enqueue(1)
    assert await why(bench, job) == "no worker of queue default knows tasks.add"


async def test_no_worker_takes_the_queue(bench: Bench) -> None:
    await bench.worker(queues=("mail",)).attach()
    (job,) = await bench.enqueue(1)
    assert await why(bench, job) == "no worker takes queue default"


async def test_no_worker_has_the_labels(bench: Bench) -> None:
    await (await bench.worker(labels=("gpu",)).attach()).credit(1)
    (job,) = await bench.enqueue(1, traits=Traits(requires=("gpu", "region=eu")))
    assert await why(bench, job) == "no worker has the labels gpu, region=eu"
    able = await (await bench.worker("w2", labels=("region=eu", "gpu", "ssd")).attach()).credit(1)
    assert [taken for taken, _ in able.take()] == [job]
