"""Handing out under rules: rate limits by the clock, labels, and queues that change."""

from __future__ import annotations

import pytest
from tests.unit.broker.harness import TASK, Bench

from tqbroker_broker import workers
from tqbroker_broker.rules import LimitRule, Rate, Traits

RATED = LimitRule(f"task:{TASK}", rates=(Rate(1, 10_000),))


async def test_the_next_hand_out_comes_when_a_rate_admits_more(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(9)
    await bench.core.tick()
    await bench.core.orders.put_limits([LimitRule(f"task:{TASK}", rates=(Rate(1, 200),))], [])
    woken: list[bool] = []
    bench.core.agenda.on_earlier = lambda: woken.append(True)
    jobs = await bench.enqueue(2)
    assert [job for job, _ in worker.take()] == jobs[:1]
    assert bench.core.agenda.left(bench.clock.now()) == pytest.approx(0.202)
    assert woken
    bench.clock.advance(0.202)
    await bench.core.tick()
    assert [job for job, _ in worker.take()] == jobs[1:]


async def test_asking_again_does_not_do_the_upkeep(bench: Bench) -> None:
    await (await bench.worker().attach()).credit(9)
    await bench.core.tick()
    await bench.core.orders.put_limits([LimitRule(f"task:{TASK}", rates=(Rate(1, 200),))], [])
    asked: list[str] = []
    due = bench.engine.due

    async def counted(*args):  # type: ignore[no-untyped-def]
        asked.append("due")
        return await due(*args)

    bench.engine.due = counted  # type: ignore[method-assign]
    await bench.enqueue(3)
    bench.clock.advance(0.202)
    await bench.core.tick()
    assert asked == []
    bench.clock.advance(0.5)
    await bench.core.tick()
    assert asked == ["due"]


async def test_jobs_under_a_rate_limit_are_not_prefetched(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(1, window=50, fast=(TASK,))
    await bench.core.orders.put_limits([LimitRule(f"task:{TASK}", rates=(Rate(10_000, 1000),))], [])
    await bench.enqueue(5)
    ((_, token),) = worker.take()
    assert worker.session.slow == {token}
    await worker.succeed(token)
    assert len(worker.take()) == 1


async def test_a_limit_that_goes_lets_everybody_go_on_at_once(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(9)
    await bench.core.orders.put_limits([RATED], [])
    await bench.enqueue(5)
    assert len(worker.take()) == 1
    await bench.core.orders.put_limits([], [RATED.name])
    assert len(worker.take()) == 4


async def test_a_job_goes_only_to_a_worker_with_all_its_labels(bench: Bench) -> None:
    plain = await (await bench.worker("w1").attach()).credit(9)
    able = await (await bench.worker("w2", labels=("gpu", "eu")).attach()).credit(9)
    jobs = await bench.enqueue(3, traits=Traits(requires=("gpu",)))
    assert [job for job, _ in able.take()] == jobs
    assert plain.take() == []


async def test_a_worker_that_changes_its_queues_gets_jobs_of_the_new_ones_only(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(9)
    (mail,) = await bench.enqueue(1, queue="mail")
    bench.core.workers.consume(worker.session, ("mail",))
    await bench.core.workers.dispatch()
    assert [job for job, _ in worker.take()] == [mail]
    await bench.enqueue(1)
    assert worker.take() == []
    bench.core.workers.consume(worker.session, ())
    await bench.core.workers.dispatch()
    await bench.enqueue(1, queue="mail")
    assert worker.take() == []
    bench.core.workers.part(worker.session)
    assert list(bench.core.sessions.kinds()) == []


async def test_queues_that_change_during_a_hand_out_are_asked_for_at_once(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(9)
    await bench.enqueue(1, task="of nobody")
    await bench.enqueue(1, queue="mail")
    lease = bench.engine.lease
    changes = [("mail",)]

    async def changing(wants, now):  # type: ignore[no-untyped-def]
        answer = await lease(wants, now)
        if changes:
            bench.core.workers.consume(worker.session, changes.pop())
        return answer

    bench.engine.lease = changing  # type: ignore[method-assign]
    bench.core.workers.credit(worker.session, 9, 9, frozenset())
    await bench.core.workers.dispatch()
    assert len(worker.take()) == 1


async def test_a_worker_declares_the_limits_of_its_app_once_and_takes_them_back(bench: Bench) -> None:
    calls: list[tuple[int, int, bool]] = []
    put = bench.engine.put_limits

    async def counted(rules, remove, now, *, operator=True):  # type: ignore[no-untyped-def]
        calls.append((len(rules), len(remove), operator))
        await put(rules, remove, now, operator=operator)

    bench.engine.put_limits = counted  # type: ignore[method-assign]
    await bench.worker("w1", limits=[RATED]).attach()
    await bench.worker("w2", limits=[RATED]).attach()
    assert calls == [(1, 0, False)]
    assert [state.rule for state in bench.core.orders.limits()] == [RATED]
    await bench.worker("w3", tasks=("tasks.other",)).attach()
    assert [state.rule for state in bench.core.orders.limits()] == [RATED], "an app without the task has no say"
    await bench.worker("w4").attach()
    assert bench.core.orders.limits() == []


async def test_what_an_operator_has_set_no_app_changes(bench: Bench) -> None:
    mine = LimitRule(RATED.name, 7)
    await bench.core.orders.put_limits([mine], [])
    await bench.worker("w1", limits=[RATED]).attach()
    await bench.worker("w2").attach()
    (state,) = bench.core.orders.limits()
    assert (state.rule, state.operator) == (mine, True)


async def test_limits_that_apps_declare_are_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "MAX_LIMITS", 2)
    await bench.worker("w1", limits=[LimitRule("task:a", 1), LimitRule("task:b", 1)]).attach()
    await bench.worker("w2", limits=[LimitRule("task:b", 2), LimitRule("task:c", 1)]).attach()
    assert [state.rule for state in bench.engine.limits()] == [LimitRule("task:a", 1), LimitRule("task:b", 2)]
