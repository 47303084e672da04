"""What operators order, and what the ends of others' jobs tell: edits, rules, cancels, commands, events."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.unit.broker.harness import TASK, Bench, FakeWorker

from tqbroker.v1 import job_pb2, queue_pb2
from tqbroker_broker.answers import Stored
from tqbroker_broker.attempts import Annotation, Progress, Verdict
from tqbroker_broker.commands import MAX_ASKED, MAX_REPLY, Commands, Reply
from tqbroker_broker.feed import MAX_FOLLOWERS, Feed
from tqbroker_broker.orders import MAX_RULES
from tqbroker_broker.questions import EventKind, Move, Redrive, Reschedule
from tqbroker_broker.records import JobId, State
from tqbroker_broker.refusals import Busy, NotFound, Stopping, TooLarge
from tqbroker_broker.rules import LimitRule, Overflow, QueueRule, Traits, Unique, UniqueConflict, UniqueUntil
from tqbroker_broker.service import QueueService
from tqbroker_broker.sessions import MAX_COMMANDS, Command
from tqbroker_broker.storage import QueueInUse

REPLACE = Traits(unique=Unique(UniqueUntil.FINISHED, UniqueConflict.REPLACE))


async def test_a_redriven_job_is_handed_out_at_once(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(1)
    (job,) = await bench.enqueue(1)
    ((_, token),) = worker.take()
    await worker.end(token, Verdict.FAILED)
    await bench.core.orders.edit([job], Redrive())
    ((again, higher),) = worker.take()
    assert again == job
    assert higher > token


async def test_a_rescheduled_job_moves_the_next_tick(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(1)
    (job,) = await bench.enqueue(1, due_in_ms=60_000)
    await bench.core.tick()
    await bench.core.orders.edit([job], Reschedule(bench.clock.now().wall_ms + 100))
    assert bench.core.agenda.left(bench.clock.now()) == pytest.approx(0.1)
    await bench.core.orders.edit([job], Reschedule(0))
    assert [taken for taken, _ in worker.take()] == [job]


async def test_a_moved_job_is_handed_out_by_who_takes_its_new_queue(bench: Bench) -> None:
    worker = await (await bench.worker(queues=("mail",)).attach()).credit(1)
    (job,) = await bench.enqueue(1)
    await bench.core.orders.edit([job], Move(queue="mail"))
    assert [taken for taken, _ in worker.take()] == [job]


ONE = job_pb2.Unique(until=job_pb2.UNIQUE_UNTIL_FINISHED, conflict=job_pb2.UNIQUE_CONFLICT_REPLACE)


async def submitted_by_who_goes_away(bench: Bench, **fields: Any) -> JobId:
    """A job whose submitter does not wait until it is stored."""
    gate = asyncio.Event()
    enqueue = bench.engine.enqueue

    async def slow(*args):  # type: ignore[no-untyped-def]
        await gate.wait()
        return await enqueue(*args)

    bench.engine.enqueue = slow  # type: ignore[method-assign]
    before = asyncio.all_tasks()
    job = b"of one who left!"
    batch = job_pb2.JobBatch(task=TASK, format="json", ids=job_pb2.Ids(uuids=job), args=[b"[]"], **fields)
    submitting = asyncio.create_task(QueueService(bench.core).enqueue(queue_pb2.EnqueueRequest(batches=[batch])))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    submitting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await submitting
    gate.set()
    await asyncio.wait(asyncio.all_tasks() - before)
    return job


async def test_who_waits_for_a_replaced_job_hears_of_its_end_though_the_submitter_has_gone(bench: Bench) -> None:
    (old,) = await bench.enqueue(1, traits=REPLACE)
    watcher = bench.watch(old)
    await submitted_by_who_goes_away(bench, unique_keys=[b"u" * 16], traits=job_pb2.Traits(unique=ONE))
    assert watcher.take(9) == [old]
    (found,) = await bench.core.get([old])
    assert found.state is State.CANCELLED


async def test_a_job_is_handed_out_at_once_though_its_submitter_has_gone(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(1)
    job = await submitted_by_who_goes_away(bench)
    assert [taken for taken, _ in worker.take()] == [job]


async def test_a_delayed_job_moves_the_next_tick_though_its_submitter_has_gone(bench: Bench) -> None:
    await bench.core.tick()
    await submitted_by_who_goes_away(bench, countdown_ms=100)
    assert bench.core.agenda.left(bench.clock.now()) == pytest.approx(0.1)


async def test_who_waits_for_a_job_dropped_from_a_full_queue_hears_of_it(bench: Bench) -> None:
    rule = QueueRule(max_length=1, overflow=Overflow.DROP_OLDEST)
    await bench.core.orders.change_queue("default", lambda _: rule)
    (old,) = await bench.enqueue(1)
    watcher = bench.watch(old)
    await bench.enqueue(1)
    assert watcher.take(9) == [old]
    (found,) = await bench.core.get([old])
    assert found.state is State.FAILED


async def test_a_full_queue_refuses(bench: Bench) -> None:
    await bench.core.orders.change_queue("default", lambda _: QueueRule(max_length=1))
    await bench.enqueue(1)
    (answer,) = await bench.submit([b"one too many ..."])
    assert answer.exceptions == {0: Stored.QUEUE_FULL}


async def test_changes_of_one_rule_do_not_overwrite_each_other(bench: Bench) -> None:
    orders = bench.core.orders
    await asyncio.gather(
        orders.change_queue("q", lambda rule: QueueRule(paused=True, max_length=rule.max_length)),
        orders.change_queue("q", lambda rule: QueueRule(paused=rule.paused, max_length=5)),
    )
    assert orders.queue_rules()["q"] == QueueRule(paused=True, max_length=5)


async def test_rules_are_bounded_in_number(bench: Bench) -> None:
    orders = bench.core.orders
    bench.engine.queue_rules = lambda: {str(n): QueueRule(paused=True) for n in range(MAX_RULES)}  # type: ignore[method-assign]
    with pytest.raises(TooLarge):
        await orders.change_queue("one more", lambda _: QueueRule(paused=True))
    with pytest.raises(TooLarge):
        await orders.put_limits([LimitRule(str(n), 1) for n in range(MAX_RULES + 1)], [])


async def test_a_queue_is_deleted_when_it_is_there_and_empty(bench: Bench) -> None:
    with pytest.raises(NotFound):
        await bench.core.orders.delete_queue("nobody's")
    await bench.core.orders.change_queue("q", lambda _: QueueRule(paused=True))
    (job,) = await bench.enqueue(1, queue="q")
    with pytest.raises(QueueInUse):
        await bench.core.orders.delete_queue("q")
    await bench.core.cancel([job])
    await bench.core.orders.delete_queue("q")
    assert bench.core.orders.queue_rules() == {}


async def test_a_limit_that_is_not_there_cannot_be_removed(bench: Bench) -> None:
    with pytest.raises(NotFound):
        await bench.core.orders.put_limits([LimitRule("new", 1)], ["old"])
    assert bench.core.orders.limits() == []


async def test_a_cancel_by_force_tells_the_worker_the_signal(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(1)
    (job,) = await bench.enqueue(1)
    ((_, token),) = worker.take()
    await bench.core.cancel([job], terminate=True, signal="SIGKILL")
    await bench.core.cancel([job], terminate=True)
    assert worker.session.cancelled == [token]
    assert worker.session.terminate == [(token, "SIGKILL")]


async def test_annotations_are_stored_for_the_holder_and_refused_for_anybody_else(bench: Bench) -> None:
    worker = await (await bench.worker().attach()).credit(1)
    (job,) = await bench.enqueue(1)
    ((_, token),) = worker.take()
    notes = [Annotation(token, Progress("LOADING", done=1.0)), Annotation(12345, Progress("X"))]
    assert await bench.core.outcomes.annotate(worker.session, notes) == [12345]
    (found,) = await bench.core.get([job])
    assert found.progress is not None
    assert found.progress.state == "LOADING"


# -- commands ----------------------------------------------------------------------------------------------------------


async def test_a_command_reaches_workers_and_brings_answers_and_names_the_missing(bench: Bench) -> None:
    here = await bench.worker("here").attach()
    await bench.worker("mute").attach()
    asking = asyncio.create_task(bench.core.commands.ask("ping", b"{}", ["here", "mute", "nobody"], 0.05))
    await asyncio.sleep(0)
    (command,) = here.session.commands
    assert (command.name, command.arguments) == ("ping", b"{}")
    bench.core.commands.answered("here", Reply(command.number, "", b'"pong"'))
    bench.core.commands.answered("stranger", Reply(command.number, "", b"?"))
    asked = await asking
    assert asked.replies["here"].body == b'"pong"'
    assert asked.missing == ["mute", "nobody"]
    bench.core.commands.answered("mute", Reply(command.number, "", b"too late"))


async def test_a_command_that_everybody_has_answered_does_not_wait(bench: Bench) -> None:
    worker = await bench.worker().attach()
    asking = asyncio.create_task(bench.core.commands.ask("ping", b"{}", ["w1"], 60))
    await asyncio.sleep(0)
    bench.core.commands.answered("w1", Reply(worker.session.commands[0].number, "no", b""))
    assert (await asking).replies["w1"].error == "no"
    assert (await bench.core.commands.ask("ping", b"{}", ["nobody"], 60)).missing == ["nobody"]


async def test_an_answer_that_is_too_large_is_named_and_not_passed_on(bench: Bench) -> None:
    worker = await bench.worker().attach()
    asking = asyncio.create_task(bench.core.commands.ask("report", b"{}", ["w1"], 60))
    await asyncio.sleep(0)
    bench.core.commands.answered("w1", Reply(worker.session.commands[0].number, "", bytes(MAX_REPLY + 1)))
    reply = (await asking).replies["w1"]
    assert reply.body == b""
    assert "too much" in reply.error


async def test_commands_under_way_are_bounded(bench: Bench) -> None:
    workers = [await bench.worker(f"w{number}").attach() for number in range(4)]
    commands = Commands(bench.core.sessions)
    tasks = [asyncio.create_task(commands.ask("ping", b"{}", [f"w{n % 4}"], 60)) for n in range(MAX_ASKED)]
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await commands.ask("ping", b"{}", ["w1"], 60)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert not _is_sent_more_than(MAX_COMMANDS, workers[0])


def _is_sent_more_than(most: int, worker: FakeWorker) -> bool:
    """Whether a worker that does not read is sent so many commands and one more."""
    while len(worker.session.commands) < most:
        assert worker.session.command(Command(1, "ping", b"{}"))
    return worker.session.command(Command(1, "ping", b"{}"))


# -- events ------------------------------------------------------------------------------------------------------------


async def test_what_happens_is_told_to_followers_and_read_from_the_log(bench: Bench) -> None:
    feed = bench.core.feed
    version = feed.version
    following = asyncio.create_task(feed.changed(version))
    await bench.enqueue(2)
    await following
    page = await bench.core.orders.events(0, 100)
    assert [(each.kind, len(each.ids)) for each in page.events] == [(EventKind.SENT, 2)]
    assert page.cursor == 2


async def test_followers_are_bounded_and_let_go_at_the_end() -> None:
    feed = Feed()
    for _ in range(MAX_FOLLOWERS):
        feed.enter()
    with pytest.raises(Busy):
        feed.enter()
    feed.leave()
    feed.enter()
    waiting = asyncio.create_task(feed.changed(feed.version))
    await asyncio.sleep(0)
    feed.close()
    await waiting
    with pytest.raises(Stopping):
        feed.enter()
