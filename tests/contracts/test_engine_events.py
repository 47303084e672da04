"""What every engine must tell: what happened to jobs and workers, numbered without gap or repeat, for a bounded time.

Events of one job come in the order in which they happened. Those of different jobs may come in any order within one
verb, and a start may be told as late as the next change: so the tests ask for the story of each job.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts.harness import CONFIG, ENGINES, FAILURE, GRACE, TTL, EngineUnderTest

from tqbroker_broker.attempts import Verdict
from tqbroker_broker.questions import Drop, EventKind, EventPage, Events, Move, Redrive, Reschedule
from tqbroker_broker.records import JobId, text_key

SENT, STARTED, SUCCEEDED, FAILED = EventKind.SENT, EventKind.STARTED, EventKind.SUCCEEDED, EventKind.FAILED
RETRIED, REVOKED, REJECTED = EventKind.RETRIED, EventKind.REVOKED, EventKind.REJECTED
LOST, EDITED = EventKind.LOST, EventKind.EDITED
ONLINE, OFFLINE = EventKind.WORKER_ONLINE, EventKind.WORKER_OFFLINE
SMALL = 16 * 1024


@pytest.fixture(params=ENGINES)
async def small(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EngineUnderTest]:
    """An engine whose log may take few bytes."""
    under_test = EngineUnderTest(request.param, tmp_path, replace(CONFIG, event_bytes=SMALL))
    await under_test.open()
    yield under_test
    await under_test.verbs.close()


async def log(engine: EngineUnderTest, after: int = 0, limit: int = 1000) -> list[Events]:
    """Every event behind a number, over as many pages as it takes; their numbers have no gap and no repeat."""
    found: list[Events] = []
    while True:
        page = await engine.verbs.events(after, limit)
        if not page.events:
            assert page.cursor == after
            return found
        for events in page.events:
            assert events.first == after + 1
            after = events.last
        assert page.cursor == after
        found.extend(page.events)


async def told(engine: EngineUnderTest, after: int = 0, limit: int = 1000) -> list[tuple[EventKind, JobId]]:
    """Every event of a job, one by one."""
    return [(events.kind, job) for events in await log(engine, after, limit) for job in events.ids]


async def story(engine: EngineUnderTest, name: str) -> list[EventKind]:
    """What is told of one job."""
    return [kind for kind, job in await told(engine) if job == text_key(name)]


async def of_workers(engine: EngineUnderTest) -> list[tuple[EventKind, str]]:
    return [(events.kind, events.worker) for events in await log(engine) if not events.ids]


async def one(engine: EngineUnderTest, kind: EventKind) -> Events:
    """The only column of a kind."""
    (events,) = [events for events in await log(engine) if events.kind is kind]
    return events


async def begin(engine: EngineUnderTest, *names: str) -> dict[str, int]:
    """Jobs that are running under worker "w", with their tokens."""
    await engine.put(*names)
    await engine.join()
    return await engine.take()


# -- what is told of a job ---------------------------------------------------------------------------------------------


async def test_a_job_that_succeeds_was_sent_and_started(engine: EngineUnderTest) -> None:
    await engine.succeed("w", (await begin(engine, "a", "b")).values())

    assert await story(engine, "a") == await story(engine, "b") == [SENT, STARTED, SUCCEEDED]


async def test_an_event_names_task_queue_worker_and_moment(engine: EngineUnderTest) -> None:
    tokens = await begin(engine, "a")
    started_ms = engine.now.wall_ms
    engine.advance(2)
    await engine.succeed("w", tokens.values())

    common = ([text_key("a")], "tasks.add", "default")
    sent, started, succeeded = [await one(engine, kind) for kind in (SENT, STARTED, SUCCEEDED)]
    assert (sent.ids, sent.task, sent.queue, sent.worker, sent.error, sent.at_ms) == (*common, "", "", started_ms)
    assert (started.ids, started.task, started.queue, started.worker, started.at_ms) == (*common, "w", started_ms)
    assert (succeeded.ids, succeeded.task, succeeded.queue, succeeded.worker) == (*common, "w")
    assert succeeded.at_ms == engine.now.wall_ms


async def test_a_job_that_was_there_already_is_not_sent_again(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await engine.put("a", "b")

    assert [job for kind, job in await told(engine) if kind is SENT] == [text_key("a"), text_key("b")]


async def test_a_failure_is_told_with_its_class(engine: EngineUnderTest) -> None:
    await engine.end("w", (await begin(engine, "a"))["a"], Verdict.FAILED, failure=FAILURE)

    assert await story(engine, "a") == [SENT, STARTED, FAILED]
    assert ((await one(engine, FAILED)).error, (await one(engine, FAILED)).worker) == ("ValueError", "w")


async def test_a_retry_is_told_with_the_class_of_its_error(engine: EngineUnderTest) -> None:
    await engine.end("w", (await begin(engine, "a"))["a"], Verdict.RETRY, failure=FAILURE, retry_in=5)
    engine.advance(5)
    await engine.verbs.due(engine.now, 10)
    await engine.succeed("w", (await engine.take()).values())

    assert await story(engine, "a") == [SENT, STARTED, RETRIED, STARTED, SUCCEEDED]
    assert (await one(engine, RETRIED)).error == "ValueError"


@pytest.mark.parametrize("verdict", [Verdict.REJECTED, Verdict.REQUEUED])
async def test_what_a_task_refuses_or_puts_back_is_rejected(engine: EngineUnderTest, verdict: Verdict) -> None:
    await engine.end("w", (await begin(engine, "a"))["a"], verdict, failure=FAILURE)

    assert await story(engine, "a") == [SENT, STARTED, REJECTED]


async def test_each_lost_lease_is_told_and_after_the_last_the_failure(engine: EngineUnderTest) -> None:
    token = (await begin(engine, "a"))["a"]
    for _ in range(CONFIG.max_lost_leases - 1):
        await engine.end("w", token, Verdict.LOST)
        token = (await engine.take())["a"]
    await engine.end("w", token, Verdict.LOST)

    lost = [STARTED, LOST] * CONFIG.max_lost_leases
    assert await story(engine, "a") == [SENT, *lost, FAILED]


async def test_a_lease_lost_with_its_worker_is_told(engine: EngineUnderTest) -> None:
    await begin(engine, "a")
    engine.advance(TTL)
    await engine.expire_all(10)

    assert await story(engine, "a") == [SENT, STARTED, LOST]
    assert (await one(engine, LOST)).worker == "w"


async def test_a_job_returned_unstarted_has_only_another_start(engine: EngineUnderTest) -> None:
    tokens = await begin(engine, "a")
    await engine.verbs.release("w", list(tokens.values()), engine.now)
    await engine.succeed("w", (await engine.take()).values())

    assert await story(engine, "a") == [SENT, STARTED, STARTED, SUCCEEDED]


async def test_cancelled_and_expired_jobs_are_revoked(engine: EngineUnderTest) -> None:
    await engine.put("queued")
    await engine.put("scheduled", due_ms=engine.later(60))
    await engine.put("expired", expires_ms=engine.later(1))
    await engine.cancel("queued", "scheduled")
    engine.advance(1)
    await engine.expire_all(10)

    for name in ("queued", "scheduled", "expired"):
        assert await story(engine, name) == [SENT, REVOKED]


async def test_a_running_job_is_revoked_when_its_worker_is_done_with_it(engine: EngineUnderTest) -> None:
    tokens = await begin(engine, "cancelled", "lost")
    await engine.cancel("cancelled", "lost")
    assert REVOKED not in [events.kind for events in await log(engine)]

    await engine.end("w", tokens["cancelled"], Verdict.CANCELLED)
    await engine.end("w", tokens["lost"], Verdict.LOST)

    assert await story(engine, "cancelled") == [SENT, STARTED, REVOKED]
    assert await story(engine, "lost") == [SENT, STARTED, LOST, REVOKED]


async def test_what_an_operator_changes_is_told_with_its_new_queue(engine: EngineUnderTest) -> None:
    await engine.end("w", (await begin(engine, "a"))["a"], Verdict.FAILED)
    await engine.verbs.edit([text_key("a")], Redrive(spacing_ms=1000, already=1), engine.now)
    await engine.verbs.edit([text_key("a")], Reschedule(0), engine.now)
    await engine.verbs.edit([text_key("a")], Move(queue="mail"), engine.now)
    await engine.cancel("a")
    await engine.verbs.edit([text_key("a")], Drop(), engine.now)

    assert await story(engine, "a") == [SENT, STARTED, FAILED, EDITED, EDITED, EDITED, REVOKED]
    assert [events.queue for events in await log(engine) if events.ids][-2:] == ["mail", "mail"]


async def test_what_has_no_effect_is_not_told(engine: EngineUnderTest) -> None:
    tokens = await begin(engine, "a", "b")
    await engine.succeed("w", [tokens["a"]])
    await engine.cancel("b")
    before = await log(engine)

    await engine.succeed("w", [tokens["a"]], ids=["a"])
    await engine.end("w", 1, Verdict.FAILED, failure=FAILURE)
    await engine.cancel("a", "b", "nobody")
    await engine.verbs.edit([text_key("b"), text_key("nobody")], Redrive(), engine.now)

    assert await log(engine) == before


# -- what is told of a worker ------------------------------------------------------------------------------------------


async def test_a_worker_comes_and_leaves(engine: EngineUnderTest) -> None:
    await engine.join()
    await engine.leave()

    assert await of_workers(engine) == [(ONLINE, "w"), (OFFLINE, "w")]


async def test_a_worker_that_reconnects_was_never_away(engine: EngineUnderTest) -> None:
    await engine.join()
    engine.part()
    await engine.join()
    await engine.restart()
    await engine.join()

    assert await of_workers(engine) == [(ONLINE, "w")]


async def test_a_new_process_under_a_name_is_told(engine: EngineUnderTest) -> None:
    await engine.join()
    engine.part()
    await engine.join(process=2)

    assert await of_workers(engine) == [(ONLINE, "w"), (ONLINE, "w")]


async def test_a_worker_that_stays_away_is_given_up(engine: EngineUnderTest) -> None:
    await engine.join()
    engine.part()
    engine.advance(GRACE)
    await engine.expire_all(10)

    assert await of_workers(engine) == [(ONLINE, "w"), (OFFLINE, "w")]


# -- numbers, pages, time ----------------------------------------------------------------------------------------------


async def test_an_empty_log_has_nothing_behind_any_number(engine: EngineUnderTest) -> None:
    assert await engine.verbs.events(0, 10) == EventPage([], 0)
    assert await engine.verbs.events(7, 10) == EventPage([], 7)


async def test_events_are_numbered_from_one(engine: EngineUnderTest) -> None:
    await engine.put("a", "b")

    (events,) = (await engine.verbs.events(0, 10)).events
    assert (events.first, events.last) == (1, 2)


async def test_a_monitor_goes_on_behind_any_event(engine: EngineUnderTest) -> None:
    await engine.succeed("w", (await begin(engine, *(f"job{i}" for i in range(7)))).values())
    await engine.put("more")
    everything = await log(engine)

    last = everything[-1].last
    numbered = [(number, events.kind) for events in everything for number in range(events.first, events.last + 1)]
    for after in range(last + 1):
        rest = await log(engine, after)
        again = [(number, events.kind) for events in rest for number in range(events.first, events.last + 1)]
        assert again == numbered[after:]


async def test_small_pages_tell_the_same(engine: EngineUnderTest) -> None:
    await engine.succeed("w", (await begin(engine, *(f"job{i}" for i in range(7)))).values())

    for limit in (1, 2, 5):
        assert await told(engine, limit=limit) == await told(engine)


async def test_numbers_go_on_after_a_restart(engine: EngineUnderTest) -> None:
    await engine.put("a", "b")
    before = await log(engine)
    await engine.restart()
    await engine.put("c")

    assert await log(engine) == [*before, *await log(engine, 2)]
    assert await told(engine, 2) == [(SENT, text_key("c"))]


async def test_whoever_watches_is_told_that_events_came(engine: EngineUnderTest) -> None:
    calls: list[int] = []
    engine.verbs.on_events = lambda: calls.append(1)
    await engine.put("a")
    assert len(calls) == 1

    await engine.put("a")
    await engine.cancel("nobody")
    assert len(calls) == 1


async def test_events_are_dropped_when_they_are_too_old(engine: EngineUnderTest) -> None:
    await engine.put("a", "b")
    engine.advance(CONFIG.event_ttl - 1)
    await engine.put("c")
    await engine.expire_all(10)
    assert len(await told(engine)) == 3

    engine.advance(1)
    assert not (await engine.expire_all(10)).final

    page = await engine.verbs.events(0, 10)
    assert ([(each.first, each.ids) for each in page.events], page.cursor, page.lost_before) == (
        [(3, [text_key("c")])],
        3,
        3,
    )
    assert (await engine.verbs.events(1, 10)).lost_before == 3
    assert (await engine.verbs.events(2, 10)).lost_before == 0


async def test_a_log_that_became_empty_says_what_is_gone_and_goes_on_counting(engine: EngineUnderTest) -> None:
    await engine.put("a", "b")
    engine.advance(CONFIG.event_ttl)
    await engine.expire_all(10)
    await engine.restart()
    assert await engine.verbs.events(0, 10) == EventPage([], 0, 3)
    assert await engine.verbs.events(2, 10) == EventPage([], 2, 0)

    await engine.put("c")

    assert [(each.first, each.ids) for each in await log(engine, 2)] == [(3, [text_key("c")])]


async def test_events_are_dropped_when_they_take_too_many_bytes(small: EngineUnderTest) -> None:
    for i in range(20):
        await small.put(*(f"job{i:03}{k:03}-with-a-long-name" for k in range(100)))
    assert not (await small.expire_all(10)).final

    lost_before = (await small.verbs.events(0, 1)).lost_before
    kept = await told(small, lost_before - 1)
    assert kept[-1] == (SENT, text_key("job019099-with-a-long-name"))
    assert len(kept) == 2000 - lost_before + 1
    assert 100 < len(kept) < 1000
