"""Schedules in the core: what fires when time passes, stands still or jumps; what operators and apps change."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from tests.unit.broker.harness import TASK, Bench

from tqbroker_broker import calendars, rules
from tqbroker_broker.records import Head, State, Time
from tqbroker_broker.refusals import NotFound, TooLarge
from tqbroker_broker.schedules import (
    MAX_SCHEDULES,
    Crontab,
    Fire,
    FireAnswer,
    Misfire,
    Overlap,
    Schedule,
    ScheduleState,
)
from tqbroker_broker.storage import StoreFull
from tqbroker_broker.storage.memory import MemoryEngine

HEAD = Head(TASK, "default", 0, "json")
HOUR = 3600.0


def schedule(name: str = "tick", **fields: Any) -> Schedule:
    when = {} if fields.keys() & {"every_ms", "cron", "crontab"} else {"every_ms": 1000}
    return Schedule(**{"name": name, "head": HEAD, "args": b"[]", **when, **fields})


async def bench(*schedules: Schedule, **settings: float) -> Bench:
    made = await Bench(None, **settings).open()
    await made.core.scheduler.change(schedules, (), (), ())
    return made


def state(bench: Bench, name: str = "tick") -> ScheduleState:
    return next(each for each in bench.core.scheduler.states() if each.schedule.name == name)


def planned(bench: Bench) -> list[int]:
    """The moments of all jobs in the store, in seconds since the clock began."""
    stamps = [stamp for row in bench.engine.store.jobs.values() for stamp in row.head.traits.stamps]
    moments = [datetime.fromisoformat(stamp[8:]) for stamp in stamps if stamp.startswith("planned=")]
    return sorted(round(moment.timestamp()) - 1_800_000_000 for moment in moments)


async def restarted(before: Bench, *, down: float = 0.0) -> Bench:
    """Another broker over the same store, so many seconds later."""
    after = Bench(store=before.engine.store)
    after.clock.wall_ms, after.clock.mono = before.clock.wall_ms, before.clock.mono
    after.clock.advance(down)
    return await after.open()


# -- firing ------------------------------------------------------------------------------------------------------------


async def test_a_broker_that_stops_does_not_look_without_a_pause_at_what_is_due() -> None:
    site = await bench(schedule())
    await site.core.drain()
    site.clock.advance(5)

    assert await site.core.tick() > 0
    assert planned(site) == []


async def test_every_moment_fires_once_when_it_has_come() -> None:
    site = await bench(schedule())
    await site.pass_time(5.2, step=0.1)

    assert planned(site) == [1, 2, 3, 4, 5]
    assert state(site).fired == 5


async def test_a_tick_is_asked_for_at_the_moment_of_the_next_firing() -> None:
    site = await bench(schedule(every_ms=300))

    assert 0.29 < await site.core.tick() <= 0.3
    assert site.core.scheduler.next_ms == site.clock.wall_ms + 300


async def test_a_new_schedule_brings_the_next_tick_forward() -> None:
    site = await Bench().open()
    await site.core.tick()
    woken: list[None] = []
    site.core.agenda.on_earlier = lambda: woken.append(None)

    await site.core.scheduler.change([schedule(every_ms=100)], (), (), ())

    assert woken
    assert site.core.agenda.left(site.clock.now()) < 0.11


@pytest.fixture
def berlin_is_gone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Call it, and from then on this machine knows no Europe/Berlin, as one with other time zone files."""

    def known(name: str) -> ZoneInfo:
        if name == "Europe/Berlin":
            raise ZoneInfoNotFoundError(name)
        return ZoneInfo(name)

    def remove() -> None:
        calendars.calendar.cache_clear()
        monkeypatch.setattr(calendars, "ZoneInfo", known)

    yield remove
    calendars.calendar.cache_clear()


