"""Schedules with a real broker and worker: declared by an app, added by operators, changed while everything runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from tests.acceptance.harness.waiting import until
from tests.acceptance.harness.workshop import Workshop

from tqbroker import App
from tqbroker.exceptions import OperationalError
from tqbroker.schedules import cron, crontab, schedule

FAILED, USAGE, NOT_FOUND = 1, 2, 3


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """A broker and a worker whose app declares three schedules."""
    place = Workshop(tmp_path_factory.mktemp("schedules"), "schedules")
    try:
        place.broker()
        place.worker()
        until(lambda: "periodic" in names(place), "the app's schedules")
        yield place
    finally:
        place.close()


def names(shop: Workshop) -> list[str]:
    return [each.name for each in shop.app.schedules.list()]


def printed(shop: Workshop, *arguments: str, code: int = os.EX_OK) -> str:
    done = shop.tqbroker("schedules", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr if code else done.stdout.strip()


def data(shop: Workshop, *arguments: str) -> Any:
    return json.loads(printed(shop, *arguments, "--json"))


# -- declared ---------------------------------------------------------------------------------------------------------


def test_an_entry_of_beat_schedule_fires_each_second_once(shop: Workshop) -> None:
    jobs = [note.job for note in shop.noted("start", "second", 3)]
    info = shop.app.schedules.get("second")

    assert (info.source, info.schedule, info.task, info.args) == ("app shop", schedule(1), "tasks.step", ("second",))
    planned = {each.job.id: each.planned for each in info.recent if each.job}
    moments = [planned[job] for job in jobs if job in planned]
    assert all(later - earlier == timedelta(seconds=1) for earlier, later in pairwise(moments))
    assert len(jobs) == len(set(jobs))


def test_a_periodic_task_is_added_when_the_app_is_ready(shop: Workshop) -> None:
    shop.noted("start", "periodic", 2)
    info = shop.app.schedules.get("periodic")

    assert all(each.planned.microsecond == 0 for each in info.recent)
    assert info.source == "app shop"


def test_jobs_of_a_schedule_are_found_by_its_name(shop: Workshop) -> None:
    (first, *_) = shop.noted("start", "second")
    found = json.loads(shop.tqbroker("jobs", "list", "--stamp", "schedule=second", "--json").stdout)

    assert first.job in [job["id"] for job in found]


def test_a_crontab_of_the_app_is_by_its_clock(shop: Workshop) -> None:
    info = shop.app.schedules.get("nightly")

    assert (info.zone, info.schedule) == ("Europe/Berlin", crontab(hour=3, minute=0))
    assert printed(shop, "next", "nightly", "-n", "1", "--after", "2031-07-01").endswith("2031-07-01 03:00:00+02:00")


def test_what_the_app_ceases_to_declare_goes_and_what_operators_have_added_stays(folder: Any) -> None:
    place = Workshop(folder, "schedules")
    try:
        place.broker()
        place.app.schedules.add("by hand", 3600, "tasks.step", ("hand",))
        first = place.worker(TQ_ENTRIES="second nightly")
        until(lambda: names(place) == ["by hand", "nightly", "second"], "the app's schedules")
        place.app.schedules.pause("nightly")

        first.stop()
        place.worker(name="second", TQ_ENTRIES="nightly periodic")
        until(lambda: names(place) == ["by hand", "nightly", "periodic"], "the app's other schedules")

        assert place.app.schedules.get("nightly").paused
        assert place.tqbroker("-A", "tasks", "schedules", "sync", TQ_ENTRIES="none").stdout == "declared nothing\n"
        assert names(place) == ["by hand"]
    finally:
        place.close()


# -- the command line -------------------------------------------------------------------------------------------------


def test_an_operator_adds_pauses_resumes_runs_and_removes(shop: Workshop) -> None:
    added = printed(
        shop, "add", "cli", "tasks.step", '"cli"', "--every", "1s", "--overlap", "skip", "--queue", "default"
    )
    assert added.startswith("cli: next ")
    shop.noted("start", "cli", 2)

    assert printed(shop, "pause", "cli") == "paused cli"
    (shown,) = [each for each in data(shop, "list") if each["name"] == "cli"]
    assert (shown["paused"], shown["next_ms"], shown["source"]) == (True, 0, "operator")
    assert "paused" in printed(shop, "list")

    job = printed(shop, "run", "cli")
    assert shop.app.AsyncResult(job).get(timeout=20) == "cli"

    assert printed(shop, "resume", "cli") == "resumed cli"
    fired = data(shop, "show", "cli")["fired"]
    until(lambda: data(shop, "show", "cli")["fired"] > fired, "the schedule to fire again")
    assert printed(shop, "remove", "cli") == "removed cli"
    assert "cli" not in names(shop)


def test_a_name_that_nobody_knows_has_its_own_exit_code(shop: Workshop) -> None:
    for command in ("pause", "resume", "remove", "run", "show", "next"):
        assert "no schedule" in printed(shop, command, "nope", code=NOT_FOUND)


def test_what_the_broker_cannot_read_is_refused_with_what_is_allowed(shop: Workshop) -> None:
    assert "from 0 to 59" in printed(shop, "next", "--cron", "61 * * * *", code=FAILED)
    assert "from 0 to 59" in printed(shop, "next", "--crontab", "61 * * * *", code=USAGE)


def test_the_next_firings_go_over_a_change_of_the_clock(shop: Workshop) -> None:
    lines = printed(shop, "next", "--cron", "30 2 * * *", "--zone", "Europe/Berlin", "--after", "2026-03-28", "-n", "3")

    assert [line.partition(" ")[2] for line in lines.splitlines()] == [
        "2026-03-28 02:30:00+01:00",
        "2026-03-29 03:00:00+02:00",
        "2026-03-30 02:30:00+02:00",
    ]


def test_a_file_is_checked_and_applied_as_a_whole(shop: Workshop) -> None:
    file = shop.project / "schedules.toml"
    file.write_text(
        '[[schedule]]\nname = "one"\ntask = "tasks.step"\nevery = "1h"\n'
        '[[schedule]]\nname = "two"\ntask = "tasks.step"\ncrontab = "0 8 1-7 * mon"\nzone = "Asia/Tokyo"\n'
    )
    assert printed(shop, "lint", file.name).splitlines()[0] == "one: good"
    assert "two: it fires on days that are both" in printed(shop, "lint", file.name)
    assert "one" not in names(shop)

    assert printed(shop, "apply", file.name) == "applied one, two"
    assert printed(shop, "apply", file.name) == "applied one, two"
    assert shop.app.schedules.get("two").zone == "Asia/Tokyo"

    file.write_text('[[schedule]]\nname = "three"\ntask = "tasks.step"\nevery = 5\n[[schedule]]\nname = "four"\n')
    assert "schedule 'four': task is missing" in printed(shop, "apply", file.name, code=USAGE)
    file.write_text('[[schedule]]\nname = "three"\ntask = "tasks.step"\ncron = "61 * * * *"\n')
    assert "from 0 to 59" in printed(shop, "apply", file.name, code=FAILED)
    lint = shop.tqbroker("schedules", "lint", file.name)
    assert (lint.returncode, "three: refused" in lint.stdout) == (FAILED, True)
    assert "three" not in names(shop)


def test_the_schedules_of_an_app_are_checked(shop: Workshop) -> None:
    assert "second: good" in shop.tqbroker("-A", "tasks", "schedules", "lint").stdout


def test_beat_says_that_there_is_nothing_to_run(shop: Workshop) -> None:
    done = shop.tqbroker("-A", "tasks", "beat", "-l", "info", "-s", "celerybeat-schedule")

    assert (done.returncode, len(done.stdout.splitlines())) == (os.EX_OK, 1)
    assert "schedules live in the broker" in done.stdout


# -- from programs ----------------------------------------------------------------------------------------------------


def test_a_program_adds_a_schedule_and_looks_after_it(shop: Workshop) -> None:
    schedules = shop.app.schedules
    made = schedules.add("mine", cron("@daily"), "tasks.step", ("mine",), zone="Asia/Tokyo", queue="slow", jitter=60)

    assert (made.schedule, made.queue, made.options, made.paused) == (
        cron("@daily", zone="Asia/Tokyo"), "slow", {"jitter": 60.0}, False,
    )  # fmt: skip
    assert schedules.next("mine", 2, after="2031-01-01T00:00+00:00") == [
        datetime(2031, 1, 1, 15, tzinfo=UTC),
        datetime(2031, 1, 2, 15, tzinfo=UTC),
    ]
    assert schedules.run("mine").phase.name == "QUEUED"
    schedules.pause("mine")
    assert schedules.get("mine").next is None
    schedules.resume("mine")
    schedules.remove("mine")
    for call in (schedules.get, schedules.run, schedules.pause, schedules.remove, schedules.next):
        with pytest.raises(OperationalError) as caught:
            call("mine")
        assert caught.value.reason == "NOT_FOUND"


def test_a_program_tells_the_broker_of_its_schedules(shop: Workshop) -> None:
    app = App("other", broker=shop.url, set_as_current=False)
    app.conf.beat_schedule = {"other's": {"task": "tasks.step", "schedule": 3600, "args": ("other",)}}
    assert app.schedules.sync() == ["other's"]
    assert app.schedules.get("other's").source == "app other"

    app.conf.beat_schedule = {}
    assert app.schedules.sync() == []
    assert "other's" not in names(shop)
    assert "second" in names(shop)
    app.close()


def test_a_firing_is_skipped_while_an_earlier_job_runs(shop: Workshop) -> None:
    shop.app.schedules.add("slow", 0.2, "tasks.hold", ("slow",), overlap="skip")
    until(lambda: shop.app.schedules.get("slow").skipped >= 3, "firings to be skipped")
    info = shop.app.schedules.get("slow")
    shop.app.schedules.remove("slow")
    shop.open_gate("slow")

    assert info.fired == 1


CRONTABS = [
    crontab(),
    crontab(minute="*/15"),
    crontab(minute={0, 15, 30, 45}, hour=2),
    crontab(minute="*/30", hour=2),
    crontab(minute="30", hour="2"),
    crontab(minute="1,13,30-45,50-59/2", hour="0,8-17/2"),
    crontab(minute="55-5", hour="22-4"),
    crontab(minute=0, hour="*/3", day_of_week="sun"),
    crontab(minute=0, hour=3, day_of_week="mon-fri"),
    crontab(minute=0, hour=3, day_of_week="fri-mon", day_of_month="25-5"),
    crontab(minute=0, hour=8, day_of_month="1-7,15-21", day_of_week="mon,wed"),
    crontab(minute=0, hour=0, day_of_month=29, month_of_year=2),
    crontab(minute=0, hour=2, day_of_month="2-30/2", month_of_year="jan-apr,oct"),
]


@pytest.mark.parametrize("made", CRONTABS, ids=repr)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Australia/Lord_Howe"])
def test_client_and_broker_mean_the_same_by_a_crontab(shop: Workshop, made: crontab, zone: str) -> None:
    made.app = App("zoned", timezone=zone, set_as_current=False)
    for start in (datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 10, 3, 12, tzinfo=UTC)):
        moment, expected = start, []
        for _ in range(50):
            moment = made._after(moment)
            expected.append(moment)

        found = shop.app.schedules.next(made, 50, after=start, zone=zone)

        assert len(found) > 20  # the broker looks a century ahead
        assert found == expected[: len(found)]
