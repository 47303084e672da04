"""Schedules to the wire and back, and what users see of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from tqbroker import App
from tqbroker.schedule_info import info_of
from tqbroker.schedule_messages import declared_message, schedule_message, schedule_state
from tqbroker.schedule_values import Declared, FiringInfo, ScheduleState
from tqbroker.schedules import cron, crontab, declared, schedule
from tqbroker.v1 import schedule_pb2 as pb


def declared_by(entry: dict[str, Any]) -> Declared:
    app = App("shop", set_as_current=False, timezone="Europe/Berlin")
    app.conf.beat_schedule = {"it": {"task": "shop.add", "args": (1,), **entry}}
    (only,) = declared(app)
    return only


ENTRIES: list[dict[str, Any]] = [
    {"schedule": 30, "relative": True},
    {"schedule": crontab(minute="*/15", day_of_week="mon-fri"), "zone": "Asia/Tokyo", "enabled": False},
    {"schedule": cron("0 6 1,15 * mon"), "overlap": "skip", "misfire": "all", "misfire_max": 5, "deadline": 60},
    {
        "schedule": 1,
        "jitter": 0.5,
        "start": "2026-01-01",
        "end": "2027-01-01",
        "overlap": "queue_one",
        "misfire": "skip",
        "options": {
            "queue": "q", "priority": 3, "expires": 5, "countdown": 2, "headers": {"a": 1}, "serializer": "msgpack",
            "tenant": "t", "limits": ["l"], "stamps": {"s": 1}, "time_limit": 9, "soft_time_limit": 3, "shadow": "x",
        },
    },
]  # fmt: skip


@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_what_is_declared_comes_back_as_it_was(entry: dict[str, Any]) -> None:
    sent = declared_by(entry)
    message = pb.Schedule.FromString(schedule_message(sent).SerializeToString())

    assert schedule_state(pb.ScheduleInfo(schedule=message)) == ScheduleState(sent, "")


def test_what_came_through_another_process_is_the_same_message() -> None:
    sent = declared_by({"schedule": 30})
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=Declared)

    assert schedule_message(again) == schedule_message(sent)
    assert not schedule_message(again).job.HasField("traits")
    assert declared_message("shop", [again]).app == "shop"


def test_a_schedule_is_shown_with_moments_and_as_it_could_be_written() -> None:
    app = App("shop", set_as_current=False)
    sent = declared_by({**ENTRIES[1], "misfire": "all", "start": "2026-01-01T00:00+00:00"})
    state = ScheduleState(
        sent, "app shop", last_ms=1_767_225_600_000, fired=3, skipped=1,
        recent=(FiringInfo(1_767_225_600_000, "a"), FiringInfo(1_767_225_600_001, "")),
    )  # fmt: skip

    info = info_of(app, state)

    new_year = datetime(2026, 1, 1, tzinfo=UTC)
    assert info.schedule == crontab(minute="*/15", day_of_week="mon-fri")
    assert (info.name, info.task, info.args, info.kwargs, info.zone) == ("it", "shop.add", (1,), {}, "Asia/Tokyo")
    assert (info.source, info.paused, info.fired, info.skipped) == ("app shop", True, 3, 1)
    assert (info.next, info.last) == (None, new_year)
    assert info.options == {"start": new_year, "misfire": "all", "misfire_max": 100}
    assert [(each.planned.timestamp(), each.job and each.job.id) for each in info.recent] == [
        (1_767_225_600.0, "a"), (1_767_225_600.001, None),
    ]  # fmt: skip


def test_kinds_are_shown_as_they_could_be_written() -> None:
    app = App("shop", set_as_current=False)
    kinds = [schedule(30, relative=True), crontab(hour=3), cron("@daily")]
    states = [ScheduleState(declared_by({"schedule": kind}), "") for kind in kinds]

    shown = [info_of(app, state).schedule for state in states]

    assert shown == [schedule(30), crontab(hour=3), cron("@daily", zone="Europe/Berlin")]
    assert isinstance(shown[0], schedule)
    assert shown[0].relative
