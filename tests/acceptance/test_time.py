"""Delays and expiries as callers write them; all of that time is the broker's and survives its death."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.delivery import Delivery, delivery
from tests.acceptance.harness.waiting import PATIENCE, until

from tqbroker import AsyncResult
from tqbroker.exceptions import TaskRevokedError
from tqbroker.ids import key_of, text_of
from tqbroker.operations import JobFilter, Move, Reschedule
from tqbroker.states import Phase

YEAR = 365 * 86_400
LATE = 10.0
"""Seconds that a due job may wait for its turn on a loaded machine."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivery]:
    with delivery(tmp_path_factory.mktemp("time")) as place:
        place.broker()
        place.worker()
        yield place


def changed(place: Delivery, job: AsyncResult[float], change: Move | Reschedule) -> str:
    (done,) = place.app.operator.edit([key_of(job.id)], change)
    assert not done.refusal
    return done.effect


# -- start no earlier ------------------------------------------------------------------------------------------------


def test_every_way_to_write_a_moment_is_that_moment_and_no_earlier(shop: Delivery) -> None:
    when, tokyo = shop.tasks.when, ZoneInfo("Asia/Tokyo")
    due = datetime.now(UTC) + timedelta(seconds=1.5)
    moments = {
        "aware": due,
        "another zone": due.astimezone(tokyo),
        "naive, which is UTC": due.replace(tzinfo=None),
        "text": due.isoformat(),
    }
    jobs = {name: when.apply_async(eta=moment) for name, moment in moments.items()}
    begun = time.time()
    jobs["countdown"] = when.apply_async(countdown=1.5)
    jobs["timedelta"] = when.apply_async(countdown=timedelta(seconds=1.5))

    assert {job.state for job in jobs.values()} == {"PENDING"}
    assert {job.phase for job in jobs.values()} == {Phase.SCHEDULED}
    for name, job in jobs.items():
        least = begun + 1.5 if name in ("countdown", "timedelta") else due.timestamp()
        late = job.get(timeout=PATIENCE) - least
        assert -0.002 <= late < LATE, (name, late)  # moments on the wire are whole milliseconds


def test_a_naive_moment_is_in_the_zone_of_the_app(shop: Delivery) -> None:
    tokyo = ZoneInfo("Asia/Tokyo")
    due = datetime.now(tokyo).replace(microsecond=0) + timedelta(days=1)

    shop.app.conf.timezone = "Asia/Tokyo"
    try:
        job = shop.tasks.when.apply_async(eta=due.replace(tzinfo=None))
    finally:
        shop.app.conf.timezone = "UTC"

    assert shop.app.operator.job(key_of(job.id)).due_ms == int(due.timestamp() * 1000)
    job.revoke()


def test_a_moment_that_has_passed_is_now(shop: Delivery) -> None:
    job = shop.tasks.when.apply_async(eta=datetime.now(UTC) - timedelta(days=400))

    assert abs(time.time() - job.get(timeout=PATIENCE)) < LATE


@pytest.mark.parametrize("delay", [{"countdown": -1}, {"countdown": float("nan")}, {"eta": "soon"}, {"countdown": "1"}])
def test_what_is_no_delay_is_refused_before_anything_is_sent(shop: Delivery, delay: dict[str, object]) -> None:
    with pytest.raises((TypeError, ValueError), match=next(iter(delay))):
        shop.tasks.when.apply_async(**delay)


# -- years -----------------------------------------------------------------------------------------------------------


def test_a_job_for_years_ahead_waits_in_the_broker_and_not_in_a_worker(shop: Delivery) -> None:
    far = shop.tasks.when.apply_async(countdown=30 * YEAR, queue="far")
    near = shop.tasks.when.apply_async(countdown=2 * YEAR, queue="far")

    listed = list(shop.app.operator.jobs(JobFilter(phases=frozenset({Phase.SCHEDULED}), queue="far")))
    assert [text_of(job.key) for job in listed] == [near.id, far.id]  # in the order they fall due
    assert abs(listed[1].due_ms / 1000 - time.time() - 30 * YEAR) < 60
    held = shop.app.control.inspect().scheduled()
    assert [each["request"]["id"] for each in held["broker"]] == [near.id, far.id]
    assert shop.app.control.inspect().reserved() == {"worker@test": []}
    far.revoke()
    near.revoke()
    assert far.state == near.state == "REVOKED"


