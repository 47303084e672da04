"""Jobs of which there is only one: by an idempotency key, and by a unique key that follows its job."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.acceptance.harness.waiting import gone, until
from tests.acceptance.harness.workshop import Workshop

from tqbroker.exceptions import NotUniqueError, OperationalError


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """One broker and one worker for what needs no kill."""
    place = Workshop(tmp_path_factory.mktemp("unique"))
    place.broker()
    place.worker()
    yield place
    place.close()


# -- idempotency -----------------------------------------------------------------------------------------------------


def test_the_same_key_and_arguments_are_one_job(shop: Workshop) -> None:
    jobs = [shop.send("step", "paid", idempotency_key="order-1") for _ in range(3)]

    assert len({job.id for job in jobs}) == 1
    assert jobs[0].get(timeout=20) == "paid"
    assert shop.send("step", "paid", idempotency_key="order-1").get(timeout=20) == "paid"
    assert shop.labels(prefix="paid") == ["paid"]


def test_the_same_key_with_other_arguments_is_an_error(shop: Workshop) -> None:
    shop.send("step", "first", idempotency_key="order-2").get(timeout=20)

    with pytest.raises(OperationalError) as refused:
        shop.send("step", "second", idempotency_key="order-2")

    assert refused.value.reason == "ID_CONFLICT"
    assert refused.value.rejected
    assert shop.labels(prefix="second") == []


# -- unique keys -----------------------------------------------------------------------------------------------------


def test_a_second_job_is_rejected_and_names_the_first(shop: Workshop) -> None:
    first = shop.send("step", "u1", unique_until="finished", countdown=3600)

    with pytest.raises(NotUniqueError, match=first.id) as refused:
        shop.send("step", "u1", unique_until="finished")

    assert "u1" not in shop.labels()
    assert refused.value.holder == first
    first.revoke()
    assert shop.send("step", "u1", unique_until="finished").get(timeout=20) == "u1"


def test_a_second_job_with_keep_is_the_first(shop: Workshop) -> None:
    options = {"unique_until": "finished", "unique_on_conflict": "keep", "unique_key": "report"}
    first = shop.send("hold", "u2", **options)
    shop.noted("start", "u2")

    second = shop.send("hold", "u2 again", **options)

    assert second.id == first.id
    shop.open_gate()
    assert second.get(timeout=20) == "u2"
    shop.close_gate()
    assert shop.labels(prefix="u2") == ["u2"]


def test_a_second_job_with_replace_cancels_the_first_while_it_waits(shop: Workshop) -> None:
    options = {"unique_until": "finished", "unique_on_conflict": "replace", "unique_key": "index"}
    first = shop.send("step", "u3 old", countdown=3600, **options)

    second = shop.send("step", "u3 new", **options)

    assert second.get(timeout=20) == "u3 new"
    assert first.state == "REVOKED"


def test_a_running_job_is_not_replaced(shop: Workshop) -> None:
    options = {"unique_until": "finished", "unique_on_conflict": "replace", "unique_key": "long"}
    first = shop.send("hold", "u4", "u4", **options)
    shop.noted("start", "u4")

    with pytest.raises(NotUniqueError, match=first.id):
        shop.send("hold", "u4 new", **options)

    shop.open_gate("u4")
    assert first.get(timeout=20) == "u4"


def test_unique_until_started_lets_the_next_one_wait_behind_the_running_one(shop: Workshop) -> None:
    first = shop.send("hold", "u5", "u5", unique_until="started")
    shop.noted("start", "u5")

    second = shop.send("hold", "u5", "u5", unique_until="started")

    shop.open_gate("u5")
    assert [first.get(timeout=20), second.get(timeout=20)] == ["u5", "u5"]
    assert first.id != second.id


def test_unique_until_queued_is_over_when_the_job_is_due(shop: Workshop) -> None:
    waiting = {"unique_until": "queued", "queue": "nobody takes this"}
    shop.send("step", "u6", **waiting, countdown=3600)
    with pytest.raises(NotUniqueError):
        shop.send("step", "u6", **waiting, countdown=3600)

    shop.send("step", "u7", **waiting)
    shop.send("step", "u7", **waiting)


def test_unique_for_some_seconds_ends_with_them(shop: Workshop) -> None:
    shop.send("step", "u8", unique_for=1.0).get(timeout=20)
    with pytest.raises(NotUniqueError):
        shop.send("step", "u8", unique_for=1.0)

    def again() -> bool:
        try:
            shop.send("step", "u8", unique_for=1.0).get(timeout=20)
        except NotUniqueError:
            return False
        return True

    until(again, "the key to be free")


# -- over kills ------------------------------------------------------------------------------------------------------


def test_a_key_follows_its_job_over_kills_of_broker_and_worker(workshop: Workshop) -> None:
    broker = workshop.broker("--grace", "0.3")
    worker = workshop.worker(name="first")
    first = workshop.send("hold", "k", unique_until="finished")
    workshop.noted("start", "k")

    workshop.restart(broker)
    with pytest.raises(NotUniqueError, match=first.id):
        workshop.send("hold", "k", unique_until="finished")

    workshop.wire.connected(worker.pid)
    children = worker.children()
    worker.kill()
    gone(children)
    with pytest.raises(NotUniqueError, match=first.id):
        workshop.send("hold", "k", unique_until="finished")

    workshop.worker(name="second")
    workshop.open_gate()
    assert first.get(timeout=30) == "k"
    assert workshop.send("hold", "k", unique_until="finished").get(timeout=20) == "k"


def test_a_key_ends_with_a_job_that_ends_as_a_dead_letter(workshop: Workshop) -> None:
    workshop.broker()
    workshop.worker()
    first = workshop.send("fragile", "d", "broken", unique_until="finished", unique_key="d")
    assert isinstance(first.get(timeout=20, propagate=False), ValueError)

    assert workshop.send("step", "d", unique_until="finished", unique_key="d").get(timeout=20) == "d"
