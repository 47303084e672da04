"""What may happen between the moment a change is written and the moment it is durable: nothing that it forbids."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts.harness import CONFIG, GRACE, TTL, EngineUnderTest, head_with

from tqbroker_broker.answers import Cancelled
from tqbroker_broker.records import Head, NewJobs, State, text_key
from tqbroker_broker.rules import LimitRule, Rate, Traits, Unique, UniqueConflict, UniqueUntil
from tqbroker_broker.storage import Unavailable
from tqbroker_broker.storage.lmdb import commit


class Disk:
    """Holds every commit just before its flush while it is closed, and can make them fail."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.errors: list[Exception] = []

    def hit(self, name: str) -> None:
        if name == "before_commit":
            assert self.open.wait(30)
            if self.errors:
                raise self.errors.pop(0)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(commit, "hit", disk.hit)
    return disk


@pytest.fixture
async def engine(tmp_path: Path, disk: Disk) -> AsyncIterator[EngineUnderTest]:
    under_test = EngineUnderTest("lmdb", tmp_path)
    await under_test.open()
    yield under_test
    disk.open.set()
    await under_test.verbs.close()


def replace_priority(head: Head) -> Head:
    """The same for another lane."""
    return Head(head.task, head.queue, 5, head.format, traits=head.traits)


