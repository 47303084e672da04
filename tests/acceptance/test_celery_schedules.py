"""An app with periodic tasks as Celery's documentation writes them, with a real broker and worker."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.delivery import Delivery, delivery
from tests.acceptance.harness.waiting import PATIENCE, until

from tqbroker.exceptions import ImproperlyConfigured
from tqbroker.schedules import crontab, schedule, solar

MONDAYS = crontab(hour=7, minute=30, day_of_week=1)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivery]:
    """The worker is started with the options of one that has a beat in it."""
    with delivery(tmp_path_factory.mktemp("beat"), "beat") as place:
        place.broker()
        place.worker("-Q", "default,mail", "-l", "info", "-B", "-s", "celerybeat-schedule")
        until(lambda: len(place.app.schedules.list()) == len(DECLARED), "the app's schedules")
        yield place


DECLARED: dict[str, Any] = {
    "add-every-30-seconds": schedule(30),
    "add-every-monday-morning": MONDAYS,
    "hourly": schedule(timedelta(hours=1), relative=True),
    "office hours": crontab(
        minute="*/15", hour="8-17/2", day_of_month="1-7,15-21", month_of_year="*", day_of_week="mon-fri"
    ),
    "often": schedule(7200),
    "add every 10": schedule(10),
    "finalized": schedule(3600),
    "tasks.say('world')": schedule(30),
    "tasks.say('Happy Mondays!')": MONDAYS,
}


def test_all_that_the_app_declares_is_in_the_broker(shop: Delivery) -> None:
    known = {each.name: each.schedule for each in shop.app.schedules.list()}

    assert known == DECLARED
    assert {each.zone for each in shop.app.schedules.list() if isinstance(each.schedule, crontab)} == {"Europe/London"}
    assert {each.source for each in shop.app.schedules.list()} == {"app proj"}


VALUES: dict[str, Any] = {
    "add-every-30-seconds": 32,
    "add-every-monday-morning": 32,
    "hourly": ["hourly", "mail", 7, {"a": 1}, True],
    "office hours": 2,
    "add every 10": "hello",
    "tasks.say('world')": "world",
    "finalized": "finalized",
}


@pytest.mark.parametrize("name", VALUES)
def test_an_entry_calls_its_task_with_its_arguments_and_options(shop: Delivery, name: str) -> None:
    assert shop.app.schedules.run(name).get(timeout=PATIENCE) == VALUES[name]


def test_both_days_of_a_crontab_must_match(shop: Delivery) -> None:
    found = shop.app.schedules.next("office hours", 100, after="2031-03-30")

    assert all(each.weekday() < 5 and (each.day <= 7 or 15 <= each.day <= 21) for each in found)
    assert [each.hour for each in found[:5]] == [8, 8, 8, 8, 10]
    assert found[0].utcoffset() == timedelta(hours=1)  # it is summer in London


def test_a_crontab_has_the_deadline_of_the_app(shop: Delivery) -> None:
    options = {each.name: each.options for each in shop.app.schedules.list()}

    assert options["add-every-monday-morning"] == {"deadline": 60.0}
    assert options["add-every-30-seconds"] == {}


def test_what_a_beat_would_have_needed_is_named_in_the_log_with_a_reason(shop: Delivery) -> None:
    worker: Daemon = next(daemon for daemon in shop.daemons if daemon.name == "worker")
    settings = ("beat_scheduler", "beat_schedule_filename", "beat_sync_every", "beat_max_loop_interval")
    for name in (*settings, "--beat", "--schedule-filename"):
        worker.expect(name)
    assert shop.tqbroker("-A", "tasks", "beat", "-S", "celery.beat:PersistentScheduler").returncode == 0
    assert not (shop.project / "celerybeat-schedule").exists()


def test_the_sun_is_refused_with_what_to_write() -> None:
    with pytest.raises(ImproperlyConfigured, match="the broker has no almanac"):
        solar("sunset", -37.81753, 144.96715)
