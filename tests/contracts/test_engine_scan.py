"""What every engine must list: jobs by filter, a page at a time, whatever happens between two pages."""

from __future__ import annotations

from dataclasses import replace

import msgspec
from tests.contracts.every_state import MAIL, put_one_in_every_state
from tests.contracts.harness import FAILURE, HEAD, EngineUnderTest, head_with

from tqbroker_broker.attempts import Failure, Verdict
from tqbroker_broker.questions import Filter
from tqbroker_broker.records import State, key_text
from tqbroker_broker.rules import Traits


async def names(engine: EngineUnderTest, wanted: Filter, *, limit: int = 100) -> list[str]:
    """Every job that matches, over as many pages as it takes."""
    found: list[str] = []
    cursor = b""
    while True:
        page = await engine.verbs.scan(wanted, cursor, limit)
        assert len(page.jobs) <= limit
        found.extend(key_text(job.id) for job in page.jobs)
        cursor = page.cursor
        if not cursor:
            return found


async def in_state(engine: EngineUnderTest, *states: State) -> list[str]:
    return await names(engine, Filter(states=frozenset(states)))


async def test_an_empty_filter_lists_every_job_the_oldest_first(engine: EngineUnderTest) -> None:
    await put_one_in_every_state(engine)

    assert await names(engine, Filter()) == [
        "succeeded", "failed", "running", "expired", "queued", "cancelled", "scheduled", "mail",
    ]  # fmt: skip


async def test_jobs_are_found_by_each_state(engine: EngineUnderTest) -> None:
    await put_one_in_every_state(engine)

    for state in set(State) - {State.WAITING, State.UNKNOWN, State.QUEUED}:
        assert await in_state(engine, state) == [state.name.lower()]
    assert await in_state(engine, State.QUEUED) == ["queued", "mail"]
    assert await in_state(engine, State.WAITING) == []


async def test_several_states_are_listed_together_in_the_order_of_submits(engine: EngineUnderTest) -> None:
    await put_one_in_every_state(engine)

    assert await in_state(engine, State.SUCCEEDED, State.CANCELLED) == ["succeeded", "cancelled"]
    assert await in_state(engine, State.SCHEDULED, State.RUNNING) == ["running", "scheduled"]
    assert await in_state(engine, State.FAILED, State.QUEUED) == ["failed", "queued", "mail"]


async def test_scheduled_jobs_alone_come_in_the_order_they_fall_due(engine: EngineUnderTest) -> None:
    await engine.put("late", due_ms=engine.later(60))
    await engine.put("soon", "too", due_ms=engine.later(30))

    assert await in_state(engine, State.SCHEDULED) == ["soon", "too", "late"]


async def test_a_retry_that_waits_is_scheduled_and_one_that_is_due_is_queued(engine: EngineUnderTest) -> None:
    await engine.put("a", "b")
    await engine.join()
    tokens = await engine.take()
    await engine.end("w", tokens["a"], Verdict.RETRY, retry_in=5)
    await engine.end("w", tokens["b"], Verdict.RETRY)

    assert await in_state(engine, State.SCHEDULED) == ["a"]
    assert await in_state(engine, State.QUEUED) == ["b"]


async def test_jobs_are_found_by_queue_and_task(engine: EngineUnderTest) -> None:
    await put_one_in_every_state(engine)

    assert await names(engine, Filter(queue="mail")) == ["mail"]
    assert await names(engine, Filter(task="tasks.mail")) == ["mail"]
    assert await names(engine, Filter(queue="mail", task="tasks.add")) == []


async def test_jobs_are_found_by_all_of_their_stamps(engine: EngineUnderTest) -> None:
    await engine.put("both", head=msgspec.structs.replace(HEAD, traits=Traits(stamps=("run=1", "who=me"))))
    await engine.put("one", head=msgspec.structs.replace(HEAD, traits=Traits(stamps=("run=1",))))
    await engine.put("none")

    assert await names(engine, Filter(stamps=("run=1",))) == ["both", "one"]
    assert await names(engine, Filter(stamps=("who=me", "run=1"))) == ["both"]


async def test_jobs_are_found_by_the_worker_that_has_them_or_ended_them(engine: EngineUnderTest) -> None:
    await engine.put("done", "mine")
    await engine.join()
    tokens = await engine.take()
    await engine.succeed("w", [tokens["done"]])
    await engine.put("other", "waits")
    await engine.join("v")
    await engine.take("v", slots=1)

    assert await names(engine, Filter(worker="w")) == ["done", "mine"]
    assert await names(engine, Filter(worker="v")) == ["other"]


async def test_dead_letters_are_found_by_the_class_of_their_error(engine: EngineUnderTest) -> None:
    await engine.put("value", "type", "queued")
    await engine.join()
    tokens = await engine.take(slots=2)
    await engine.end("w", tokens["value"], Verdict.FAILED, failure=FAILURE)
    await engine.end("w", tokens["type"], Verdict.FAILED, failure=Failure("TypeError", "builtins", "no"))

    assert await names(engine, Filter(error="ValueError")) == ["value"]
    assert await names(engine, Filter(states=frozenset({State.FAILED}), error="TypeError")) == ["type"]
    assert await in_state(engine, State.FAILED) == ["value", "type"]


