"""What every engine must do with tenants, ordering keys and labels: whose turn it is, one at a time, and who may."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.contracts.harness import TTL, EngineUnderTest, head_with

from tqbroker_broker.attempts import Verdict, Want
from tqbroker_broker.questions import Move
from tqbroker_broker.records import Head, State, key_text, text_key
from tqbroker_broker.rules import LimitRule, QueueRule, Rate, Traits


async def fill(engine: EngineUnderTest, tenant: str, count: int, priority: int = 0) -> None:
    """Jobs of a tenant, called after it."""
    names = [f"{tenant}{number}" for number in range(count)]
    await engine.put(*names, head=head_with(tenant=tenant, priority=priority))


async def weigh(engine: EngineUnderTest, **weights: int) -> None:
    await engine.verbs.put_queue("default", QueueRule(weights=weights), engine.now)


def shares(names: dict[str, int]) -> Counter[str]:
    """How many jobs each tenant got; a tenant's name is one letter."""
    return Counter(name[0] for name in names)


# -- tenants -----------------------------------------------------------------------------------------------------------


async def test_tenants_of_equal_weight_get_equally_many_jobs(engine: EngineUnderTest) -> None:
    await fill(engine, "a", 100)
    await fill(engine, "b", 20)
    await fill(engine, "c", 20)
    await engine.join()

    assert shares(await engine.take(slots=30)) == {"a": 10, "b": 10, "c": 10}
    assert shares(await engine.take(slots=30)) == {"a": 10, "b": 10, "c": 10}
    assert shares(await engine.take(slots=30)) == {"a": 30}


async def test_turns_go_on_from_one_hand_out_to_the_next(engine: EngineUnderTest) -> None:
    for tenant in "abc":
        await fill(engine, tenant, 10)
    await engine.join()
    got: Counter[str] = Counter()
    for _ in range(15):
        got += shares(await engine.take(slots=1))

    assert got == {"a": 5, "b": 5, "c": 5}


async def test_tenants_get_jobs_by_their_weights(engine: EngineUnderTest) -> None:
    await weigh(engine, a=3)
    await fill(engine, "a", 100)
    await fill(engine, "b", 100)
    await engine.join()

    assert shares(await engine.take(slots=40)) == {"a": 30, "b": 10}


async def test_the_jobs_of_one_tenant_keep_their_order(engine: EngineUnderTest) -> None:
    await fill(engine, "a", 5)
    await fill(engine, "b", 5)
    await engine.join()

    names = list(await engine.take())
    for tenant in "ab":
        assert [name for name in names if name[0] == tenant] == [f"{tenant}{number}" for number in range(5)]


async def test_a_quiet_tenant_waits_for_one_turn_of_a_noisy_one(engine: EngineUnderTest) -> None:
    await fill(engine, "a", 100)
    await engine.join()
    await engine.take(slots=10)
    await fill(engine, "b", 1)

    assert "b0" in await engine.take(slots=2)


async def test_a_tenant_that_was_away_has_saved_nothing_up(engine: EngineUnderTest) -> None:
    await fill(engine, "a", 100)
    await fill(engine, "b", 1)
    await engine.join()
    await engine.take(slots=50)
    await fill(engine, "b", 50)

    assert abs(shares(await engine.take(slots=20))["b"] - 10) <= 1


async def test_a_tenant_that_was_alone_lets_a_new_one_go_first(engine: EngineUnderTest) -> None:
    await fill(engine, "a", 20)
    await engine.join()
    await engine.take(slots=5)
    await fill(engine, "b", 5)

    assert list(await engine.take(slots=3)) == ["b0", "a5", "b1"]


async def test_priority_goes_before_turns(engine: EngineUnderTest) -> None:
    await fill(engine, "a", 5)
    await fill(engine, "b", 5, priority=3)
    await engine.join()

    assert shares(await engine.take(slots=5)) == {"b": 5}


async def test_jobs_without_a_tenant_share_as_one_tenant_does(engine: EngineUnderTest) -> None:
    await engine.put(*(f"-{number}" for number in range(50)))
    await fill(engine, "b", 50)
    await engine.join()

    assert shares(await engine.take(slots=20)) == {"-": 10, "b": 10}


async def test_a_tenant_with_nothing_for_a_worker_keeps_nobody_waiting(engine: EngineUnderTest) -> None:
    await engine.put("x0", "x1", head=head_with(task="tasks.unknown", tenant="x"))
    await fill(engine, "b", 3)
    await engine.join()

    assert shares(await engine.take()) == {"b": 3}