async def let_run() -> None:
    """Lets what was started get as far as the disk."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_lease_that_is_being_adopted_is_given_to_nobody_else(engine: EngineUnderTest, disk: Disk) -> None:
    await engine.join("a")
    await engine.put("job")
    token = (await engine.take("a"))["job"]
    await engine.restart()
    await engine.join("b", process=2)
    engine.advance(TTL - 1)
    engine.extend("b", process=2)
    disk.open.clear()
    joining = asyncio.create_task(engine.join("a", {"job": token}))
    await let_run()
    engine.advance(2)
    assert await engine.take("b") == {}
    disk.open.set()
    assert (await joining).lost == []
    assert not (await engine.succeed("a", [token])).refused
    assert (await engine.job("job")).state is State.SUCCEEDED


@pytest.mark.parametrize("head", [head_with(limits=["mail"]), head_with(ordering_key="k")])
async def test_a_lease_that_is_being_adopted_counts_against_limits_and_keys_at_once(
    engine: EngineUnderTest, disk: Disk, head: Head
) -> None:
    await engine.verbs.put_limits([LimitRule("mail", 1)], [], engine.now)
    await engine.join("a")
    await engine.put("job", head=head)
    token = (await engine.take("a"))["job"]
    await engine.restart()
    await engine.join("b", process=2)
    await engine.put("next", head=replace_priority(head))
    engine.advance(TTL - 1)
    engine.extend("b", process=2)
    disk.open.clear()
    joining = asyncio.create_task(engine.join("a", {"job": token}))
    await let_run()
    engine.advance(2)
    assert await engine.take("b") == {}
    disk.open.set()
    assert (await joining).lost == []
    assert await engine.take("b") == {}
    await engine.succeed("a", [token])
    assert list(await engine.take("b")) == ["next"]


async def test_a_lease_whose_adoption_did_not_fit_is_in_nobodys_way(engine: EngineUnderTest, disk: Disk) -> None:
    head = head_with(limits=["mail"], ordering_key="k")
    await engine.verbs.put_limits([LimitRule("mail", 1)], [], engine.now)
    await engine.join("a")
    await engine.put("job", head=head)
    token = (await engine.take("a"))["job"]
    await engine.restart()
    await engine.join("b", process=2)
    disk.errors = [OSError("No space left on device")] * 2
    with pytest.raises(Unavailable):
        await engine.join("a", {"job": token})
    engine.advance(TTL + 1)
    engine.extend("b", process=2)
    assert (await engine.verbs.expire(engine.now, 10)).lost_workers == ["a"]
    assert list(await engine.take("b")) == ["job"]


async def test_a_rate_that_is_taken_away_while_a_start_is_paid_for_holds_nothing_up(
    engine: EngineUnderTest, disk: Disk
) -> None:
    await engine.verbs.put_limits([LimitRule("mail", 0, (Rate(1, 60_000),))], [], engine.now)
    await engine.join()
    await engine.put("a", "b", head=head_with(limits=["mail"]))
    disk.open.clear()
    changing = asyncio.create_task(engine.verbs.put_limits([LimitRule("mail", 5)], [], engine.now))
    await let_run()
    taking = asyncio.create_task(engine.take())
    await let_run()
    disk.open.set()
    await changing
    assert {*await taking, *await engine.take()} == {"a", "b"}


async def test_two_payments_in_one_commit_drop_old_starts_once(engine: EngineUnderTest, disk: Disk) -> None:
    rates = (Rate(1, 1000),)
    await engine.verbs.put_limits([LimitRule("old", 0, rates), LimitRule("new", 0, rates)], [], engine.now)
    await engine.join()
    await engine.put("first", head=head_with(limits=["old"]))
    await engine.put("second", head=head_with(limits=["new"]))
    assert list(await engine.take(slots=1)) == ["first"]
    engine.advance(5)
    disk.open.clear()
    busy = asyncio.create_task(engine.put("another"))
    await let_run()
    vain = asyncio.create_task(engine.take())
    await let_run()
    vain.cancel()  # its caller went away
    taking = asyncio.create_task(engine.take())
    await let_run()
    disk.open.set()
    await busy
    assert list(await taking) == ["second", "another"]
    await engine.put("more")


async def test_a_start_that_is_paid_for_and_not_taken_yet_survives_a_restart_when_it_is(
    engine: EngineUnderTest, disk: Disk
) -> None:
    rates = (Rate(1, 60_000),)
    await engine.verbs.put_limits([LimitRule("a", 0, rates), LimitRule("b", 0, rates)], [], engine.now)
    await engine.join()
    await engine.put("a1", head=head_with(limits=["a"]))
    disk.open.clear()
    busy = asyncio.create_task(engine.put("another", head=head_with(queue="other", limits=["a"])))
    await let_run()
    taking = asyncio.create_task(engine.take())
    await let_run()
    cancelling = asyncio.create_task(engine.cancel("a1"))
    await let_run()
    disk.open.set()
    await busy
    await cancelling
    assert await taking == {}
    await engine.put("b1", head=head_with(limits=["b"]))
    assert list(await engine.take()) == ["b1"]
    await engine.put("a2", "a3", head=head_with(limits=["a"]))
    (token,) = (await engine.take()).values()
    await engine.restart()
    engine.advance(1)
    await engine.join(held={"a2": token})
    assert await engine.take() == {}


async def test_a_worker_that_comes_back_with_the_last_breath_is_not_given_up(
    engine: EngineUnderTest, disk: Disk
) -> None:
    await engine.join("a")
    await engine.put("job")
    token = (await engine.take("a"))["job"]
    engine.part("a")
    engine.advance(GRACE + 0.1)
    disk.open.clear()
    busy = asyncio.create_task(engine.put("other"))
    await let_run()
    joining = asyncio.create_task(engine.join("a", {"job": token}))
    expiring = asyncio.create_task(engine.verbs.expire(engine.now, 100))
    await let_run()
    disk.open.set()
    await asyncio.gather(busy, joining)
    assert (await expiring).lost_workers == []
    assert (await engine.job("job")).lost == 0
    assert (await engine.restart()).awaited == ["a"]


async def test_a_worker_that_is_being_given_up_is_handed_nothing(engine: EngineUnderTest, disk: Disk) -> None:
    await engine.join("silent")
    await engine.put("held")
    await engine.take("silent", 1)
    await engine.put("job")
    engine.advance(TTL + 1)
    disk.open.clear()
    expiring = asyncio.create_task(engine.verbs.expire(engine.now, 100))
    await let_run()
    engine.extend("silent")
    assert await engine.take("silent") == {}
    disk.open.set()
    assert (await expiring).lost_workers == ["silent"]
    await engine.join("other", process=2)
    assert list(await engine.take("other")) == ["held", "job"]


async def test_a_job_whose_cancel_did_not_fit_is_handed_out(engine: EngineUnderTest, disk: Disk) -> None:
    await engine.join()
    await engine.put("job")
    disk.errors = [OSError("No space left on device"), OSError("No space left on device")]
    disk.open.clear()
    cancelling = asyncio.create_task(engine.cancel("job"))
    await let_run()
    assert await engine.take() == {}
    disk.open.set()
    with pytest.raises(Unavailable):
        await cancelling
    assert list(await engine.take()) == ["job"]


async def test_a_replacement_that_did_not_fit_leaves_the_holder_its_key(engine: EngineUnderTest, disk: Disk) -> None:
    unique = Unique(UniqueUntil.FINISHED, UniqueConflict.REPLACE)
    head = Head("tasks.add", "default", 0, "json", traits=Traits(unique=unique))
    await engine.join()
    await engine.put("old", head=head, keys=["k"])
    disk.errors = [OSError("No space left on device"), OSError("No space left on device")]
    disk.open.clear()
    replacing = asyncio.create_task(engine.put("new", head=head, keys=["k"]))
    await let_run()
    assert await engine.take() == {}
    disk.open.set()
    with pytest.raises(Unavailable):
        await replacing
    assert (await engine.job("new")).state is State.UNKNOWN
    assert list(await engine.take()) == ["old"]
    assert (await engine.put("newer", head=head, keys=["k"])).holders == {0: text_key("old")}


async def test_notes_that_do_not_fit_keep_no_outcome_waiting(engine: EngineUnderTest, disk: Disk) -> None:
    await engine.join()
    await engine.put("a", "b")
    tokens = await engine.take()
    disk.open.clear()
    first = asyncio.create_task(engine.put("c"))
    await let_run()
    said = asyncio.create_task(engine.annotate("w", tokens["a"], checkpoint=b"1"))
    done = asyncio.create_task(engine.succeed("w", [tokens["b"]]))
    await let_run()
    disk.errors = [OSError("No space left on device")] * 4
    disk.open.set()
    with pytest.raises(Unavailable):
        await first
    with pytest.raises(Unavailable):
        await said
    assert (await done).final == [text_key("b")]
    assert (await engine.job("a")).state is State.RUNNING


async def test_a_cancel_beside_the_adoption_of_its_job_marks_the_lease(engine: EngineUnderTest, disk: Disk) -> None:
    await engine.join("a")
    await engine.put("job")
    token = (await engine.take("a"))["job"]
    await engine.restart()
    engine.advance(TTL)
    disk.open.clear()
    busy = asyncio.create_task(engine.put("other"))
    await let_run()
    joining = asyncio.create_task(engine.join("a", {"job": token}))
    cancelling = asyncio.create_task(engine.cancel("job"))
    await let_run()
    disk.open.set()
    await asyncio.gather(busy, joining)
    assert (await cancelling).effects == [Cancelled.RUNNING]
    assert not (await engine.succeed("a", [token])).refused


async def test_an_error_after_a_commit_ends_the_service_instead_of_hanging_it(engine: EngineUnderTest) -> None:
    await engine.put("job")
    loop = asyncio.get_running_loop()
    heard: list[object] = []
    loop.set_exception_handler(lambda _, context: heard.append(context))
    engine.verbs._store.book.drop = None  # type: ignore[attr-defined]
    await engine.join()
    token = (await engine.take())["job"]
    with pytest.raises(Exception, match=r"storage failed|NoneType"):
        await asyncio.wait_for(engine.succeed("w", [token]), 5)
    with pytest.raises(Exception, match="must be restarted"):
        await asyncio.wait_for(engine.put("later"), 5)
    assert heard


async def test_a_slice_of_endings_is_bounded_in_what_it_looks_at(tmp_path: Path) -> None:
    engine = EngineUnderTest("lmdb", tmp_path / "many", replace(CONFIG, dedup_window=1.0, result_ttl=1.0))
    await engine.open()
    await engine.join()
    head = Head("tasks.add", "default", 0, "json")
    ids = [text_key(f"job{i}") for i in range(400)]
    batch = NewJobs(head, ids, [b"[]"] * 400, [b"d" * 16] * 400, expires_ms=engine.later(10))
    await engine.verbs.enqueue([batch], engine.now)
    await engine.succeed("w", (await engine.take(slots=400)).values())
    engine.advance(20)
    engine.extend()
    first = await engine.verbs.expire(engine.now, 10)
    assert first.more
    stats = await engine.verbs.stats()
    assert stats.queues["default"].succeeded >= 400 - 10
    slices = 1
    while (await engine.verbs.expire(engine.now, 10)).more:
        slices += 1
    assert slices < 200
    assert (await engine.verbs.stats()).queues == {}
    await engine.verbs.close()
