"""What every engine must keep when calls overlap: the answers are those of some order, one after another."""

from __future__ import annotations

from asyncio import gather

import pytest
from tests.contracts.harness import TTL, EngineUnderTest, instance

from tqbroker_broker.answers import Cancelled, Stored
from tqbroker_broker.attempts import Refusal, Successes
from tqbroker_broker.records import State, text_key
from tqbroker_broker.storage import NameTaken


async def test_one_of_two_equal_submits_stores_the_job(engine: EngineUnderTest) -> None:
    answers = await gather(engine.put("a", "b"), engine.put("b", "a"), engine.put("c"))

    assert sorted(answer.stored for answer in answers[:2]) == [0, 2]
    assert sorted(len(answer.exceptions) for answer in answers[:2]) == [0, 2]
    assert {each for answer in answers for each in answer.exceptions.values()} == {Stored.DUPLICATE}
    await engine.join()
    assert sorted(await engine.take()) == ["a", "b", "c"]


async def test_jobs_submitted_together_keep_an_order(engine: EngineUnderTest) -> None:
    await gather(*(engine.put(f"{number:03}") for number in range(200)))
    await engine.join()
    first = list(await engine.take(slots=120))

    assert first + list(await engine.take()) == [f"{number:03}" for number in range(200)]


async def test_a_job_goes_to_one_of_many_workers(engine: EngineUnderTest) -> None:
    await engine.put(*(f"{number}" for number in range(50)))
    workers = [f"w{number}" for number in range(10)]
    await gather(*(engine.join(worker) for worker in workers))

    taken = await gather(*(engine.take(worker, 7) for worker in workers))

    assert sum(len(each) for each in taken) == 50
    assert len({name for each in taken for name in each}) == 50
    assert len({token for each in taken for token in each.values()}) == 50


async def test_an_outcome_sent_again_while_the_first_is_on_its_way_counts_once(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await engine.join()
    tokens = await engine.take()

    first, second = await gather(
        engine.succeed("w", tokens.values()), engine.succeed("w", tokens.values(), ids=["a"], result=b"other")
    )

    assert (first.refused, first.final) == ({}, [text_key("a")])
    assert (second.refused, second.final) == ({tokens["a"]: Refusal.ALREADY}, [])
    assert (await engine.job("a")).result == b"8"


async def test_an_outcome_and_a_cancel_end_a_job_once(engine: EngineUnderTest) -> None:
    await engine.put(*"abcd")
    await engine.join()
    tokens = await engine.take()

    finished, cancelled = await gather(engine.succeed("w", tokens.values()), engine.cancel(*"abcd"))

    assert len(finished.final) == 4
    assert set(cancelled.effects) <= {Cancelled.RUNNING, Cancelled.FINAL}
    assert {(await engine.job(name)).state for name in "abcd"} == {State.SUCCEEDED}


async def test_a_job_is_not_handed_out_while_its_cancel_is_on_its_way(engine: EngineUnderTest) -> None:
    await engine.put(*"abcd")
    await engine.join()

    cancelled, taken = await gather(engine.cancel(*"abcd"), engine.take())

    states = [(await engine.job(name)).state for name in "abcd"]
    for name, effect, state in zip("abcd", cancelled.effects, states, strict=True):
        assert (effect, state) == (
            (Cancelled.RUNNING, State.RUNNING) if name in taken else (Cancelled.CANCELLED, State.CANCELLED)
        )


async def test_a_returned_job_goes_to_one_worker(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await engine.join("w")
    await engine.join("v")
    tokens = await engine.take("w")

    _, finished, taken = await gather(
        engine.verbs.release("w", list(tokens.values()), engine.now),
        engine.succeed("w", tokens.values()),
        engine.take("v"),
    )

    job = await engine.job("a")
    assert finished.refused == {tokens["a"]: Refusal.STALE}
    assert job.state is (State.RUNNING if taken else State.QUEUED)


async def test_one_of_two_processes_gets_a_name(engine: EngineUnderTest) -> None:
    answers = await gather(engine.join(process=1), engine.join(process=2), return_exceptions=True)

    taken = [isinstance(answer, NameTaken) for answer in answers]
    assert sorted(taken) == [False, True]
    (worker,) = engine.verbs.workers()
    assert worker.instance == instance(1 + taken.index(False))


async def test_one_of_two_workers_resumes_a_lease(engine: EngineUnderTest) -> None:
    await engine.put("a")
    await engine.join()
    tokens = await engine.take()
    await engine.restart()

    joined = await gather(engine.join("w", tokens), engine.join("v", tokens))

    assert sorted(each.lost for each in joined) == [[], [tokens["a"]]]
    assert sum(row.leases for row in engine.verbs.workers()) == 1


async def outrun(engine: EngineUnderTest) -> tuple[dict[str, int], dict[str, int]]:
    """A job that "new" has got since "late" was given up, and a broker that was started again. Both their tokens."""
    await engine.put("a")
    await engine.join("late")
    older = await engine.take("late")
    await engine.restart()
    engine.advance(TTL)
    await engine.verbs.expire(engine.now, 10)
    await engine.join("new")
    newer = await engine.take("new")
    await engine.restart()
    return older, newer


@pytest.mark.parametrize("late_first", [False, True])
async def test_of_two_that_come_back_at_once_the_outrun_one_has_lost_over_a_restart_too(
    engine: EngineUnderTest, *, late_first: bool
) -> None:
    older, newer = await outrun(engine)
    returns = [engine.join("new", newer), engine.join("late", older)]
    await gather(engine.put("another"), *(reversed(returns) if late_first else returns))

    await engine.restart()

    assert (await engine.join("late", older)).lost == [older["a"]]
    assert (await engine.join("new", newer)).lost == []
    assert (await engine.succeed("new", newer.values())).refused == {}


async def test_an_outrun_worker_has_lost_over_a_restart_too_when_the_job_is_just_given_back(
    engine: EngineUnderTest,
) -> None:
    older, newer = await outrun(engine)
    await engine.join("new", newer)
    _, _, joined = await gather(
        engine.put("another"),
        engine.verbs.release("new", list(newer.values()), engine.now),
        engine.join("late", older),
    )
    assert joined.lost == [older["a"]]
    await engine.join("third")
    newest = await engine.take("third", 1)
    assert list(newest) == ["a"]

    await engine.restart()

    assert (await engine.join("late", older)).lost == [older["a"]]
    assert (await engine.join("third", newest)).lost == []


async def test_verbs_of_every_kind_share_a_moment(engine: EngineUnderTest) -> None:
    await engine.put(*"abc")
    await engine.join()
    tokens = await engine.take()
    successes = Successes([tokens["a"]], [b"1"], "json", [0], [0])

    await gather(
        engine.put("new"),
        engine.verbs.finish("w", [successes], [], engine.now),
        engine.verbs.release("w", [tokens["b"]], engine.now),
        engine.cancel("c"),
        engine.join("v"),
        engine.verbs.due(engine.now, 10),
        engine.verbs.expire(engine.now, 10),
    )

    states = [(await engine.job(name)).state for name in ("a", "b", "c", "new")]
    assert states == [State.SUCCEEDED, State.QUEUED, State.RUNNING, State.QUEUED]
    assert list(await engine.take("v")) == ["b", "new"]
