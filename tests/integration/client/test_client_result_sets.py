"""Many results as one: asked for at once, waited for on one stream, in order or as they come."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest

from tqbroker import App
from tqbroker.eager import EagerResult
from tqbroker.exceptions import TimeoutError as JobTimeoutError
from tqbroker.exceptions import UnknownJob
from tqbroker.failures import failure_of
from tqbroker.result import GroupResult, ResultSet
from tqbroker.states import RevokeEffect
from tqbroker.v1 import job_pb2


def failure(error: Exception) -> job_pb2.Failure:
    data = failure_of(error)
    return job_pb2.Failure(type=data.type, module=data.module, message=data.message, args=data.args, format=data.format)


def three(app: App) -> ResultSet:
    return app.ResultSet(app.send_task("t", (number,)) for number in range(3))


def test_values_come_in_order_whatever_the_order_of_the_ends(wire: Any, app: App) -> None:
    results = three(app)
    with ThreadPoolExecutor(1) as pool:
        values = pool.submit(results.get, timeout=10)
        wire.until_watching(3)
        for number in (2, 0, 1):
            wire.finish(results[number].id, number * 10)

        assert values.result() == [0, 10, 20]
    assert wire.wait_calls == 1
    reads = wire.reads
    assert results.join() == [0, 10, 20]
    assert (results.ready(), results.successful(), results.failed(), results.completed_count()) == (
        True,
        True,
        False,
        3,
    )
    assert wire.reads == reads, "what has succeeded is known"


def test_values_are_handed_out_as_they_come(wire: Any, app: App) -> None:
    results = three(app)
    values = results.iterate(timeout=10)
    order = []
    for number in (1, 2, 0):
        wire.finish(results[number].id, number)
        order.append(next(values))

    assert order == [1, 2, 0]
    assert sorted((name, meta["status"], meta["result"]) for name, meta in results.iter_native()) == sorted(
        (results[number].id, "SUCCESS", number) for number in range(3)
    )


def test_where_they_stand_is_one_question(wire: Any, app: App) -> None:
    results = three(app)
    wire.finish(results[0].id, 1)
    reads = wire.reads

    assert (results.ready(), results.waiting(), results.completed_count()) == (False, True, 1)
    assert wire.reads == reads + 3


def test_a_failure_raises_at_once_with_its_own_class_and_says_who(wire: Any, app: App) -> None:
    results = three(app)
    wire.fail(results[1].id, failure(KeyError("boom")))
    with pytest.raises(KeyError, match="boom") as caught:
        results.get(timeout=10)

    [note] = caught.value.__notes__
    assert results[1].id in note
    with pytest.raises(KeyError):
        results.maybe_throw()
    for each in (0, 2):
        wire.finish(results[each].id, each)
    values = results.join(propagate=False)
    assert (values[0], repr(values[1]), values[2]) == (0, "KeyError('boom')", 2)
    assert (results.failed(), results.successful(), results.completed_count()) == (True, False, 2)


def test_a_failure_is_not_kept_for_it_may_be_redriven(wire: Any, app: App) -> None:
    result = app.send_task("t")
    wire.fail(result.id, failure(ValueError("once")))
    with pytest.raises(ValueError, match="once"):
        result.get(timeout=10)
    wire.jobs[result._key].ClearField("failure")
    wire.finish(result.id, 8)

    assert (result.get(timeout=10), result.state, app.ResultSet([result]).get()) == (8, "SUCCESS", [8])


def test_a_timeout_says_how_many_are_left(wire: Any, app: App) -> None:
    results = three(app)
    wire.finish(results[1].id, 1)
    start = time.monotonic()
    with pytest.raises(JobTimeoutError, match=r"2 of 3 jobs have not ended within 0.2 s") as caught:
        results.get(timeout=0.2)

    assert time.monotonic() - start < 2
    assert results[0].id in str(caught.value)
    with pytest.raises(JobTimeoutError):
        results.join(timeout=0.05)


def test_a_restart_of_the_broker_is_waited_through(wire: Any, app: App, lost: Any) -> None:
    results = three(app)
    with ThreadPoolExecutor(1) as pool:
        values = pool.submit(results.get, timeout=20)
        wire.until_watching(3)
        wire.finish(results[0].id, 0)
        wire.stop()
        assert lost.wait(5)
        wire.start()
        for number in (1, 2):
            wire.finish(results[number].id, number)

        assert values.result() == [0, 1, 2]


def test_callbacks_get_each_value_instead_of_the_list(wire: Any, app: App) -> None:
    results = three(app)
    for number in range(3):
        wire.finish(results[number].id, number)
    seen: list[tuple[str, int]] = []

    assert results.join(callback=lambda name, value: seen.append((name, value))) == []
    assert seen == [(results[number].id, number) for number in range(3)]
    results.get(callback=lambda name, value: seen.append((name, value)))
    assert sorted(seen[3:]) == sorted(seen[:3])


def test_who_wants_to_hear_while_waiting_does(wire: Any, app: App) -> None:
    results = three(app)
    ticks: list[float] = []
    ends: list[dict[str, Any]] = []

    def tick() -> None:
        ticks.append(time.monotonic())
        if len(ticks) == 3:
            for number in range(3):
                wire.finish(results[number].id, number)

    assert results.get(interval=0.02, on_interval=tick, on_message=ends.append) == [0, 1, 2]
    assert all(after > before for before, after in pairwise(ticks))
    assert {end["task_id"] for end in ends} == {each.id for each in results}


def test_groups_in_a_set_and_what_was_run_in_place_are_part_of_it(wire: Any, app: App) -> None:
    jobs = three(app)
    inner = GroupResult("11111111-1111-4111-8111-111111111111", jobs.results[1:], app=app)
    done: EagerResult[int] = EagerResult("eager", 7, "SUCCESS")
    results = app.ResultSet([jobs[0], inner, done])
    for number in range(3):
        wire.finish(jobs[number].id, number)

    assert results.get(timeout=10) == [0, [1, 2], 7]
    assert (results.completed_count(), results.successful()) == (4, True)


def test_a_set_is_changed_like_a_list_without_repeats(wire: Any, app: App) -> None:
    jobs = three(app).results
    results = ResultSet([jobs[0]])
    results.add(jobs[1])
    results.add(jobs[1])
    results.update([jobs[1], jobs[2]])

    assert (list(results), len(results), results[2], results == ResultSet(jobs)) == (jobs, 3, jobs[2], True)
    results.remove(jobs[0].id)
    results.discard(jobs[0])
    with pytest.raises(KeyError):
        results.remove(jobs[0])
    assert list(results) == jobs[1:]
    results.add(jobs[0])
    assert list(results) == [*jobs[1:], jobs[0]]
    results.clear()
    assert (len(results), results.ready(), results.get()) == (0, True, [])


def test_all_are_cancelled_and_forgotten_at_once(wire: Any, app: App) -> None:
    results = three(app)
    results.add(app.AsyncResult("nobody"))

    assert results.revoke() == [*[RevokeEffect.CANCELLED] * 3, RevokeEffect.UNKNOWN]
    assert results[0].revoke(wait=True, timeout=2) is RevokeEffect.CANCELLED
    results.forget()
    assert all(each.state == "UNKNOWN" for each in results)
    assert results.ready()


def test_a_member_that_nobody_knows_raises_at_once(wire: Any, app: App) -> None:
    with pytest.raises(UnknownJob, match="nobody"):
        app.ResultSet([*three(app), app.AsyncResult("nobody")]).get(timeout=10)


def test_ten_thousand_are_quick(wire: Any, app: App) -> None:
    @app.task(name="t")
    def task(number: int) -> int:
        return number

    results = app.ResultSet(())
    with app.batch():
        results.update([task.delay(number) for number in range(10_000)])
    start = time.perf_counter()
    assert results.completed_count() == 0
    for each in results:
        wire.jobs[each._key].MergeFrom(
            job_pb2.JobStatus(state=job_pb2.STATE_SUCCEEDED, result=b"1", result_format="json")
        )
    assert results.get(timeout=30) == [1] * 10_000
    assert time.perf_counter() - start < 10
    print(f"10,000 results: {time.perf_counter() - start:.2f} s")


async def test_a_set_is_awaited(wire: Any, app: App) -> None:
    results = app.ResultSet([await app.asend_task("t", (number,)) for number in range(3)])

    async def work() -> None:
        await asyncio.to_thread(wire.until_watching, 3)
        for number in (2, 1, 0):
            wire.finish(results[number].id, number)

    _, values = await asyncio.gather(work(), results)
    assert values == [0, 1, 2]
    assert await results.aget() == [0, 1, 2]
    late = app.ResultSet([await app.asend_task("t")])
    with pytest.raises(JobTimeoutError, match="1 of 1 jobs"):
        await late.aget(timeout=0.1)
    wire.fail(late[0].id, failure(KeyError("boom")))
    with pytest.raises(KeyError):
        await late
    await app.aclose()