async def test_a_schedule_whose_time_zone_is_gone_holds_up_no_other_and_is_named(
    berlin_is_gone: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    names = ["a", "b-gone", "c", "d"]
    zones = {"b-gone": "Europe/Berlin"}
    made = [schedule(each, cron="* * * * *", zone=zones.get(each, "UTC")) for each in names]
    before = await bench(*made)
    berlin_is_gone()
    site = await restarted(before, down=61)
    await site.pass_time(600, step=30)

    fired = {each: state(site, each).fired for each in names}
    assert fired["b-gone"] == 0
    assert {fired[each] for each in ("a", "c", "d")} == {fired["a"]}
    assert fired["a"] >= 10
    (told,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "b-gone" in told
    assert "Europe/Berlin" in told

    await site.core.scheduler.change((), ["b-gone"], (), ())
    assert [each.schedule.name for each in site.core.scheduler.states()] == ["a", "c", "d"]


async def test_a_firing_is_handed_to_a_worker_at_once() -> None:
    site = await bench(schedule())
    worker = await (await site.worker().attach()).credit(5)
    await site.pass_time(1, step=0.5)

    assert len(worker.take()) == 1


async def test_a_schedule_with_jitter_fires_later_but_within_it() -> None:
    site = await bench(schedule(jitter_ms=400))
    await site.pass_time(1, step=0.5)
    (row,) = site.engine.store.jobs.values()
    assert (row.state, row.due_ms - 400 < site.clock.wall_ms < row.due_ms) == (State.SCHEDULED, True)

    await site.pass_time(0.4, step=0.1)

    assert row.state is State.QUEUED


# -- time that was missed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "made_up"),
    [
        ({}, [12]),
        ({"misfire": Misfire.ALL}, [3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        ({"misfire": Misfire.ALL, "misfire_max": 4}, [9, 10, 11, 12]),
        ({"misfire": Misfire.SKIP}, []),
        ({"misfire": Misfire.ALL, "deadline_ms": 2500}, [10, 11, 12]),
    ],
)
async def test_what_passed_while_the_broker_was_down_is_made_up_for_as_the_schedule_says(
    fields: dict[str, Any], made_up: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    before = await bench(schedule(**fields))
    await before.pass_time(2, step=0.5)
    with caplog.at_level(logging.INFO, "tqbroker.broker"):
        after = await restarted(before, down=10.2)
        await after.pass_time(1, step=0.1)

    assert planned(after) == [1, 2, *made_up, 13]
    assert state(after).skipped == 10 - len(made_up)
    assert "schedule tick" in caplog.text


async def test_many_missed_firings_are_made_up_for_in_slices_and_all_of_them() -> None:
    before = await bench(schedule(every_ms=100, misfire=Misfire.ALL, misfire_max=1500))
    after = await restarted(before, down=599.95)

    assert await after.core.tick() == 0.0
    assert state(after).fired == 1000
    for _ in range(3):
        await after.core.tick()

    assert (state(after).fired, state(after).skipped) == (1500, 4499)


async def test_a_clock_put_forward_is_one_burst_by_the_policy() -> None:
    site = await bench(schedule(), schedule("skip", misfire=Misfire.SKIP))
    await site.pass_time(1, step=0.5)
    site.clock.wall_ms += 3_600_000
    await site.pass_time(1, step=0.5)

    assert (state(site).fired, state(site).skipped) == (3, 3599)
    assert (state(site, "skip").fired, state(site, "skip").skipped) == (2, 3600)


async def test_a_clock_put_back_repeats_no_firing(caplog: pytest.LogCaptureFixture) -> None:
    site = await bench(schedule())
    await site.pass_time(20, step=0.5)
    site.clock.wall_ms -= 10_000
    await site.pass_time(9.5, step=0.5)
    assert state(site).fired == 20
    assert "put back by 10 s" in caplog.text

    await site.pass_time(2, step=0.5)

    assert planned(site) == list(range(1, 22))


async def test_a_clock_that_goes_back_over_a_restart_repeats_no_firing() -> None:
    before = await bench(schedule())
    await before.pass_time(20, step=0.5)
    after = await restarted(before, down=-15)
    await after.pass_time(16, step=0.5)

    assert planned(after) == list(range(1, 22))


async def test_what_is_made_after_the_clock_went_back_is_on_time() -> None:
    site = await bench()
    await site.pass_time(20, step=0.5)
    site.clock.wall_ms -= 10_000
    await site.core.tick()
    await site.core.scheduler.change([schedule(misfire=Misfire.SKIP)], (), (), ())
    await site.pass_time(2, step=0.5)

    assert state(site).fired == 2


# -- what is in the way ------------------------------------------------------------------------------------------------


class Full(MemoryEngine):
    """An engine that has no room for firings while `full`."""

    full = True

    async def fire(self, fires: Sequence[Fire], now: Time) -> list[FireAnswer]:
        if self.full:
            raise StoreFull("no room")
        return await super().fire(fires, now)


@pytest.mark.parametrize(
    ("misfire", "fired", "skipped"), [(Misfire.LATEST, 2, 3), (Misfire.ALL, 5, 0), (Misfire.SKIP, 1, 4)]
)
async def test_while_the_store_is_full_firings_wait_and_are_then_missed_ones(
    misfire: Misfire, fired: int, skipped: int, caplog: pytest.LogCaptureFixture
) -> None:
    site = Bench()
    site.engine.__class__ = Full
    await site.open()
    await site.core.scheduler.change([schedule(misfire=misfire)], (), (), ())
    await site.pass_time(4.5, step=0.5)
    assert state(site).fired == 0
    assert caplog.text.count("have to wait") == 1
    assert await site.core.tick() > 0

    site.engine.full = False  # type: ignore[attr-defined]
    await site.pass_time(0.5, step=0.5)

    assert (state(site).fired, state(site).skipped) == (fired, skipped)


async def test_a_broker_that_stops_fires_nothing_any_more() -> None:
    site = await bench(schedule())
    await site.core.drain()
    await site.pass_time(3)

    assert planned(site) == []


async def test_with_skip_a_firing_waits_for_nobody_and_nothing_piles_up(caplog: pytest.LogCaptureFixture) -> None:
    site = await bench(schedule(overlap=Overlap.SKIP))
    with caplog.at_level(logging.INFO, "tqbroker.broker"):
        await site.pass_time(4, step=0.5)

    assert (state(site).fired, state(site).skipped) == (1, 3)
    assert "tick skips 2027-01-15T08:00:02Z" in caplog.text


async def test_jobs_that_make_room_for_a_firing_are_told_of() -> None:
    dropping = rules.QueueRule(max_length=1, overflow=rules.Overflow.DROP_OLDEST)
    site = await bench(schedule())
    await site.core.orders.change_queue("default", lambda _: dropping)
    (job,) = await site.enqueue(1)
    watcher = site.watch(job)
    await site.pass_time(1, step=0.5)

    assert watcher.take(9) == [job]


# -- operators ---------------------------------------------------------------------------------------------------------


async def test_pausing_lets_firings_go_by_without_counting_them() -> None:
    site = await bench(schedule())
    scheduler = site.core.scheduler
    await site.pass_time(2, step=0.5)
    await scheduler.change((), (), ["tick"], ())
    await site.pass_time(5, step=0.5)
    assert (state(site).next_ms, site.core.scheduler.next_ms) == (0, 0)
    await scheduler.change((), (), (), ["tick"])
    await site.pass_time(1, step=0.5)

    assert planned(site) == [1, 2, 8]
    assert state(site).skipped == 0


async def test_a_version_that_fires_at_the_same_times_goes_on_where_the_old_one_was() -> None:
    site = await bench(schedule())
    await site.pass_time(2, step=0.5)
    before = state(site)
    await site.core.scheduler.change([schedule(args=b"[1]", overlap=Overlap.SKIP)], (), (), ())
    after = state(site)

    assert (after.born_ms, after.last_ms, after.next_ms, after.fired) == (
        before.born_ms,
        before.last_ms,
        before.next_ms,
        2,
    )
    assert after.schedule.args == b"[1]"


async def test_a_version_that_fires_at_other_times_begins_anew() -> None:
    site = await bench(schedule(every_ms=60_000))
    await site.pass_time(61)
    await site.core.scheduler.change([schedule(every_ms=2000)], (), (), ())
    assert (state(site).last_ms, state(site).next_ms) == (0, site.clock.wall_ms + 2000)

    await site.pass_time(4)

    assert planned(site) == [60, 63, 65]


async def test_a_later_end_revives_a_schedule_from_now_on() -> None:
    site = await bench(schedule(end_ms=1_800_000_002_500))
    await site.pass_time(10)
    assert (planned(site), state(site).next_ms) == ([1, 2], 0)
    await site.core.scheduler.change([schedule(end_ms=1_800_000_012_500)], (), (), ())
    await site.pass_time(10)

    assert planned(site) == [1, 2, 11, 12]


async def test_names_that_are_not_there_change_nothing() -> None:
    site = await bench(schedule())
    for change in (((), ["no"], (), ()), ((), (), ["no"], ()), ([schedule("new")], (), (), ["no"])):
        with pytest.raises(NotFound, match="no schedule 'no'"):
            await site.core.scheduler.change(*change)
    assert len(site.core.scheduler.states()) == 1


async def test_there_can_be_so_many_schedules() -> None:
    site = await bench(*(schedule(str(n), cron="@daily") for n in range(MAX_SCHEDULES)))
    with pytest.raises(TooLarge, match="10000 schedules"):
        await site.core.scheduler.change([schedule("one more")], (), (), ())
    await site.core.scheduler.change([schedule("one more")], ["0"], (), ())


async def test_changes_and_firings_take_turns() -> None:
    site = await bench(schedule())
    scheduler = site.core.scheduler
    site.clock.advance(1)
    await asyncio.gather(
        site.core.tick(),
        scheduler.change([schedule(args=b"[1]")], (), (), ()),
        scheduler.change((), (), ["tick"], ()),
    )

    assert (state(site).fired, state(site).last_ms, state(site).schedule.paused) == (1, 1_800_000_001_000, True)


async def test_a_job_out_of_turn_has_the_name_of_its_schedule_and_no_moment() -> None:
    site = await bench(schedule(paused=True, countdown_ms=500))
    jobs = site.core.scheduler.job_now("tick", b"i" * 16, site.clock.now())

    assert jobs.head.traits.stamps == ("schedule=tick",)
    assert jobs.due_ms == site.clock.wall_ms + 500
    with pytest.raises(NotFound):
        site.core.scheduler.job_now("no", b"i" * 16, site.clock.now())


# -- apps --------------------------------------------------------------------------------------------------------------


def names(bench: Bench) -> dict[str, str]:
    return {each.schedule.name: each.source for each in bench.core.scheduler.states()}


async def test_an_app_adds_changes_and_removes_what_it_has_declared_and_nothing_else() -> None:
    site = await bench(schedule("mine"))
    declare = site.core.scheduler.declare
    await declare("shop", [schedule("a"), schedule("b"), schedule("mine", every_ms=7000)])
    await declare("mail", [schedule("c"), schedule("a", every_ms=7000)])
    assert names(site) == {"a": "app shop", "b": "app shop", "c": "app mail", "mine": "operator"}
    assert {state(site, name).schedule.every_ms for name in names(site)} == {1000}

    await declare("shop", [schedule("b", every_ms=5000)])
    assert names(site) == {"b": "app shop", "c": "app mail", "mine": "operator"}
    assert state(site, "b").schedule.every_ms == 5000

    await declare("shop", [])
    assert names(site) == {"c": "app mail", "mine": "operator"}


async def test_declaring_the_same_again_writes_nothing() -> None:
    site = await bench()
    await site.core.scheduler.declare("shop", [schedule()])
    await site.pass_time(2, step=0.5)
    before = state(site)
    written = site.engine.store.schedules["tick"]

    await site.core.scheduler.declare("shop", [schedule()])

    assert state(site) == before
    assert site.engine.store.schedules["tick"] is written


async def test_a_pause_by_hand_outlives_declarations_until_the_app_says_the_same() -> None:
    site = await bench()
    scheduler = site.core.scheduler
    await scheduler.declare("shop", [schedule()])
    await scheduler.change((), (), ["tick"], ())
    await scheduler.declare("shop", [schedule()])
    await scheduler.declare("shop", [schedule(args=b"[1]")])
    assert (state(site).schedule.paused, state(site).schedule.args) == (True, b"[1]")

    await scheduler.declare("shop", [schedule(paused=True)])
    await scheduler.declare("shop", [schedule()])
    assert not state(site).schedule.paused


async def test_what_an_app_declares_paused_can_be_resumed_by_hand_for_good() -> None:
    site = await bench()
    scheduler = site.core.scheduler
    await scheduler.declare("shop", [schedule(paused=True)])
    await scheduler.change((), (), (), ["tick"])
    await scheduler.declare("shop", [schedule(paused=True)])
    assert not state(site).schedule.paused

    await scheduler.change((), (), ["tick"], ())
    await scheduler.declare("shop", [schedule()])
    assert not state(site).schedule.paused


async def test_what_an_operator_puts_over_a_declared_one_is_the_operators() -> None:
    site = await bench()
    scheduler = site.core.scheduler
    await scheduler.declare("shop", [schedule()])
    await scheduler.change([schedule(every_ms=9000)], (), (), ())
    await scheduler.declare("shop", [])

    assert names(site) == {"tick": "operator"}


async def test_a_worker_brings_the_schedules_of_its_app() -> None:
    site = await bench()
    worker = site.worker()
    worker.hello = worker.hello._replace(declared=("shop", [schedule()]))
    await worker.attach()
    await site.worker("w2").attach()

    assert names(site) == {"tick": "app shop"}


# -- a year ------------------------------------------------------------------------------------------------------------

BERLIN = ZoneInfo("Europe/Berlin")


async def test_a_year_of_ten_schedules_takes_less_than_two_seconds() -> None:
    """From one moment to the next, with everything else a tick does; nobody does the jobs, so they expire."""
    short: dict[str, Any] = {"expires_in_ms": 1000}
    crons = (
        ["0 3 * * *", "30 2 * * *", "0 */6 * * *", "15 8,20 * * mon-fri", "0 0 1 * *"],
        ["@weekly", "@hourly", "0 12 L * *", "0 0 29 2 *"],
    )
    schedules = [schedule(text, cron=text, zone="Europe/Berlin", **short) for text in crons[0]]
    schedules += [schedule(text, cron=text, **short) for text in crons[1]]
    schedules.append(
        schedule("crontab", crontab=Crontab("0", "9", "1-7", "*", "mon"), zone="America/New_York", **short)
    )
    site = await bench(*schedules, result_ttl=60.0, dedup_window=60.0, event_ttl=3600.0)
    scheduler, end_ms = site.core.scheduler, site.clock.wall_ms + 365 * 86_400_000

    began = time.process_time()
    while 0 < scheduler.next_ms <= end_ms:
        site.clock.advance((scheduler.next_ms - site.clock.wall_ms) / 1000)
        await site.core.tick()
    took = time.process_time() - began

    fired = {each.schedule.name: each.fired for each in scheduler.states()}
    assert fired == {
        "0 3 * * *": 365,
        "30 2 * * *": 365,
        "0 */6 * * *": 4 * 365,
        "15 8,20 * * mon-fri": 2 * 261 - 1,
        "0 0 1 * *": 12,
        "@weekly": 52,
        "@hourly": 24 * 365,
        "0 12 L * *": 12,
        "0 0 29 2 *": 0,
        "crontab": 12,
    }
    assert {each.skipped for each in scheduler.states()} == {0}
    assert took < 2.0


@pytest.mark.parametrize(
    ("zone", "gap", "fold"),
    [
        ("Europe/Berlin", datetime(2027, 3, 28), datetime(2027, 10, 31)),
        ("America/New_York", datetime(2027, 3, 14), datetime(2027, 11, 7)),
        ("Australia/Lord_Howe", datetime(2027, 10, 3), datetime(2027, 4, 4)),
    ],
)
async def test_a_nightly_schedule_fires_once_a_night_over_both_changes_of_clocks(
    zone: str, gap: datetime, fold: datetime
) -> None:
    for night in (gap, fold):
        site = await bench()
        start = (night - timedelta(days=1, hours=12)).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
        site.clock.wall_ms = round(start.timestamp() * 1000)
        await site.core.tick()
        await site.core.scheduler.change(
            [schedule(cron="45 1 * * *", zone=zone), schedule("b", cron="15 2 * * *", zone=zone)], (), (), ()
        )
        for _ in range(3 * 24 * 4):
            site.clock.advance(900)
            await site.core.tick()

        assert [each.fired for each in site.core.scheduler.states()] == [3, 3]
        assert {each.skipped for each in site.core.scheduler.states()} == {0}
