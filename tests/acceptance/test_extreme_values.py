"""Numbers and texts too large or too strange for the way: an error where they are given, and no job suffers by it."""

from __future__ import annotations

from collections.abc import Iterator
from queue import SimpleQueue
from threading import Thread
from time import sleep
from typing import Any

import pytest
from tests.acceptance.harness.delivery import Delivery, delivery
from tests.acceptance.harness.waiting import PATIENCE
from tests.proof.wallclock import WallClock

from tqbroker.ids import new_keys, text_of

HOURS = 30
"""More than the wire's column of run times can tell."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivery]:
    with delivery(tmp_path_factory.mktemp("extremes")) as place:
        place.broker()
        clock = WallClock(place.folder / "clock")
        place.worker(**clock.environment)
        yield place


def well(place: Delivery) -> None:
    """The worker goes on: all that it has to tell reaches the broker."""
    assert place.tasks.mark.delay(1).get(timeout=PATIENCE) == 1


@pytest.mark.parametrize("succeeds", [True, False])
def test_a_job_that_runs_for_more_than_a_day_tells_its_end_and_it_is_kept(shop: Delivery, succeeds: bool) -> None:
    job = shop.tasks.live.delay(HOURS * 3_600_000, succeeds)

    value = job.get(timeout=PATIENCE, propagate=False)

    assert value == HOURS if succeeds else isinstance(value, RuntimeError)
    assert job.retries == job.lost_leases == 0
    broker = shop.daemons[0]
    broker.kill()
    shop.started(broker)
    kept = shop.app.AsyncResult(job.id)
    assert kept.state == ("SUCCESS" if succeeds else "FAILURE")
    assert repr(kept.get(timeout=PATIENCE, propagate=False)) == repr(value)
    well(shop)


@pytest.mark.parametrize("raised", [False, True])
@pytest.mark.parametrize("delay", ["inf", "nan", "-inf", "1e10", "1e12", "1e17", "1e300", "[]", "'never'", "10**400"])
def test_a_retry_after_no_time_that_there_is_fails_the_job_and_says_so(
    shop: Delivery, delay: str, raised: bool
) -> None:
    job = shop.tasks.later.delay(delay, raised)

    with pytest.raises(ValueError, match=r"is not allowed|isoformat"):
        job.get(timeout=PATIENCE)
    well(shop)


STRANGE = "caf\udce9"
"""A file name of another encoding, as `os.listdir` gives it."""


@pytest.mark.parametrize("how", ["raise", "raise kind", "retry", "Retry", "state", "note", "twice", "repr", "reject"])
def test_a_text_that_is_no_unicode_ends_no_worker(shop: Delivery, how: str) -> None:
    job = shop.tasks.strange.delay(how)

    job.get(timeout=PATIENCE, propagate=False)

    assert job.lost_leases == 0
    well(shop)


@pytest.mark.parametrize("option", ["time_limit", "soft_time_limit", "expires", "result_expires", "unique_for"])
def test_the_longest_time_that_an_option_takes_harms_no_job(shop: Delivery, option: str) -> None:
    options: dict[str, Any] = {option: 10_000_000_000 - 1}

    assert shop.tasks.mark.apply_async((7,), **options).get(timeout=PATIENCE) == 7
    well(shop)


@pytest.mark.parametrize("timeout", [1e10, 1e300, float("inf")])
def test_who_waits_for_longer_than_any_clock_runs_gets_the_result_and_so_do_others(
    shop: Delivery, timeout: float
) -> None:
    assert shop.tasks.mark.apply_async((7,), countdown=0.3).get(timeout=timeout) == 7
    well(shop)


def test_a_timeout_that_is_no_number_is_refused(shop: Delivery) -> None:
    job = shop.tasks.mark.apply_async((7,), countdown=0.3)

    with pytest.raises(ValueError, match="timeout=nan is not allowed"):
        job.get(timeout=float("nan"))
    assert job.get(timeout=PATIENCE) == 7


@pytest.fixture(scope="module", params=["process", "thread", "asyncio", "solo"])
def pool(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Delivery]:
    with delivery(tmp_path_factory.mktemp(request.param)) as place:
        place.broker()
        place.worker("-c", "1", "-P", request.param)
        yield place


@pytest.mark.parametrize("how", ["StopIteration", "NowhereError", "LeavingError", "Retry", "repr", "receiver"])
def test_a_job_of_which_it_is_hard_to_tell_ends_as_it_should_and_its_child_goes_on(pool: Delivery, how: str) -> None:
    before = pool.tasks.who.delay().get(timeout=PATIENCE)

    job = pool.tasks.odd.delay(how)
    value = job.get(timeout=PATIENCE, propagate=False)

    assert job.state == ("SUCCESS" if how in ("repr", "receiver") else "FAILURE")
    if how == "StopIteration":
        assert "StopIteration" in f"{type(value).__name__} {value}"
    assert job.lost_leases == 0
    assert pool.tasks.who.delay().get(timeout=PATIENCE) == before


def test_an_id_with_more_bytes_than_a_broker_keeps_breaks_the_wait_of_nobody_else(shop: Delivery) -> None:
    others = shop.tasks.mark.apply_async((7,), countdown=1)
    heard: SimpleQueue[Any] = SimpleQueue()
    Thread(target=lambda: heard.put(others.get(timeout=PATIENCE, propagate=False)), daemon=True).start()
    others.then(lambda result: heard.put(result.result))

    for _ in range(3):
        with pytest.raises(ValueError, match="384 bytes at most"):
            shop.app.AsyncResult("\U0001f600" * 128).get(timeout=PATIENCE)
        sleep(0.2)

    assert [heard.get(timeout=PATIENCE), heard.get(timeout=PATIENCE)] == [7, 7]


def test_more_jobs_than_a_broker_lets_one_watch_end_the_wait_of_nobody_else(shop: Delivery) -> None:
    others = shop.tasks.mark.apply_async((7,), countdown=3)
    heard: SimpleQueue[Any] = SimpleQueue()
    Thread(target=lambda: heard.put(others.get(timeout=PATIENCE, propagate=False)), daemon=True).start()
    sleep(0.2)

    many = shop.app.ResultSet([shop.app.AsyncResult(text_of(key)) for key in new_keys(100_001)])
    many.then(lambda result: heard.put(len(result)))

    assert sorted([heard.get(timeout=PATIENCE), heard.get(timeout=PATIENCE)]) == [7, 100_001]
