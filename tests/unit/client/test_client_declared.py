"""What an app declares: entries of beat_schedule and periodic tasks, as the broker is told of them."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from tqbroker import App, codec
from tqbroker.exceptions import ImproperlyConfigured
from tqbroker.schedule_values import Declared, Fields, When
from tqbroker.schedules import cron, crontab, declared, schedule


def app(**settings: Any) -> App:
    made = App("shop", set_as_current=False, **settings)

    @made.task(name="shop.add", queue="sums", priority=4)
    def add(x: int, y: int = 1) -> int:
        return x + y

    return made


def one(made: App, **entry: Any) -> Declared:
    """What becomes of one entry."""
    made.conf.beat_schedule = {"it": {"task": "shop.add", "schedule": 30, "args": (1,), **entry}}
    (only,) = declared(made)
    return only


def test_entries_of_beat_schedule_are_declared() -> None:
    made = app(timezone="Europe/Berlin")
    made.conf.beat_schedule = {
        "b": {"task": "shop.add", "schedule": crontab(hour=7), "args": (1,), "kwargs": {"y": 2}},
        "a": {"task": "elsewhere", "schedule": timedelta(seconds=30), "options": {"queue": "q", "expires": 15}},
    }
    made.conf.beat_schedule["c"] = {"task": "shop.add", "schedule": 5, "args": [1], "relative": True}

    a, b, c = declared(made)

    assert (a.name, a.when, a.head.task, a.head.queue, a.head.expires_in_ms) == (
        "a", When(every_ms=30_000), "elsewhere", "q", 15_000,
    )  # fmt: skip
    assert (b.head.queue, b.head.priority, b.args) == ("sums", 4, codec.encode_call((1,), {"y": 2}))
    assert b.when == When(crontab=Fields("*", "7"), zone="Europe/Berlin")
    assert c.when == When(every_ms=5_000, relative=True)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode([a, b, c]), type=list[Declared]) == [a, b, c]


def test_old_names_and_namespaces_say_the_same() -> None:
    entries = {"it": {"task": "shop.add", "schedule": 30, "args": (1,)}}
    old, spaced = app(), app()
    old.config_from_object({"CELERYBEAT_SCHEDULE": entries})
    spaced.config_from_object({"CELERY_BEAT_SCHEDULE": entries}, namespace="CELERY")

    assert declared(old) == declared(spaced) == declared(app(beat_schedule=entries))


def test_an_app_has_entries_of_its_own() -> None:
    first, second = app(), app()
    first.conf.beat_schedule["it"] = {"task": "shop.add", "schedule": 30}

    assert second.conf.beat_schedule == {}


def test_options_of_an_entry_reach_the_broker() -> None:
    got = one(
        app(),
        zone="Asia/Tokyo", jitter=timedelta(seconds=3), start="2026-01-01T09:00", end=datetime(2027, 1, 1, tzinfo=UTC),
        overlap="queue_one", misfire="all", misfire_max=7, deadline=60, enabled=False,
    )  # fmt: skip

    assert got == got._replace(
        jitter_ms=3000, start_ms=1_767_225_600_000, end_ms=1_798_761_600_000, overlap="queue_one", misfire="all",
        misfire_max=7, deadline_ms=60_000, paused=True,
    )  # fmt: skip


def test_the_zone_is_that_of_the_entry_then_of_the_schedule_then_of_the_app() -> None:
    made = app(timezone="Europe/Berlin")

    assert one(made, schedule=crontab()).when.zone == "Europe/Berlin"
    assert one(made, schedule=crontab(), zone="Asia/Tokyo").when.zone == "Asia/Tokyo"
    assert one(made, schedule=cron("@daily", zone="Asia/Tokyo")).when.zone == "Asia/Tokyo"
    assert one(app(), schedule=crontab()).when.zone == ""
    assert one(app(timezone="UTC"), schedule=crontab()).when.zone == ""
    with pytest.raises(ImproperlyConfigured, match="name two zones"):
        one(made, schedule=cron("@daily", zone="Asia/Tokyo"), zone="UTC")


def test_without_enable_utc_the_zone_is_that_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")

    assert one(app(enable_utc=False), schedule=crontab()).when.zone == "America/New_York"


def test_the_apps_deadline_is_that_of_entries_by_the_clock() -> None:
    made = app(beat_cron_starting_deadline=7200)

    assert one(made, schedule=crontab()).deadline_ms == 7_200_000
    assert one(made, schedule="@daily").deadline_ms == 7_200_000
    assert one(made, schedule=crontab(), deadline=5).deadline_ms == 5_000
    assert one(made, schedule=30).deadline_ms == 0


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"schedule": None}, "'schedule' is missing"),
        ({"task": None}, "'task' is missing"),
        ({"task": 5}, "give the name of a task"),
        ({"shedule": 5}, "'shedule' is unknown: did you mean 'schedule'"),
        ({"schedule": "0 6 * *"}, "is no line of cron"),
        ({"schedule": 0}, "give at least 0.1 seconds"),
        ({"schedule": []}, "is no schedule"),
        ({"args": (1, 2, 3)}, "shop.add"),
        ({"args": "abc"}, "args"),
        ({"args": (object(),)}, "argument 1"),
        ({"args": ("x" * 66_000,)}, "allowed are 65536"),
        ({"zone": "Europe/Berlni"}, "did you mean 'Europe/Berlin'"),
        ({"overlap": "sometimes"}, "use 'allow', 'skip' or 'queue_one'"),
        ({"misfire": "none"}, "use 'latest', 'all' or 'skip'"),
        ({"misfire_max": 5}, "not misfire='all'"),
        ({"misfire": "all", "misfire_max": 10_001}, "from 1 to 10000"),
        ({"jitter": -1}, "jitter=-1"),
        ({"jitter": 32 * 86_400}, "give 0 to 2678400 seconds"),
        ({"start": "soon"}, "start='soon'"),
        ({"start": "2026-01-02", "end": "2026-01-01"}, "is not behind start"),
        ({"enabled": "no"}, "use True or False"),
        ({"options": {"eta": "2026-01-01"}}, "write start="),
        ({"options": {"expires": "2026-01-01"}}, "give seconds, or end="),
        ({"options": {"task_id": "x"}}, "each firing makes a job of its own"),
        ({"options": {"unique_until": "finished"}}, "write overlap='skip'"),
        ({"options": {"link": {"task": "x"}}}, "schedule a task that submits the workflow"),
        ({"options": {"queu": "x"}}, "queu"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_cannot_be_scheduled_is_refused_by_its_name(entry: dict[str, Any], why: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        one(app(), **entry)

    assert str(caught.value).startswith("schedule 'it': ")
    assert why in str(caught.value)


def test_a_unique_task_is_not_scheduled() -> None:
    made = app()
    made.task(name="once", unique_until="finished")(lambda: None)

    with pytest.raises(ImproperlyConfigured, match="once is unique"):
        one(made, task="once", args=())


def test_beat_schedule_is_a_mapping_of_mappings() -> None:
    wrongs: list[Any] = [[], {"a": 5}, None, {1: {}}]
    for wrong in wrongs:
        with pytest.raises(ImproperlyConfigured, match="beat_schedule"):
            app(beat_schedule=wrong)


def test_schedules_need_an_app_with_a_name() -> None:
    nameless = App(set_as_current=False)
    assert declared(nameless) == []

    nameless.conf.beat_schedule["it"] = {"task": "x", "schedule": 5}
    with pytest.raises(ImproperlyConfigured, match="write App"):
        declared(nameless)


# -- periodic tasks ---------------------------------------------------------------------------------------------------


def test_periodic_tasks_are_added_when_the_app_is_ready() -> None:
    made = app()
    order = []

    @made.on_after_finalize.connect
    def last(sender: App, **_: Any) -> None:
        order.append("finalize")

    @made.on_after_configure.connect
    def setup(sender: App, **_: Any) -> None:
        order.append("configure")
        sender.add_periodic_task(10.0, sender.tasks["shop.add"], (1,), expires=5, overlap="skip")
        sender.add_periodic_task(crontab(hour=7), "shop.add", (2,), {"y": 3}, name="seven", queue="other")

    plain, seven = declared(made)[::-1]
    declared(made)

    assert order == ["configure", "finalize"]
    assert (plain.name, plain.when, plain.head.expires_in_ms, plain.overlap) == (
        "shop.add(1)", When(every_ms=10_000), 5_000, "skip",
    )  # fmt: skip
    assert (seven.name, seven.head.queue, seven.args) == ("seven", "other", codec.encode_call((2,), {"y": 3}))


def test_a_signature_gets_arguments_in_front_and_options_over_its_own() -> None:
    made = app()
    sig = {"task": "t", "args": (1,), "kwargs": {"a": 1}, "options": {"queue": "q", "priority": 2}}
    fixed = {**sig, "immutable": True}

    assert made.add_periodic_task(schedule(5), sig, (0,), {"b": 2}, queue="r") == "t(0, 1, a=1, b=2)"
    assert made.add_periodic_task(5, fixed, (0,), {"b": 2}) == "t(1, a=1)"
    fixed_one, one = declared(made)[::-1]

    assert (one.args, one.head.queue, one.head.priority) == (codec.encode_call((0, 1), {"a": 1, "b": 2}), "r", 2)
    assert fixed_one.args == codec.encode_call((1,), {"a": 1})


def test_an_entry_of_beat_schedule_wins_over_a_periodic_task_of_its_name() -> None:
    made = app()
    made.add_periodic_task(5, "t", name="it")
    made.conf.beat_schedule["it"] = {"task": "t", "schedule": 6}

    assert [each.when.every_ms for each in declared(made)] == [6_000]


@pytest.mark.parametrize(
    ("given", "options", "why"),
    [
        ((5, {"task": "celery.chain", "subtask_type": "chain"}), {}, "a chain is not scheduled by itself"),
        ((5, 7), {}, "give a signature"),
        ((None, "t"), {}, "it has no schedule"),
        ((0, "t"), {}, "at least 0.1 seconds"),
        ((5, "t"), {"overlap": "x"}, "overlap='x'"),
        ((5, "t", ("x" * 300,)), {}, "give name="),
    ],
)
def test_a_wrong_periodic_task_is_refused_where_it_stands(given: Any, options: Any, why: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=why):
        app().add_periodic_task(*given, **options)


def test_the_same_call_twice_is_said(caplog: pytest.LogCaptureFixture) -> None:
    made = app()
    with caplog.at_level(logging.WARNING, "tqbroker"):
        made.add_periodic_task(5, "t")
        made.add_periodic_task(6, "t")

    assert "t() replaces another one of that name: give each a name=" in caplog.text


def test_a_name_that_is_given_twice_is_said(caplog: pytest.LogCaptureFixture) -> None:
    made = app()
    for _ in range(2):
        made.add_periodic_task(30, made.tasks["shop.add"].s(1), name="same")  # a module that is imported twice
    assert not caplog.records

    made.add_periodic_task(60, made.tasks["shop.add"].s(1), name="same")
    made.conf.beat_schedule = {"same": {"task": "shop.add", "schedule": 5, "args": (1,)}}
    declared(made)

    assert [record.getMessage() for record in caplog.records] == [
        "periodic task same replaces another one of that name: give each a name= of its own",
        "beat_schedule replaces the periodic tasks of the same names: same",
    ]


def test_an_unknown_zone_of_the_app_is_refused_before_a_worker_starts() -> None:
    with pytest.raises(ImproperlyConfigured, match="timezone='Mars/Olympus' is not known here: write a name such as"):
        declared(app(timezone="Mars/Olympus"))


def test_an_error_in_the_setup_is_raised_and_nothing_is_declared_until_it_is_gone() -> None:
    made = app()
    faults = [ValueError("not yet")]

    @made.on_after_configure.connect
    def setup(sender: App, **_: Any) -> None:
        if faults:
            raise faults.pop()
        sender.add_periodic_task(5, "t", name="it")

    with pytest.raises(ValueError, match="not yet"):
        declared(made)
    assert [each.name for each in declared(made)] == ["it"]
