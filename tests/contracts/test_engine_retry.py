"""What every engine must do with attempts that are retried, rejected or put back."""

from __future__ import annotations

from tests.contracts.harness import FAILURE, EngineUnderTest

from tqbroker_broker.answers import Finished, Stored
from tqbroker_broker.attempts import Verdict
from tqbroker_broker.records import State, text_key

NOTHING = frozenset[str]()


async def start(engine: EngineUnderTest, *names: str) -> dict[str, int]:
    """Jobs that are running under worker "w", with their tokens."""
    await engine.put(*names)
    await engine.join()
    return await engine.take()


async def test_a_retry_may_go_on_with_other_arguments(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")

    await engine.end("w", tokens["a"], Verdict.RETRY, args=b"other")

    assert (await engine.job("a")).args == b"other"
    await engine.restart()
    await engine.join()
    assert (await engine.job("a")).args == b"other"
    assert list(await engine.take()) == ["a"]


async def test_a_retry_keeps_its_arguments_unless_it_names_others(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a", "b")

    await engine.end("w", tokens["a"], Verdict.RETRY)
    await engine.end("w", tokens["b"], Verdict.RETRY, args=b"")

    assert (await engine.job("a")).args == b"a"
    assert (await engine.job("b")).args == b""


async def test_other_arguments_do_not_change_what_the_same_job_means(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    await engine.end("w", tokens["a"], Verdict.RETRY, args=b"other")

    assert (await engine.put("a")).exceptions == {0: Stored.DUPLICATE}


async def test_only_a_retry_changes_the_arguments(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "lost", "back", "failed")

    await engine.end("w", tokens["lost"], Verdict.LOST, args=b"other")
    await engine.end("w", tokens["back"], Verdict.REQUEUED, args=b"other")
    await engine.end("w", tokens["failed"], Verdict.FAILED, args=b"other")

    assert [(await engine.job(name)).args for name in tokens] == [b"lost", b"back", b"failed"]


async def test_a_rejected_job_fails_with_its_failure(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")

    answer = await engine.end("w", tokens["a"], Verdict.REJECTED, retry_in=10, failure=FAILURE)

    job = await engine.job("a")
    assert answer == Finished({}, [text_key("a")], NOTHING)
    assert (job.state, job.failure, job.retries, job.token) == (State.FAILED, FAILURE, 0, tokens["a"])


async def test_a_job_that_is_put_back_goes_to_the_end_of_its_lane_uncounted(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "a")
    await engine.put("b")

    answer = await engine.end("w", tokens["a"], Verdict.REQUEUED, retry_in=10)

    job = await engine.job("a")
    assert answer == Finished({}, [], frozenset({"default"}))
    assert (job.state, job.retries, job.lost) == (State.QUEUED, 0, 0)
    assert list(await engine.take()) == ["b", "a"]


async def test_a_cancel_mark_wins_over_being_put_back_or_rejected(engine: EngineUnderTest) -> None:
    tokens = await start(engine, "back", "rejected")
    await engine.cancel("back", "rejected")

    await engine.end("w", tokens["back"], Verdict.REQUEUED)
    await engine.end("w", tokens["rejected"], Verdict.REJECTED, failure=FAILURE)

    assert (await engine.job("back")).state is State.CANCELLED
    assert (await engine.job("rejected")).state is State.CANCELLED