async def test_a_rate_to_be_paid_for_costs_nobody_a_turn(engine: EngineUnderTest) -> None:
    await engine.verbs.put_limits([LimitRule("queue:mail", 0, (Rate(5, 1000),))], [], engine.now)
    await fill(engine, "a", 2)
    await fill(engine, "b", 2)
    await engine.join()
    want = Want("w", ("default", "mail"), frozenset({"tasks.add"}), 1, 1)
    (first,) = await engine.lease(want)
    await engine.put("again", head=head_with(queue="mail", priority=1))
    batches = await engine.lease(want._replace(slots=2, window=2))

    names = [key_text(job) for batch in (first, *batches) for job in batch.ids]
    assert names == ["a0", "again", "b0"]


@pytest.mark.parametrize("moves", [False, True])
async def test_a_job_that_is_gone_lets_no_other_queue_go_first(engine: EngineUnderTest, moves: bool) -> None:
    await fill(engine, "", 1)
    await fill(engine, "a", 2)
    await engine.put("mail", head=head_with(queue="mail"))
    await engine.put("gone")
    await engine.join()
    assert list(await engine.take(slots=2)) == ["0", "a0"]

    if moves:
        await engine.verbs.edit([text_key("gone")], Move(queue="elsewhere"), engine.now)
    else:
        await engine.cancel("gone")
    want = Want("w", ("default", "mail"), frozenset({"tasks.add"}), 1, 1)

    assert [(await engine.lease(want))[0].ids for _ in range(2)] == [[text_key("a1")], [text_key("mail")]]


async def test_turns_are_taken_after_a_restart_too(engine: EngineUnderTest) -> None:
    for tenant in "ab":
        await fill(engine, tenant, 20)
    await engine.restart()
    await engine.join()

    assert shares(await engine.take(slots=20)) == {"a": 10, "b": 10}


# -- ordering keys -----------------------------------------------------------------------------------------------------


async def test_jobs_with_one_key_run_one_at_a_time_in_their_order(engine: EngineUnderTest) -> None:
    await engine.put("a", "b", "c", head=head_with(ordering_key="k"))
    await engine.join()
    for name in "abc":
        tokens = await engine.take()
        assert list(tokens) == [name]
        assert await engine.take() == {}
        await engine.succeed("w", tokens.values())


async def test_other_keys_and_jobs_without_one_go_on(engine: EngineUnderTest) -> None:
    await engine.put("k1", "k2", head=head_with(ordering_key="k"))
    await engine.put("l1", "l2", head=head_with(ordering_key="l"))
    await engine.put("plain")
    await engine.join()

    assert list(await engine.take()) == ["k1", "l1", "plain"]


async def test_a_key_is_one_over_priorities_and_tasks_and_not_over_queues(engine: EngineUnderTest) -> None:
    await engine.put("low", head=head_with(ordering_key="k"))
    await engine.put("high", head=head_with(ordering_key="k", priority=5))
    await engine.put("slow", head=head_with(ordering_key="k", task="tasks.slow"))
    await engine.put("mail", head=head_with(ordering_key="k", queue="mail"))
    await engine.join()

    tokens = await engine.take()
    assert list(tokens) == ["high"]
    assert list(await engine.take(queue="mail")) == ["mail"]
    await engine.succeed("w", tokens.values())
    assert list(await engine.take()) == ["low"]


@pytest.mark.parametrize("verdict", [Verdict.LOST, None])
async def test_a_lease_that_comes_back_goes_first_again(engine: EngineUnderTest, verdict: Verdict | None) -> None:
    await engine.put("a", "b", head=head_with(ordering_key="k"))
    await engine.join()
    token = (await engine.take())["a"]

    if verdict is None:
        await engine.verbs.release("w", [token], engine.now)
    else:
        await engine.end("w", token, verdict)

    assert list(await engine.take()) == ["a"]


async def test_a_retry_lets_the_next_of_its_key_go_first(engine: EngineUnderTest) -> None:
    await engine.put("a", "b", head=head_with(ordering_key="k"))
    await engine.join()
    await engine.end("w", (await engine.take())["a"], Verdict.RETRY, retry_in=5)

    tokens = await engine.take()
    assert list(tokens) == ["b"]
    engine.advance(5)
    await engine.verbs.due(engine.now, 10)
    assert await engine.take() == {}
    await engine.succeed("w", tokens.values())
    assert list(await engine.take()) == ["a"]


async def test_a_job_that_waits_for_its_key_says_so(engine: EngineUnderTest) -> None:
    await engine.put("a", "b", head=head_with(ordering_key="k"))
    assert [(await engine.job(name)).held_by for name in "ab"] == ["", ""]
    await engine.join()
    await engine.take()

    assert [(await engine.job(name)).held_by for name in "ab"] == ["", "ordering key k"]


