"""What every engine must do with outcomes: one final state, written once, by the current token only."""

from __future__ import annotations

import pytest
from tests.contracts.harness import FAILURE, HEAD, TTL, EngineUnderTest, instance

from tqbroker_broker.answers import Finished
from tqbroker_broker.attempts import Ending, Refusal, Successes, Verdict
from tqbroker_broker.records import Head, State, text_key

NOTHING = frozenset[str]()


async def start(engine: EngineUnderTest, *names: str, head: Head = HEAD) -> dict[str, int]:
    """Jobs that are running under worker "w", with their tokens."""
    await engine.put(*names, head=head)
    await engine.join()
    return await engine.take()


async def test_a_success_is_final_and_keeps_its_result(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    started_ms = engine.now.wall_ms
    engine.advance(2)
    successes = Successes([tokens["a"]], [b"42"], "json", [started_ms], [1000])

    answer = await engine.verbs.finish("w", [successes], [], engine.now)

    job = await engine.job("a")
    assert answer == Finished({}, [text_key("a")], NOTHING)
    assert (job.state, job.result, job.result_format) == (State.SUCCEEDED, b"42", "json")
    assert (job.started_ms, job.finished_ms) == (started_ms, engine.now.wall_ms)
    assert (job.worker, job.token, job.head, job.args) == ("w", tokens["a"], HEAD, b"a")


async def test_a_job_that_ignores_its_result_ends_without_one(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a", head=Head("tasks.add", "default", 0, "json", ignore_result=True))

    await engine.succeed("w", tokens.values(), result=b"42")

    job = await engine.job("a")
    assert (job.state, job.result, job.token) == (State.SUCCEEDED, b"", tokens["a"])


@pytest.mark.parametrize(
    ("verdict", "state"), [(Verdict.FAILED, State.FAILED), (Verdict.CANCELLED, State.CANCELLED)], ids=str
)
async def test_a_final_ending_keeps_its_failure(engine: EngineUnderTest, verdict: Verdict, state: State) -> None:
    tokens = await start(engine, "a")

    answer = await engine.end("w", tokens["a"], verdict, failure=FAILURE)

    job = await engine.job("a")
    assert answer == Finished({}, [text_key("a")], NOTHING)
    assert (job.state, job.failure, job.result) == (state, FAILURE, b"")
    assert (job.worker, job.token, job.finished_ms) == ("w", tokens["a"], engine.now.wall_ms)


async def test_a_retry_with_delay_is_scheduled(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")

    answer = await engine.end("w", tokens["a"], Verdict.RETRY, retry_in=10, failure=FAILURE)

    job = await engine.job("a")
    assert answer == Finished({}, [], NOTHING, engine.later(10))
    assert (job.state, job.retries, job.lost, job.due_ms) == (State.SCHEDULED, 1, 0, engine.later(10))
    assert (job.token, job.worker, job.started_ms, job.failure) == (0, "", 0, None)


async def test_a_retry_without_delay_is_queued_again(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")

    answer = await engine.end("w", tokens["a"], Verdict.RETRY)

    job = await engine.job("a")
    assert answer == Finished({}, [], frozenset({"default"}))
    assert (job.state, job.retries, job.token) == (State.QUEUED, 1, 0)


async def test_the_earliest_retry_is_told(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a", "b", "c")
    endings = [
        Ending(tokens[name], Verdict.RETRY, None, delay) for name, delay in zip("abc", (3000, 1000, 2000), strict=True)
    ]

    answer = await engine.verbs.finish("w", [], endings, engine.now)

    assert answer.next_due_ms == engine.later(1)


async def test_an_attempt_lost_with_its_process_is_counted_and_queued_again(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")

    answer = await engine.end("w", tokens["a"], Verdict.LOST, failure=FAILURE)

    job = await engine.job("a")
    assert answer == Finished({}, [], frozenset({"default"}))
    assert (job.state, job.retries, job.lost) == (State.QUEUED, 0, 1)


async def test_a_job_that_lost_three_leases_is_quarantined_with_its_failure(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    for _ in range(2):
        await engine.end("w", tokens["a"], Verdict.LOST)
        tokens = await engine.take()

    answer = await engine.end("w", tokens["a"], Verdict.LOST, failure=FAILURE)

    job = await engine.job("a")
    assert answer == Finished({}, [text_key("a")], NOTHING)
    assert (job.state, job.lost, job.failure, job.token) == (State.FAILED, 3, FAILURE, tokens["a"])


async def test_a_quarantined_job_always_says_why(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    for _ in range(3):
        await engine.end("w", tokens["a"], Verdict.LOST)
        tokens = await engine.take() or tokens

    failure = (await engine.job("a")).failure
    assert failure is not None
    assert (failure.type, failure.module) == ("WorkerLostError", "tqbroker.exceptions")
    assert "worker w" in failure.message


async def test_retries_and_lost_leases_are_counted_apart_and_survive(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    await engine.end("w", tokens["a"], Verdict.LOST)
    tokens = await engine.take()
    await engine.end("w", tokens["a"], Verdict.RETRY)
    await engine.leave()
    await engine.restart()

    tokens = await start(engine)
    await engine.succeed("w", tokens.values())

    job = await engine.job("a")
    assert (job.state, job.retries, job.lost) == (State.SUCCEEDED, 1, 1)


async def test_an_outcome_counts_once(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    await engine.succeed("w", tokens.values(), result=b"first")

    answer = await engine.succeed("w", tokens.values(), result=b"second")

    assert answer == Finished({tokens["a"]: Refusal.STALE}, [], NOTHING)
    assert (await engine.job("a")).result == b"first"


async def test_a_final_outcome_sent_again_is_known(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "ok", "failed")
    await engine.succeed("w", [tokens["ok"]])
    await engine.end("w", tokens["failed"], Verdict.FAILED, failure=FAILURE)

    again = await engine.succeed("w", [tokens["ok"]], ids=["ok"])
    failed_again = await engine.end("w", tokens["failed"], Verdict.FAILED, failure=FAILURE, name="failed")

    assert again == Finished({tokens["ok"]: Refusal.ALREADY}, [], NOTHING)
    assert failed_again == Finished({tokens["failed"]: Refusal.ALREADY}, [], NOTHING)


async def test_a_final_outcome_sent_again_is_known_after_a_restart_and_when_forgotten(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    await engine.succeed("w", tokens.values())
    await engine.restart()
    await engine.join()
    assert (await engine.succeed("w", tokens.values(), ids=["a"])).refused == {tokens["a"]: Refusal.ALREADY}

    await engine.forget("a")

    assert (await engine.succeed("w", tokens.values(), ids=["a"])).refused == {tokens["a"]: Refusal.ALREADY}


async def test_an_outcome_without_effect_sent_again_is_stale(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "retried", "released", "running")
    await engine.end("w", tokens["retried"], Verdict.RETRY, retry_in=10)
    await engine.verbs.release("w", [tokens["released"]], engine.now)

    for name in ("retried", "released"):
        assert (await engine.succeed("w", [tokens[name]], ids=[name])).refused == {tokens[name]: Refusal.STALE}


async def test_tokens_that_were_never_given_are_stale(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    unknown = tokens["a"] + 1

    assert (await engine.succeed("w", [unknown])).refused == {unknown: Refusal.STALE}
    assert (await engine.succeed("w", [unknown], ids=["a"])).refused == {unknown: Refusal.STALE}
    assert (await engine.succeed("w", [unknown], ids=["nobody"])).refused == {unknown: Refusal.STALE}
    assert (await engine.end("w", 7, Verdict.RETRY)).refused == {7: Refusal.STALE}


async def test_only_the_holder_of_a_lease_can_end_it(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    await engine.join("v")

    assert (await engine.succeed("v", tokens.values())).refused == {tokens["a"]: Refusal.STALE}
    assert (await engine.succeed("v", tokens.values(), ids=["a"])).refused == {tokens["a"]: Refusal.STALE}
    assert (await engine.job("a")).state is State.RUNNING


async def test_a_lost_lease_cannot_end_its_job_and_the_next_one_can(engine: EngineUnderTest) -> None:
    old = await start(engine, "a")
    engine.advance(TTL)
    await engine.verbs.expire(engine.now, 10)
    await engine.join()
    new = await engine.take()

    assert (await engine.succeed("w", old.values(), ids=["a"])).refused == {old["a"]: Refusal.STALE}
    assert (await engine.succeed("w", new.values())).final == [text_key("a")]


async def test_a_late_outcome_of_a_quarantined_attempt_is_stale(engine: EngineUnderTest) -> None:
    await engine.put("a")
    tokens: dict[str, int] = {}
    for _ in range(3):
        await engine.join()
        tokens = await engine.take()
        engine.advance(TTL)
        await engine.verbs.expire(engine.now, 10)

    assert (await engine.job("a")).state is State.FAILED
    assert (await engine.succeed("w", tokens.values(), ids=["a"])).refused == {tokens["a"]: Refusal.STALE}


async def test_each_outcome_of_a_call_is_judged_by_itself(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a", "b", "c", "d")
    successes = Successes([tokens["a"], 7, tokens["b"]], [b"1", b"2", b"3"], "json", [0] * 3, [0] * 3)
    endings = [
        Ending(8, Verdict.FAILED, None),
        Ending(tokens["c"], Verdict.FAILED, FAILURE),
        Ending(tokens["d"], Verdict.RETRY, None),
    ]

    answer = await engine.verbs.finish("w", [successes], endings, engine.now)

    assert answer.refused == {7: Refusal.STALE, 8: Refusal.STALE}
    assert answer.final == [text_key("a"), text_key("b"), text_key("c")]
    assert answer.woken == {"default"}
    assert [(await engine.job(name)).state for name in "abcd"] == [
        State.SUCCEEDED,
        State.SUCCEEDED,
        State.FAILED,
        State.QUEUED,
    ]
    assert (await engine.job("b")).result == b"3"


async def test_a_worker_that_is_away_can_still_hand_in_its_outcome(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    engine.verbs.part("w", instance(1), engine.now)

    assert (await engine.succeed("w", tokens.values())).final == [text_key("a")]


async def test_results_survive_a_restart(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "ok", "failed")
    await engine.succeed("w", [tokens["ok"]], result=b"\x00" * 5000)
    await engine.end("w", tokens["failed"], Verdict.FAILED, failure=FAILURE)
    before = [await engine.job("ok"), await engine.job("failed")]

    await engine.restart()

    assert [await engine.job("ok"), await engine.job("failed")] == before
