"""How long a run may take and how large it may grow, in every pool: who goes over a limit goes alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from tests.acceptance.harness.delivery import Delivery, delivery
from tests.acceptance.harness.waiting import PATIENCE, until

from tqbroker import AsyncResult
from tqbroker.exceptions import EncodeError, TimeLimitExceeded
from tqbroker.states import Phase

POOLS = ("process", "thread", "asyncio")
MIB = 1 << 20
HOOKS = ("on_success", "on_retry", "on_failure", "after_return")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivery]:
    """A worker for each pool; the queue is the name of the pool. "-limited": the worker has limits itself."""
    with delivery(tmp_path_factory.mktemp("limits")) as place:
        place.broker()
        for pool in POOLS:
            start(place, pool, "-P", pool)
            start(place, f"{pool}-limited", "-P", pool, "--time-limit", "2", "--soft-time-limit", "0.3")
        start(place, "recycled", "--max-tasks-per-child", "5")
        start(place, "grown", "--max-memory-per-child", str(150 * 1024), "-c", "1")
        until(lambda: len(place.wire.workers()) == 2 * len(POOLS) + 2, "all workers to be connected")
        yield place


def start(place: Delivery, name: str, *flags: str) -> None:
    """A worker with a queue of its own name; all of them load side by side."""
    place.daemon(name, "worker", "-A", "tasks", "-c", "2", "-n", f"{name}@test", "-Q", name, *flags).start()


def hang(place: Delivery, pool: str, *args: Any, queue: str = "", **options: Any) -> AsyncResult[str]:
    """A job that sleeps a minute in this pool, unless it is told to clean up."""
    task = place.tasks.ahang if pool == "asyncio" else place.tasks.hang
    job: AsyncResult[str] = task.apply_async(args, queue=queue or pool, **options)
    return job


def exceeded(job: AsyncResult[Any], words: str = "hard time limit") -> None:
    with pytest.raises(TimeLimitExceeded, match=words):
        job.get(timeout=PATIENCE)
    assert (job.state, job.retries, job.lost_leases) == ("FAILURE", 0, 0)
    (attempt,) = job.attempts
    assert attempt.verdict == "failed"
    assert attempt.failure is not None
    assert attempt.failure.type == "TimeLimitExceeded"
    assert attempt.ended_ms >= attempt.started_ms


def told(place: Delivery, job: AsyncResult[Any]) -> bool:
    return "after_return" in place.words(job)


# -- soft ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", POOLS)
def test_a_job_over_its_soft_limit_cleans_up_and_returns(shop: Delivery, pool: str) -> None:
    softly = shop.tasks.ahang_softly if pool == "asyncio" else shop.tasks.hang_softly

    jobs = {
        "of the task": softly.apply_async(queue=pool),
        "of the call": hang(shop, pool, soft_time_limit=0.2),
        "of the worker": hang(shop, pool, queue=f"{pool}-limited"),
        "of the call, over the worker's": hang(shop, pool, queue=f"{pool}-limited", soft_time_limit=0.1),
    }

    assert {name: job.get(timeout=PATIENCE) for name, job in jobs.items()} == dict.fromkeys(jobs, "cleaned up")


def test_a_soft_limit_that_the_task_does_not_mind_fails_the_job(shop: Delivery) -> None:
    job = shop.tasks.wait.apply_async(("never",), queue="process", soft_time_limit=0.2)

    with pytest.raises(Exception, match="soft time limit") as raised:
        job.get(timeout=PATIENCE)
    assert type(raised.value).__name__ == "SoftTimeLimitExceeded"
    assert "tasks.py" in (job.traceback or "")


# -- hard ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", POOLS)
def test_a_job_over_its_hard_limit_fails_and_runs_its_hooks(shop: Delivery, pool: str) -> None:
    briefly = shop.tasks.ahang_briefly if pool == "asyncio" else shop.tasks.hang_briefly

    jobs = {"of the task": briefly.apply_async(queue=pool), "of the call": hang(shop, pool, time_limit=0.4)}

    for job in jobs.values():
        exceeded(job)
        until(partial(told, shop, job), "its last hook to run")
        failure, _last = [line for line in shop.trace(job) if line["word"] in HOOKS]
        assert (failure["word"], "TimeLimitExceeded" in failure["value"]) == ("on_failure", True)


@pytest.mark.parametrize("pool", POOLS)
def test_neighbours_of_a_job_over_its_limit_are_unharmed(shop: Delivery, pool: str) -> None:
    gate = f"after-{pool}"
    waits = shop.tasks.await_gate if pool == "asyncio" else shop.tasks.wait
    beside = waits.apply_async((gate,), queue=pool)
    until(lambda: beside.phase is Phase.RUNNING, "the neighbour to run")
    over = hang(shop, pool, time_limit=0.4)
    behind = [shop.tasks.mark.apply_async((number,), queue=pool) for number in range(20)]

    exceeded(over)
    shop.open(gate)

    assert beside.get(timeout=PATIENCE) == gate
    assert [job.get(timeout=PATIENCE) for job in behind] == list(range(20))
    assert {job.lost_leases for job in (beside, *behind)} == {0}
    assert {tuple(job.attempts) for job in (beside, *behind)} == {()}


def test_a_worker_ends_jobs_that_name_no_limit(shop: Delivery) -> None:
    job = shop.tasks.wait.apply_async(("never",), queue="process-limited", soft_time_limit=30)
    other = shop.tasks.await_gate.apply_async(("never",), queue="asyncio-limited", soft_time_limit=30)

    exceeded(job, "2s")
    exceeded(other, "2s")


def test_a_limit_that_is_set_at_run_time_holds_for_jobs_that_start_from_then_on(shop: Delivery) -> None:
    (answer,) = shop.app.control.time_limit("tasks.sleepy", hard=0.3, destination=["process@test"])
    assert "ok" in answer["process@test"]

    exceeded(shop.tasks.sleepy.apply_async(queue="process"), "0.3s")


# -- children that are replaced --------------------------------------------------------------------------------------


def test_children_that_are_replaced_after_so_many_jobs_lose_none(shop: Delivery) -> None:
    jobs = shop.tasks.who.apply_async_many([{"queue": "recycled"} for _ in range(60)])

    ran = Counter(job.get(timeout=PATIENCE) for job in jobs)

    assert max(ran.values()) <= 5
    assert sum(ran.values()) == 60
    assert {job.lost_leases for job in jobs} == {0}


def test_children_that_have_grown_are_replaced_and_lose_no_job(shop: Delivery) -> None:
    jobs = [shop.tasks.leak.apply_async((60,), queue="grown") for _ in range(6)]

    ran = Counter(job.get(timeout=PATIENCE) for job in jobs)

    assert max(ran.values()) <= 3
    assert {job.lost_leases for job in jobs} == {0}


# -- sizes -----------------------------------------------------------------------------------------------------------


def test_arguments_that_are_too_large_are_refused_before_they_are_sent(shop: Delivery) -> None:
    with pytest.raises(EncodeError, match=r"10\d{6} bytes.*1048576") as raised:
        shop.tasks.mark.apply_async(("x" * (10 * MIB),), task_id="too-large")
    assert "store" in str(raised.value)
    assert not shop.app.AsyncResult("too-large").ready()


def test_a_result_that_is_too_large_fails_the_job_and_says_what_to_do(shop: Delivery) -> None:
    fits = shop.tasks.give.apply_async((MIB - 2,), queue="process")
    large = shop.tasks.give.apply_async((MIB + 1,), queue="process")
    ignored = shop.tasks.give.apply_async((2 * MIB,), queue="process", ignore_result=True)

    assert len(fits.get(timeout=PATIENCE)) == MIB - 2
    with pytest.raises(EncodeError, match="store it elsewhere and return where, or set ignore_result=True"):
        large.get(timeout=PATIENCE)
    assert ignored.get(timeout=PATIENCE) is None


# -- nothing is left -------------------------------------------------------------------------------------------------


def test_every_worker_has_its_children_again(shop: Delivery) -> None:
    wanted = {"process": 2, "recycled": 2, "grown": 1}

    workers = {daemon.name: daemon for daemon in shop.daemons}

    def children() -> dict[str, int]:
        return {name: len(workers[name].children()) for name in wanted}

    until(lambda: children() == wanted, "each worker to have as many children as before")