async def test_jobs_are_found_by_the_time_of_their_submit(engine: EngineUnderTest) -> None:
    start = engine.now.wall_ms
    for name in ("a", "b", "c"):
        await engine.put(name)
        engine.advance(1)

    assert await names(engine, Filter(submitted_after_ms=start + 1000)) == ["b", "c"]
    assert await names(engine, Filter(submitted_before_ms=start + 1000)) == ["a"]
    assert await names(engine, Filter(submitted_after_ms=start + 1000, submitted_before_ms=start + 2000)) == ["b"]


async def test_small_pages_list_the_same_jobs(engine: EngineUnderTest) -> None:
    await put_one_in_every_state(engine)
    for wanted in (Filter(), *(Filter(states=frozenset({state})) for state in State)):
        assert await names(engine, wanted, limit=1) == await names(engine, wanted)


async def test_a_listed_job_is_what_get_says_of_it(engine: EngineUnderTest) -> None:
    await put_one_in_every_state(engine)

    page = await engine.verbs.scan(Filter(), b"", 100, with_args=True)

    assert page.jobs == await engine.verbs.get([job.id for job in page.jobs], with_args=True)
    bare = await engine.verbs.scan(Filter(), b"", 100)
    assert bare.jobs == [replace(job, args=b"") for job in page.jobs]


async def test_jobs_that_go_or_come_between_pages_break_no_cursor(engine: EngineUnderTest) -> None:
    await engine.put("a", "b", "c", "d")
    await engine.cancel("a", "b", "c")
    first = await engine.verbs.scan(Filter(), b"", 1)
    await engine.forget("a", "b")
    await engine.put("e")

    assert [key_text(job.id) for job in first.jobs] == ["a"]
    rest = await engine.verbs.scan(Filter(), first.cursor, 100)
    assert [key_text(job.id) for job in rest.jobs] == ["c", "d", "e"]


async def test_dropped_jobs_are_not_listed(engine: EngineUnderTest) -> None:
    await put_one_in_every_state(engine)
    await engine.forget("succeeded", "failed")

    assert await in_state(engine, State.SUCCEEDED, State.FAILED) == []
    assert await in_state(engine, State.FAILED) == []


async def test_a_listing_goes_on_over_a_restart(engine: EngineUnderTest) -> None:
    await engine.put("a", "b", "c")
    first = await engine.verbs.scan(Filter(), b"", 1)
    await engine.restart()

    rest = await engine.verbs.scan(Filter(), first.cursor, 100)

    assert [key_text(job.id) for job in rest.jobs] == ["b", "c"]


async def test_a_page_ends_when_its_arguments_and_results_fill_a_message(engine: EngineUnderTest) -> None:
    await engine.put("a", "b", "c")
    await engine.join()
    tokens = await engine.take()
    await engine.succeed("w", tokens.values(), result=b"x" * (800 << 10))

    page = await engine.verbs.scan(Filter(), b"", 100)

    assert [key_text(job.id) for job in page.jobs] == ["a", "b"]
    assert page.cursor
    assert await names(engine, Filter()) == ["a", "b", "c"]


async def test_jobs_that_wait_in_one_queue_are_listed_whatever_their_lane(engine: EngineUnderTest) -> None:
    await put_one_in_every_state(engine)
    heads = [MAIL, head_with(queue="mail", tenant="a"), head_with(queue="mail", ordering_key="k"), HEAD]
    for number, head in enumerate(heads * 3):
        await engine.put(f"job {number}", head=head)
    expected = {"mail", *(f"job {number}" for number in range(12) if number % 4 < 3)}

    for states in ({State.QUEUED}, {State.QUEUED, State.RUNNING}):
        wanted = Filter(states=frozenset(states), queue="mail")
        for limit in (1, 3, 100):
            found = await names(engine, wanted, limit=limit)
            assert (set(found), len(found)) == (expected, len(expected))
    assert set(await names(engine, Filter(states=frozenset({State.QUEUED, State.RUNNING}), queue="default"))) == {
        "queued", "running", "job 3", "job 7", "job 11",
    }  # fmt: skip


async def test_listing_a_queue_ends_although_its_jobs_go_to_the_end_again(engine: EngineUnderTest) -> None:
    await engine.put(*(f"job {number}" for number in range(6)))
    await engine.join()
    wanted = Filter(states=frozenset({State.QUEUED}), queue="default")
    found: list[str] = []
    cursor = b""
    while True:
        page = await engine.verbs.scan(wanted, cursor, 2)
        found += [key_text(job.id) for job in page.jobs]
        for token in (await engine.take(slots=2)).values():
            await engine.end("w", token, Verdict.REQUEUED)
        if not (cursor := page.cursor):
            break

    assert len(found) == len(set(found))