async def test_the_first_of_a_key_that_is_cancelled_or_expires_holds_nobody(engine: EngineUnderTest) -> None:
    await engine.put("a", "b", head=head_with(ordering_key="k"), expires_ms=engine.later(5))
    await engine.put("c", head=head_with(ordering_key="k"))
    await engine.cancel("a")
    engine.advance(5)
    await engine.join()

    assert list(await engine.take()) == ["c"]


async def test_a_lost_worker_frees_its_keys(engine: EngineUnderTest) -> None:
    await engine.put("a", "b", head=head_with(ordering_key="k"))
    await engine.join()
    await engine.take()
    engine.advance(TTL)
    await engine.verbs.expire(engine.now, 10)
    await engine.join("v")

    assert list(await engine.take("v")) == ["a"]


async def test_many_keys_at_once_are_handed_out_in_the_order_of_their_submits(engine: EngineUnderTest) -> None:
    names = [f"{number:03}" for number in range(300)]
    for name in names:
        await engine.put(name, head=head_with(ordering_key=name))
    await engine.join()

    assert list(await engine.take(slots=200)) + list(await engine.take(slots=200)) == names


async def test_after_a_restart_a_key_waits_until_its_worker_is_back(engine: EngineUnderTest) -> None:
    await engine.put("a", "b", head=head_with(ordering_key="k"))
    await engine.join()
    tokens = await engine.take()
    await engine.restart()
    await engine.join("v")
    await engine.put("c", head=head_with(ordering_key="k"))
    await engine.put("plain")

    assert list(await engine.take("v")) == ["plain"]
    assert (await engine.job("c")).held_by == "recovering"

    await engine.join(held=tokens)
    assert await engine.take("v") == {}
    await engine.succeed("w", tokens.values())
    assert list(await engine.take("v")) == ["b"]


async def test_after_a_restart_a_key_goes_on_when_the_wait_is_over(engine: EngineUnderTest) -> None:
    await engine.put("a", head=head_with(ordering_key="k"))
    await engine.join()
    await engine.take()
    await engine.restart()
    await engine.put("b", head=head_with(ordering_key="k"))
    engine.advance(TTL)
    await engine.expire_all(10)
    await engine.join("v")

    assert list(await engine.take("v")) == ["a"]


async def test_a_lane_used_up_can_be_used_again(engine: EngineUnderTest) -> None:
    await engine.join()
    for round_number in range(3):
        for name in "ab":
            await engine.put(f"{name}{round_number}", head=head_with(ordering_key="k", tenant=name))
        for _ in "ab":
            tokens = await engine.take()
            assert len(tokens) == 1
            await engine.succeed("w", tokens.values())
    assert await engine.take() == {}


async def test_a_moved_job_keeps_its_key(engine: EngineUnderTest) -> None:
    await engine.put("a", "b", head=head_with(ordering_key="k"))
    await engine.put("mail", head=head_with(ordering_key="k", queue="mail"))
    await engine.verbs.edit([text_key("a")], Move(queue="mail"), engine.now)
    await engine.join()

    assert list(await engine.take(queue="mail")) == ["mail"]
    assert list(await engine.take()) == ["b"]
    assert (await engine.job("a")).held_by == "ordering key k"


# -- labels ------------------------------------------------------------------------------------------------------------


async def test_a_job_goes_to_a_worker_that_has_all_its_labels(engine: EngineUnderTest) -> None:
    await engine.put("gpu", head=head_with(requires=["gpu"]))
    await engine.put("both", head=head_with(requires=["gpu", "region=eu"]))
    await engine.put("plain")
    await engine.join()

    assert list(await engine.take()) == ["plain"]
    assert list(await engine.take(labels=["gpu", "arm"])) == ["gpu"]
    assert list(await engine.take(labels=["region=eu", "gpu"])) == ["both"]


async def test_a_worker_with_labels_takes_jobs_that_ask_for_none(engine: EngineUnderTest) -> None:
    await engine.put("gpu", head=head_with(requires=["gpu"]))
    await engine.put("plain")
    await engine.join()

    assert list(await engine.take(labels=["gpu"])) == ["gpu", "plain"]


# -- traits ------------------------------------------------------------------------------------------------------------


async def test_a_job_keeps_its_traits(engine: EngineUnderTest) -> None:
    traits = Traits("t", "k", ("mail", "api"), ("gpu",), ("run=1",), 5000, 4000, None, "shown")
    head = Head("tasks.add", "default", 0, "json", traits=traits)
    await engine.put("a", head=head)
    await engine.restart()

    job = await engine.job("a")
    assert (job.state, job.head) == (State.QUEUED, head)
