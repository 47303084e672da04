"""What a task sees of its job, what it says of it, and where a second attempt goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.acceptance.harness.delivery import Delivery, delivery
from tests.acceptance.harness.waiting import PATIENCE, until

from tqbroker.ids import key_of
from tqbroker.result import Progress
from tqbroker.states import Phase, RevokeEffect

POOLS = ("process", "thread", "asyncio", "solo")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivery]:
    """A worker for each pool; the queue is the name of the pool."""
    with delivery(tmp_path_factory.mktemp("inside")) as place:
        place.broker()
        for pool in POOLS:
            slots = "1" if pool == "solo" else "2"
            place.daemon(
                pool, "worker", "-A", "tasks", "-P", pool, "-c", slots, "-n", f"{pool}@test", "-Q", pool
            ).start()
        until(lambda: len(place.wire.workers()) == len(POOLS), "all workers to be connected")
        yield place


# -- what it says ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", POOLS)
def test_state_and_progress_are_seen_while_the_job_runs(shop: Delivery, pool: str) -> None:
    gate = f"found-{pool}"
    job = shop.tasks.report.apply_async((gate,), queue=pool)
    until(lambda: job.progress == Progress(3, 10, "three of ten"), "its progress")

    assert (job.state, job.info) == ("SEARCHING", {"found": 7})
    assert (job.phase, job.result) == (Phase.RUNNING, None)
    running = shop.app.operator.job(key_of(job.id))
    assert 0 < running.submitted_ms <= running.started_ms

    shop.open(gate)
    assert job.get(timeout=PATIENCE) == "all found"
    assert (job.state, job.info) == ("SUCCESS", "all found")


@pytest.mark.parametrize("pool", ["process", "solo"])
def test_a_job_that_is_killed_goes_on_from_its_last_checkpoint(shop: Delivery, pool: str) -> None:
    job = shop.tasks.climb.apply_async((100, 77), queue=pool)

    first, _fence = job.get(timeout=PATIENCE)

    steps = [line["step"] for line in shop.trace(job)]
    assert first == 70
    assert steps == [*range(77), *range(70, 100)]
    assert job.lost_leases == 1


# -- what it sees ----------------------------------------------------------------------------------------------------


def test_a_job_knows_its_call(shop: Delivery) -> None:
    job = shop.tasks.request.apply_async(
        (1, 2),
        {"three": 3},
        queue="process",
        priority=4,
        countdown=0.05,
        expires=3600,
        time_limit=30,
        soft_time_limit=20,
        headers={"trace": "abc"},
        stamps={"customer": "c-7"},
        shadow="ask",
        tenant="acme",
        ordering_key="order-1",
    )
    seen: dict[str, Any] = job.get(timeout=PATIENCE)

    eta, expires = seen.pop("eta"), seen.pop("expires")
    assert eta < expires
    assert seen.pop("delivery_info").items() >= {"routing_key": "process", "priority": 4, "redelivered": False}.items()
    assert seen == {
        "id": job.id,
        "task": "tasks.request",
        "args": (1, 2),
        "kwargs": {"three": 3},
        "retries": 0,
        "lost_leases": 0,
        "attempt": 1,
        "hostname": "process@test",
        "queue": "process",
        "priority": 4,
        "headers": {"trace": "abc"},
        "time_limit": 30,
        "soft_time_limit": 20,
        "timelimit": [30, 20],
        "stamps": {"customer": ["c-7"]},
        "shadow": "ask",
        "tenant": "acme",
        "ordering_key": "order-1",
        "ignore_result": False,
        "correlation_id": job.id,
        "is_eager": False,
        "called_directly": False,
        "root_id": job.id,
        "parent_id": None,
    }


@pytest.mark.parametrize("pool", POOLS)
def test_each_of_many_jobs_at_once_is_its_own_current_task(shop: Delivery, pool: str) -> None:
    plain = [shop.tasks.whoami.apply_async(queue=pool) for _ in range(10)]
    natively = [shop.tasks.awhoami.apply_async(queue=pool) for _ in range(4)]

    assert [job.get(timeout=PATIENCE) for job in plain] == [["tasks.whoami", job.id] for job in plain]
    assert [job.get(timeout=PATIENCE) for job in natively] == [["tasks.awhoami", job.id] for job in natively]


def test_the_fence_rises_with_every_attempt(shop: Delivery) -> None:
    first, second, third = shop.tasks.fences.apply_async(queue="process").get(timeout=PATIENCE)

    assert 0 < first < second < third


# -- what it is told -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", POOLS)
def test_a_running_job_sees_that_it_is_cancelled_and_may_still_end_well(shop: Delivery, pool: str) -> None:
    task = shop.tasks.acooperate if pool == "asyncio" else shop.tasks.cooperate
    job = task.apply_async(queue=pool)
    shop.runs(job)

    effect = job.revoke()

    assert effect is RevokeEffect.RUNNING
    assert job.get(timeout=PATIENCE) == "stopped early"
    assert shop.words(job) == ["cooperate", "cancelled"]
    assert job.state == "SUCCESS"