def test_a_scheduled_job_is_moved_and_keeps_its_moment(shop: Delivery) -> None:
    job = shop.tasks.when.apply_async(countdown=YEAR, queue="elsewhere")
    due_ms = shop.app.operator.job(key_of(job.id)).due_ms

    changed(shop, job, Move("default", 9))

    moved = shop.app.operator.job(key_of(job.id))
    assert (moved.queue, moved.priority, moved.phase, moved.due_ms) == ("default", 9, Phase.SCHEDULED, due_ms)
    changed(shop, job, Reschedule())
    assert abs(time.time() - job.get(timeout=PATIENCE)) < LATE


def test_a_scheduled_job_is_given_another_moment(shop: Delivery) -> None:
    job = shop.tasks.when.apply_async(countdown=YEAR)
    due = time.time() + 0.5

    changed(shop, job, Reschedule(int(due * 1000)))

    assert -0.002 <= job.get(timeout=PATIENCE) - due < LATE


# -- start no later --------------------------------------------------------------------------------------------------


def test_a_job_that_is_not_started_in_time_expires(shop: Delivery) -> None:
    when, soon = shop.tasks.when, datetime.now(UTC) + timedelta(seconds=0.2)
    jobs = [
        when.apply_async(expires=0.2, queue="nobody"),
        when.apply_async(expires=timedelta(seconds=0.2), queue="nobody"),
        when.apply_async(expires=soon, queue="nobody"),
        when.apply_async(expires=soon.replace(tzinfo=None), queue="nobody"),
        when.apply_async(expires=0.2, countdown=3600),
        shop.tasks.brief.apply_async(queue="nobody"),
    ]

    for job in jobs:
        with pytest.raises(TaskRevokedError, match="expired"):
            job.get(timeout=PATIENCE)
        assert (job.state, job.phase) == ("REVOKED", Phase.EXPIRED)


def test_a_job_that_is_started_in_time_does_not_expire(shop: Delivery) -> None:
    job = shop.tasks.wait.apply_async(("expired",), expires=1.5)
    until(lambda: job.phase is Phase.RUNNING, "the job to start")
    other = shop.tasks.when.apply_async(expires=1.5, queue="nobody")
    with pytest.raises(TaskRevokedError):
        other.get(timeout=PATIENCE)

    shop.open("expired")
    assert job.get(timeout=PATIENCE) == "expired"


# -- a broker that dies ----------------------------------------------------------------------------------------------


def kill_and_start(place: Delivery, broker: Daemon) -> None:
    broker.kill()
    place.started(broker)


def test_jobs_due_while_the_broker_is_killed_again_and_again_run_once_each(folder: Path) -> None:
    with delivery(folder) as place:
        broker = place.broker()
        place.worker()
        begun = time.monotonic()
        calls = [
            {"args": (number,), "countdown": 1 + number / 100, "expires": 3600 if number % 3 else None}
            for number in range(400)
        ]
        jobs = place.tasks.mark.apply_async_many(calls)
        for moment in (1.0, 2.3, 3.6):
            time.sleep(max(0.0, begun + moment - time.monotonic()))
            kill_and_start(place, broker)

        finals = place.wire.finals([job.id for job in jobs], timeout=60)

        assert {job.id: job.get(timeout=PATIENCE) for job in jobs} == {job.id: n for n, job in enumerate(jobs)}
        assert Counter(line["number"] for line in place.trace()) == dict.fromkeys(range(400), 1)
        assert {status.lost_leases for status in finals.values()} == {0}


def test_a_job_that_fell_due_while_the_broker_was_down_runs_when_it_is_back(folder: Path) -> None:
    with delivery(folder) as place:
        broker = place.broker()
        place.worker()
        job = place.tasks.when.apply_async(countdown=1)
        brief = place.tasks.when.apply_async(countdown=0.9, expires=1.2)
        due = time.time() + 1
        broker.kill()
        time.sleep(max(0.0, due + 0.5 - time.time()))
        back = time.time()
        place.started(broker)

        assert job.get(timeout=PATIENCE) >= back
        with pytest.raises(TaskRevokedError, match="expired"):
            brief.get(timeout=PATIENCE)
