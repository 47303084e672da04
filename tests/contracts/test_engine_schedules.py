"""What every engine must do with schedules: each moment once, whatever happens; jobs and ledger together."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from tests.contracts.harness import HEAD, EngineUnderTest

from tqbroker_broker.answers import Cancelled
from tqbroker_broker.attempts import Want
from tqbroker_broker.firings import new_job
from tqbroker_broker.questions import EventKind
from tqbroker_broker.records import JobId, State, text_key
from tqbroker_broker.rules import Overflow, QueueRule, Traits, Unique, UniqueConflict, UniqueUntil
from tqbroker_broker.schedules import (
    KEPT_FIRINGS,
    Crontab,
    Fire,
    FireAnswer,
    Firing,
    Misfire,
    Overlap,
    Schedule,
    ScheduleState,
    job_id,
)

SECOND = 1000


def state_of(engine: EngineUnderTest, name: str = "tick", **fields: Any) -> ScheduleState:
    """A schedule that was made 200 seconds ago and fires every second."""
    born_ms = engine.now.wall_ms - 200 * SECOND
    schedule = Schedule(**{"name": name, "every_ms": SECOND, "head": HEAD, "args": b"[]", **fields})
    return ScheduleState(schedule, "operator", born_ms, born_ms + SECOND)


async def put(engine: EngineUnderTest, *states: ScheduleState, remove: tuple[str, ...] = ()) -> None:
    await engine.verbs.put_schedules(states, remove, engine.now)


def fire_of(engine: EngineUnderTest, state: ScheduleState, *seconds: int, skipped: int = 0) -> Fire:
    """What a schedule does at some seconds of its life."""
    planned = [state.born_ms + second * SECOND for second in seconds]
    jobs = [new_job(state, moment, engine.now.wall_ms) for moment in planned]
    until_ms = planned[-1] if planned else state.next_ms
    return Fire(state.schedule.name, state.born_ms, planned, jobs, skipped, until_ms, until_ms + SECOND)


async def fire(engine: EngineUnderTest, state: ScheduleState, *seconds: int, skipped: int = 0) -> FireAnswer:
    (answer,) = await engine.verbs.fire([fire_of(engine, state, *seconds, skipped=skipped)], engine.now)
    return answer


def job(state: ScheduleState, second: int) -> JobId:
    return job_id(state.schedule.name, state.born_ms, state.born_ms + second * SECOND)


async def states(engine: EngineUnderTest, *ids: JobId) -> list[State]:
    return [each.state for each in await engine.verbs.get(ids)]


async def test_schedules_are_listed_by_name_as_they_were_put(engine: EngineUnderTest) -> None:
    every = state_of(engine, "b", relative=True, jitter_ms=5, deadline_ms=6, misfire=Misfire.ALL, misfire_max=7)
    daily = state_of(engine, "a", every_ms=0, crontab=Crontab("0", "3", day_of_week="mon-fri"), zone="Europe/Berlin")
    full = replace(daily, source="app shop", recent=(Firing(1, b"i" * 16), Firing(2, b"")), live=(b"x",), by_hand=True)
    await put(engine, every, full)
    assert engine.verbs.schedules() == [full, every]

    await engine.restart()
    assert engine.verbs.schedules() == [full, every]

    await put(engine, remove=("b", "never there"))
    assert engine.verbs.schedules() == [full]


async def test_a_firing_is_a_job_and_a_line_in_the_ledger(engine: EngineUnderTest) -> None:
    state = state_of(engine)
    await put(engine, state)

    answer = await fire(engine, state, 1)

    moment = state.born_ms + SECOND
    assert answer == FireAnswer(1, 0, frozenset({"default"}), firings=(Firing(moment, job(state, 1)),))
    assert engine.verbs.schedules() == [
        replace(state, next_ms=moment + SECOND, last_ms=moment, fired=1, recent=(Firing(moment, job(state, 1)),))
    ]
    (stored,) = await engine.verbs.get([job(state, 1)], with_args=True)
    assert (stored.state, stored.args) == (State.QUEUED, b"[]")
    assert stored.head is not None
    assert stored.head.traits.stamps == ("schedule=tick", "planned=2027-01-15T07:56:41Z")


@pytest.mark.parametrize("restart", [False, True])
async def test_a_moment_fires_once_however_often_it_is_asked_for(engine: EngineUnderTest, restart: bool) -> None:
    state = state_of(engine)
    await put(engine, state)
    await fire(engine, state, 1, 2)
    if restart:
        await engine.restart()
    before = engine.verbs.schedules()

    assert await fire(engine, state, 1, 2) == FireAnswer(0, 0, frozenset())
    assert await fire(engine, state, 1, skipped=5) == FireAnswer(0, 0, frozenset())
    assert engine.verbs.schedules() == before

    answer = await fire(engine, state, 1, 2, 3)

    assert (answer.fired, answer.skipped) == (1, 0)
    assert (await engine.verbs.stats()).queues["default"].queued == 3


async def test_a_job_of_a_firing_that_was_forgotten_does_not_come_again(engine: EngineUnderTest) -> None:
    state = state_of(engine)
    await put(engine, state)
    await fire(engine, state, 1)
    await engine.verbs.cancel([job(state, 1)], engine.now)
    await engine.verbs.forget([job(state, 1)], engine.now)

    await fire(engine, state, 1)

    assert await states(engine, job(state, 1)) == [State.UNKNOWN]


async def test_what_is_let_go_by_is_counted(engine: EngineUnderTest) -> None:
    state = state_of(engine)
    await put(engine, state)

    answer = await fire(engine, state, 9, skipped=8)
    only_skipped = Fire("tick", state.born_ms, [], [], 3, state.born_ms + 12_000, 0)
    (nothing,) = await engine.verbs.fire([only_skipped], engine.now)

    assert (answer.fired, answer.skipped, nothing) == (1, 8, FireAnswer(0, 3, frozenset()))
    (after,) = engine.verbs.schedules()
    assert (after.fired, after.skipped, after.last_ms, after.next_ms) == (1, 11, state.born_ms + 12_000, 0)


async def test_a_schedule_that_is_removed_paused_or_another_by_now_is_gone(engine: EngineUnderTest) -> None:
    state = state_of(engine)
    await put(engine, state)
    for now in (
        replace(state, born_ms=state.born_ms + 1),
        replace(state, schedule=replace(state.schedule, paused=True)),
    ):
        await put(engine, now)
        assert await fire(engine, state, 1) == FireAnswer(0, 0, frozenset(), gone=True)
        assert engine.verbs.schedules() == [now]
    await put(engine, remove=("tick",))

    assert (await fire(engine, state, 1)).gone
    assert await states(engine, job(state, 1)) == [State.UNKNOWN]


async def test_another_incarnation_has_jobs_of_its_own_for_the_same_moments(engine: EngineUnderTest) -> None:
    state = state_of(engine)
    await put(engine, state)
    await fire(engine, state, 2)
    other = replace(state, born_ms=state.born_ms + SECOND, last_ms=0)
    await put(engine, other)

    assert (await fire(engine, other, 1)).fired == 1

    assert job(other, 1) != job(state, 2)
    assert await states(engine, job(other, 1), job(state, 2)) == [State.QUEUED, State.QUEUED]


async def test_jitter_and_countdown_make_a_job_start_later_and_are_the_same_for_a_moment(
    engine: EngineUnderTest,
) -> None:
    state = state_of(engine, jitter_ms=60_000, countdown_ms=100_000, expires_in_ms=500_000)
    await put(engine, state)

    answer = await fire(engine, state, 200)

    (stored,) = await engine.verbs.get([job(state, 200)])
    assert stored.state is State.SCHEDULED
    assert 100_000 <= stored.due_ms - engine.now.wall_ms < 160_000
    assert stored.expires_ms == stored.due_ms + 400_000
    assert (answer.next_due_ms, answer.woken) == (stored.due_ms, frozenset())
    assert new_job(state, state.born_ms + 200 * SECOND, engine.now.wall_ms).due_ms == stored.due_ms


# -- overlap -----------------------------------------------------------------------------------------------------------


async def test_overlap_is_allowed_unless_a_schedule_says_otherwise(engine: EngineUnderTest) -> None:
    state = state_of(engine)
    await put(engine, state)
    assert (await fire(engine, state, 1, 2, 3)).fired == 3


async def test_with_skip_nothing_fires_until_the_job_before_has_ended(engine: EngineUnderTest) -> None:
    state = state_of(engine, overlap=Overlap.SKIP)
    await put(engine, state)
    assert (await fire(engine, state, 1, 2)).firings == (
        Firing(state.born_ms + 1000, job(state, 1)),
        Firing(state.born_ms + 2000, b""),
    )
    await engine.join()
    token = await take(engine, job(state, 1))
    assert (await fire(engine, state, 3)).fired == 0
    await engine.succeed("w", [token])

    assert (await fire(engine, state, 4)).fired == 1
    assert engine.verbs.schedules()[0].skipped == 2


async def test_a_long_job_is_not_lost_sight_of_however_many_firings_it_makes_skip(engine: EngineUnderTest) -> None:
    state = state_of(engine, overlap=Overlap.SKIP)
    await put(engine, state)
    await fire(engine, state, 1)
    for second in range(2, 3 * KEPT_FIRINGS):
        assert (await fire(engine, state, second)).fired == 0
    (known,) = engine.verbs.schedules()
    assert len(known.recent) == KEPT_FIRINGS
    await engine.restart()

    assert (await fire(engine, state, 100)).fired == 0
    await engine.verbs.cancel([job(state, 1)], engine.now)
    assert (await fire(engine, state, 101)).fired == 1


async def test_with_queue_one_a_single_job_waits_behind_the_one_that_runs(engine: EngineUnderTest) -> None:
    state = state_of(engine, overlap=Overlap.QUEUE_ONE)
    await put(engine, state)
    await fire(engine, state, 1)
    assert (await fire(engine, state, 2)).fired == 0
    await engine.join()
    token = await take(engine, job(state, 1))
    assert (await fire(engine, state, 3)).fired == 1
    assert (await fire(engine, state, 4)).fired == 0

    assert await take(engine, job(state, 3)) == 0, "the second runs beside the first"
    await engine.succeed("w", [token])
    assert await take(engine, job(state, 3))


async def test_a_job_that_was_dropped_is_in_nobodys_way(engine: EngineUnderTest) -> None:
    state = state_of(engine, overlap=Overlap.SKIP)
    await put(engine, state)
    await fire(engine, state, 1)
    answer = await engine.verbs.cancel([job(state, 1)], engine.now)
    assert answer.effects == [Cancelled.CANCELLED]
    await engine.verbs.forget([job(state, 1)], engine.now)

    assert (await fire(engine, state, 2)).fired == 1


async def take(engine: EngineUnderTest, wanted: JobId) -> int:
    """The token under which worker w gets this job, 0 when it does not."""
    leased = await engine.lease(Want("w", ("default",), frozenset({HEAD.task}), 10, 10))
    tokens = {each: token for batch in leased for each, token in zip(batch.ids, batch.tokens, strict=True)}
    return tokens.get(wanted, 0)


# -- what stands in the way --------------------------------------------------------------------------------------------


async def test_a_firing_that_finds_its_queue_full_is_skipped(engine: EngineUnderTest) -> None:
    await engine.verbs.put_queue("default", QueueRule(max_length=2), engine.now)
    state = state_of(engine)
    await put(engine, state)

    answer = await fire(engine, state, 1, 2, 3)

    assert (answer.fired, answer.skipped) == (2, 1)
    assert engine.verbs.schedules()[0].recent[-1] == Firing(state.born_ms + 3000, b"")


async def test_a_firing_may_push_the_oldest_job_out_of_a_full_queue(engine: EngineUnderTest) -> None:
    await engine.verbs.put_queue("default", QueueRule(max_length=1, overflow=Overflow.DROP_OLDEST), engine.now)
    await engine.put("old")
    state = state_of(engine)
    await put(engine, state)

    answer = await fire(engine, state, 1)

    assert (answer.fired, list(answer.final)) == (1, [text_key("old")])
    assert (await engine.job("old")).state is State.FAILED


async def test_a_unique_key_admits_one_job_of_a_schedule(engine: EngineUnderTest) -> None:
    unique = Unique(UniqueUntil.FINISHED, UniqueConflict.KEEP)
    state = state_of(engine, head=replace(HEAD, traits=Traits(unique=unique)), unique=b"u" * 16)
    await put(engine, state)

    answer = await fire(engine, state, 1, 2)

    assert (answer.fired, answer.skipped) == (1, 1)
    await engine.verbs.cancel([job(state, 1)], engine.now)
    assert (await fire(engine, state, 3)).fired == 1


# -- events and crashes ------------------------------------------------------------------------------------------------


async def test_the_log_tells_of_jobs_that_schedules_submit(engine: EngineUnderTest) -> None:
    state = state_of(engine)
    await put(engine, state)
    await fire(engine, state, 1)
    await fire(engine, state, 1)

    page = await engine.verbs.events(0, 10)

    assert [(events.kind, events.ids) for events in page.events] == [(EventKind.SENT, [job(state, 1)])]


async def test_several_schedules_fire_in_one_call_each_by_itself(engine: EngineUnderTest) -> None:
    one, other, gone = state_of(engine, "one"), state_of(engine, "other"), state_of(engine, "gone")
    await put(engine, one, other)

    fires = [fire_of(engine, each, 1) for each in (one, gone, other)]
    answers = await engine.verbs.fire(fires, engine.now)

    assert [(answer.fired, answer.gone) for answer in answers] == [(1, False), (0, True), (1, False)]
    assert [state.fired for state in engine.verbs.schedules()] == [1, 1]
