"""Options that people bring from Celery, each with a real broker and worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import uuid4

import pytest
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.delivery import Delivery, delivery
from tests.acceptance.harness.waiting import PATIENCE, until

from tqbroker.exceptions import OperationalError, RemoteError, ResultNotFound

RICH = {"when": datetime(2026, 1, 2, tzinfo=UTC), "day": date(2026, 1, 2), "cost": Decimal("1.10"), "raw": b"\x00"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivery]:
    with delivery(tmp_path_factory.mktemp("options"), "options") as place:
        place.broker()
        place.worker("-Q", "default,mail", "--loglevel", "info")
        yield place


def worker(place: Delivery) -> Daemon:
    return next(daemon for daemon in place.daemons if daemon.name == "worker")


# -- of tasks --------------------------------------------------------------------------------------------------------


def test_name_base_and_bind(shop: Delivery) -> None:
    assert shop.tasks.based.delay(5).get(timeout=PATIENCE) == ["a name of its own", 7, True, 5]
    assert shop.app.send_task("a name of its own", (6,)).get(timeout=PATIENCE)[-1] == 6


def test_typing_compares_arguments_before_they_are_sent_unless_switched_off(shop: Delivery) -> None:
    with pytest.raises(TypeError, match="echo"):
        shop.tasks.echo.delay(1, 2)
    with pytest.raises(TypeError, match="loose"):
        shop.tasks.loose.delay(1, 2).get(timeout=PATIENCE)


@pytest.mark.parametrize("serializer", ["json", "msgpack"])
def test_values_come_through_every_serializer_as_they_were(shop: Delivery, serializer: str) -> None:
    value = {**RICH, "id": uuid4(), "set": {1, 2}, "tuple": (1, "ä")}

    assert shop.tasks.echo.apply_async((value,), serializer=serializer).get(timeout=PATIENCE) == value
    assert shop.tasks.echo_packed.delay(value).get(timeout=PATIENCE) == value


@pytest.mark.parametrize("compression", ["zlib", "gzip", "bzip2", "lzma"])
def test_what_is_too_large_may_fit_compressed(shop: Delivery, compression: str) -> None:
    large = "x" * 900_000

    job = shop.tasks.echo.apply_async((large,), compression=compression)
    assert job.get(timeout=PATIENCE) == large
    assert shop.tasks.echo_small.delay("x").get(timeout=PATIENCE) == "x"


def test_an_ignored_result_is_none_and_its_state_is_kept(shop: Delivery) -> None:
    jobs = [shop.tasks.silent.delay(), shop.tasks.echo.apply_async((1,), ignore_result=True)]

    assert [job.get(timeout=PATIENCE) for job in jobs] == [None, None]
    assert [job.state for job in jobs] == ["SUCCESS", "SUCCESS"]


def test_a_failure_is_kept_although_its_result_would_be_ignored(shop: Delivery) -> None:
    job = shop.tasks.silent_failure.delay()
    with pytest.raises(ValueError, match="kept"):
        job.get(timeout=PATIENCE)
    assert "silent_failure" in job.traceback


def test_the_log_shows_as_much_of_a_result_as_its_task_says(shop: Delivery) -> None:
    job = shop.tasks.long_result.delay()
    job.get(timeout=PATIENCE)
    worker(shop).expect(f"Task tasks.long_result[{job.id}] succeeded")
    shown = worker(shop).log.text().split(f"[{job.id}] succeeded in ")[1].split('"')[0]
    assert shown.endswith("s: 'xxxxxxxxx...")


def test_models_go_in_and_come_out(shop: Delivery) -> None:
    order = {"number": 1, "price": Decimal("1.10")}
    assert shop.tasks.book.delay(order).get(timeout=PATIENCE) == {"number": 2, "price": "1.10"}
    with pytest.raises(RemoteError, match="number"):
        shop.tasks.book.delay({**order, "number": "one"}).get(timeout=PATIENCE)


def test_a_result_is_kept_as_long_as_its_task_or_call_says(shop: Delivery) -> None:
    jobs = [shop.tasks.forgetful.delay(), shop.tasks.echo.apply_async((1,), result_expires=0.3)]
    for job in jobs:
        assert job.get(timeout=PATIENCE) == 1

    def kept() -> list[str]:
        return [job.id for job in jobs if shop.app.AsyncResult(job.id).exists()]

    until(lambda: not kept(), "both results to be dropped")
    with pytest.raises(ResultNotFound):
        shop.app.AsyncResult(jobs[0].id).get(timeout=PATIENCE)


def test_the_name_to_show_is_worked_out_or_given(shop: Delivery) -> None:
    assert shop.tasks.shadowed.delay("ann").get(timeout=PATIENCE) == "tasks.shadowed for ann"
    assert shop.tasks.shadowed.apply_async(("ann",), shadow="hers").get(timeout=PATIENCE) == "hers"


def test_hooks_may_be_functions(shop: Delivery) -> None:
    assert shop.tasks.hooked.delay().get(timeout=PATIENCE) == "done"
    with pytest.raises(LookupError):
        shop.tasks.hooked_failure.delay().get(timeout=PATIENCE)

    said = worker(shop)
    said.expect("hook of tasks.hooked: done")
    said.expect("end of tasks.hooked: SUCCESS")
    said.expect("failure of tasks.hooked_failure: LookupError('nothing there')")


def test_the_words_for_acknowledgements_mean_what_is_always_so(shop: Delivery) -> None:
    assert shop.tasks.lost_once.delay().get(timeout=PATIENCE) == 1


def test_an_event_of_a_task_is_in_the_log(shop: Delivery) -> None:
    shop.tasks.events.delay().get(timeout=PATIENCE)

    worker(shop).expect("task-halfway")


# -- of calls --------------------------------------------------------------------------------------------------------


def test_headers_and_stamps_as_in_celery(shop: Delivery) -> None:
    job = shop.tasks.headers.apply_async(headers={"lang": "de"}, stamped_headers=["customer"], customer="c-7")

    assert job.get(timeout=PATIENCE) == {"headers": {"lang": "de"}, "stamps": {"customer": ["c-7"]}, "lang": "de"}


def test_the_same_id_is_the_same_job_and_not_another(shop: Delivery) -> None:
    first = shop.tasks.echo.apply_async((1,), task_id="order-17")
    again = shop.tasks.echo.apply_async((1,), task_id="order-17")
    assert first == again
    assert again.get(timeout=PATIENCE) == 1

    with pytest.raises(OperationalError, match="order-17"):
        shop.tasks.echo.apply_async((2,), task_id="order-17")


def test_a_routing_key_finds_its_queue(shop: Delivery) -> None:
    job = shop.tasks.echo.apply_async((1,), exchange="media", routing_key="mail.de")

    assert job.get(timeout=PATIENCE) == 1
    assert job.queue == "mail"


def test_a_policy_says_how_long_a_submit_is_tried(shop: Delivery) -> None:
    nowhere = type(shop.app)("tasks", broker="tq://127.0.0.1:1", set_as_current=False)
    begun = time.monotonic()
    with pytest.raises(OperationalError):
        nowhere.send_task("tasks.echo", (1,), retry_policy={"max_retries": 1, "interval_start": 0.1})
    assert 0.5 < time.monotonic() - begun < 4
    nowhere.close()

    assert shop.tasks.echo.apply_async((1,), retry=True, retry_policy={"max_retries": 3}).get(timeout=PATIENCE) == 1


def test_many_ways_to_call(shop: Delivery) -> None:
    echo = shop.tasks.echo
    calls = [{"args": (3,)}, {"kwargs": {"value": 4}, "priority": 9}]

    jobs = [
        echo.delay(1),
        echo.apply_async(kwargs={"value": 2}),
        *echo.apply_async_many(calls),
        *echo.delay_many([(5,)]),
    ]
    assert [job.get(timeout=PATIENCE) for job in jobs] == [1, 2, 3, 4, 5]
    assert (echo(6), echo.apply((7,)).get()) == (6, 7)


async def test_the_same_ways_for_asyncio(shop: Delivery) -> None:
    echo = shop.tasks.echo
    jobs = [await echo.adelay(1), await echo.aapply_async((2,)), await shop.app.asend_task("tasks.echo", (3,))]

    assert await asyncio.gather(*(job.aget(timeout=PATIENCE) for job in jobs)) == [1, 2, 3]
    await shop.app.aclose()
