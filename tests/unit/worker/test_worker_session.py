from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from tqbroker.exceptions import ImproperlyConfigured
from tqbroker.v1 import errors_pb2, job_pb2
from tqbroker.v1 import worker_pb2 as pb
from tqbroker_worker.config import WorkerConfig
from tqbroker_worker.identity import Identity
from tqbroker_worker.jobs import Extra, Jobs, Traits
from tqbroker_worker.notes import Notes
from tqbroker_worker.places import Trail
from tqbroker_worker.protocol import (
    Annotate,
    Cancel,
    Done,
    Ended,
    Manifest,
    Note,
    Noted,
    TaskLimits,
    Verdict,
)
from tqbroker_worker.session import REPLY_BYTES, Command, Session

if TYPE_CHECKING:
    from tests.unit.worker.conftest import Scene

STORE = b"s" * 16


class Desk:
    """A session over a scene, and the broker's side of the conversation."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.notes = Notes()
        identity = Identity("worker@here", ("default",), ("tasks.add",), 2, "process", b"i" * 16)
        self.session = Session(
            identity,
            scene.handover,
            scene.ledger,
            self.notes,
            scene.credit,
            lambda seconds, function: self.later.append((seconds, function)),
            lambda: None,
        )

    def connect(self, *, store: bytes = STORE, lost: tuple[int, ...] = ()) -> pb.Hello:
        """A new stream, welcomed; gives the Hello."""
        hello = self.session.hello()
        assert hello.number == 1
        self.session.received(pb.WorkResponse(welcome=pb.Welcome(store=store, epoch=1, lost=lost)))
        return hello.hello

    def deliver(self, *tokens: int, ids: job_pb2.Ids | None = None) -> None:
        ids = ids or job_pb2.Ids(uuids=b"".join(uuid.UUID(int=token).bytes for token in tokens))
        batch = pb.DeliveryBatch(
            task="tasks.add", format="json", ids=ids, tokens=tokens, args=[b"[[],{}]"] * len(tokens)
        )
        self.session.received(pb.WorkResponse(deliveries=[batch]))

    def ack(self, number: int) -> None:
        self.session.received(pb.WorkResponse(acked=number))

    def refuse(self, token: int, reason: errors_pb2.Reason.ValueType, number: int) -> None:
        error = errors_pb2.Error(reason=reason, message="no room", retry_after_ms=250)
        self.session.received(pb.WorkResponse(acked=number, refused=[pb.Refused(token=token, error=error)]))

    def say(self) -> pb.WorkRequest:
        """The next message, which there must be."""
        request = self.session.request()
        assert request is not None
        return request


@pytest.fixture
def desk(scene: Scene) -> Desk:
    """A session that has never been connected, without children."""
    return Desk(scene)


def test_the_first_hello_says_who_we_are_and_holds_nothing(desk: Desk) -> None:
    hello = desk.connect()
    assert (hello.name, list(hello.queues), list(hello.tasks)) == ("worker@here", ["default"], ["tasks.add"])
    assert hello.store == b""
    assert not hello.HasField("held")


def test_nothing_is_said_before_the_welcome(desk: Desk, scene: Scene) -> None:
    scene.child()
    desk.session.hello()
    assert desk.session.request() is None
    desk.session.received(pb.WorkResponse(welcome=pb.Welcome(store=STORE)))
    assert desk.say().credit.slots == 1


def test_credit_is_told_once_and_again_only_when_it_changes(desk: Desk, scene: Scene) -> None:
    desk.connect()
    scene.child()
    assert (desk.say().credit.slots, desk.session.request()) == (1, None)
    scene.child()
    assert desk.say().credit.slots == 2


def test_outcomes_of_one_moment_go_up_in_one_message_as_columns(desk: Desk, scene: Scene) -> None:
    child = scene.child(slots=2)
    desk.connect()
    desk.say()
    desk.deliver(1, 2)
    scene.run(child, 1)
    scene.run(child, 2)
    request = desk.say()
    assert [list(columns.tokens) for columns in request.successes] == [[1, 2]]
    assert not request.successes[0].HasField("ids")
    assert desk.session.request() is None


def test_with_unacknowledged_messages_out_further_outcomes_gather_until_an_acknowledgement(
    desk: Desk, scene: Scene
) -> None:
    child = scene.child(slots=8)
    desk.connect()
    desk.say()
    desk.deliver(*range(1, 9))
    for token in (1, 2):
        scene.run(child, token)
        desk.say()
    for token in (3, 4):
        scene.run(child, token)
        assert desk.session.request() is None
    desk.ack(2)
    desk.ack(3)
    assert list(desk.say().successes[0].tokens) == [3, 4]


def test_after_a_reconnect_everything_held_is_named_and_unacknowledged_outcomes_come_again_with_ids(
    desk: Desk, scene: Scene
) -> None:
    child = scene.child(slots=4)
    desk.connect()
    desk.say()
    desk.deliver(1, 2, 3)
    scene.run(child, 1)
    desk.say()
    hello = desk.connect()
    assert hello.store == STORE
    assert sorted(hello.held.tokens) == [1, 2, 3]
    held = dict(zip(hello.held.tokens, range(3), strict=True))
    assert hello.held.ids.uuids[16 * held[2] : 16 * held[2] + 16] == uuid.UUID(int=2).bytes
    again = desk.say()
    assert again.number == 2
    assert list(again.successes[0].tokens) == [1]
    assert again.successes[0].ids.uuids == uuid.UUID(int=1).bytes


def test_ids_that_are_texts_are_kept_apart_and_come_again_as_texts(desk: Desk, scene: Scene) -> None:
    child = scene.child(slots=4)
    desk.connect()
    desk.say()
    desk.deliver(1, 2, ids=job_pb2.Ids(uuids=uuid.UUID(int=1).bytes, texts=["mail-2"]))
    scene.run(child, 1, 2)
    desk.say()
    hello = desk.connect()
    assert list(hello.held.ids.texts) == ["mail-2"]
    columns = {tuple(part.tokens): part.ids for part in desk.say().successes}
    assert columns[(1,)].uuids == uuid.UUID(int=1).bytes
    assert list(columns[(2,)].texts) == ["mail-2"]


def test_what_jobs_have_submitted_goes_up_with_their_outcomes_and_again_after_a_reconnect(
    desk: Desk, scene: Scene
) -> None:
    child = scene.child(slots=4)
    desk.connect()
    desk.say()
    desk.deliver(1, 2, 3, 4, ids=job_pb2.Ids(uuids=bytes(48), texts=["four"]))
    scene.start(child, 4)
    scene.handover.done(child.seat, Done("json", [1], [b"1"], [1], [1], []))
    trails = {0: Trail(b"c" * 16, ["text"]), 1: Trail(b"d" * 16, [])}
    scene.handover.done(child.seat, Done("json", [2, 4], [b"1"] * 2, [1] * 2, [1] * 2, [], trails))
    scene.handover.ended(child.seat, Ended(3, Verdict.REPLACED, None, workflow=b"w" * 16, trail=Trail(b"e" * 16, [])))

    def children(request: pb.WorkRequest) -> dict[int, tuple[bytes, list[str]]]:
        found = {part.tokens[trail.index]: trail.children for part in request.successes for trail in part.trails} | {
            ending.token: ending.children for ending in request.endings
        }
        return {token: (ids.uuids, list(ids.texts)) for token, ids in found.items()}

    expected = {2: (b"c" * 16, ["text"]), 3: (b"e" * 16, []), 4: (b"d" * 16, [])}
    request = desk.say()
    assert children(request) == expected
    assert (request.endings[0].verdict, request.endings[0].workflow) == (pb.VERDICT_REPLACED, b"w" * 16)
    desk.connect()
    again = desk.say()
    assert children(again) == expected
    assert (again.endings[0].workflow, again.endings[0].ids.uuids) == (b"w" * 16, bytes(16))


def test_lost_leases_are_neither_reported_nor_named_again(desk: Desk, scene: Scene) -> None:
    child = scene.child(slots=4)
    desk.connect()
    desk.say()
    desk.deliver(1, 2, 3)
    scene.run(child, 1)
    desk.say()
    desk.connect(lost=(1, 2))
    scene.start(child, 2)
    scene.finish(child, 2, 3)
    assert [list(columns.tokens) for columns in desk.say().successes] == [[3]]


def test_under_another_store_everything_held_is_dropped(desk: Desk, scene: Scene) -> None:
    child = scene.child(slots=4)
    desk.connect()
    desk.say()
    desk.deliver(1, 2)
    scene.run(child, 1)
    desk.connect(store=b"t" * 16)
    scene.run(child, 2)
    request = desk.say()
    assert not request.successes
    assert desk.session.settled


def test_an_outcome_that_does_not_fit_the_store_is_kept_and_sent_again_later(desk: Desk, scene: Scene) -> None:
    child = scene.child()
    desk.connect()
    desk.say()
    desk.deliver(1)
    scene.run(child, 1)
    number = desk.say().number
    desk.refuse(1, errors_pb2.REASON_STORE_FULL, number)
    assert desk.session.request() is None
    assert not desk.session.settled
    ((seconds, retry),) = desk.later
    assert seconds == 0.25
    retry()
    assert list(desk.say().successes[0].tokens) == [1]


def test_an_outcome_of_a_lost_lease_is_not_sent_again(desk: Desk, scene: Scene) -> None:
    child = scene.child()
    desk.connect()
    desk.say()
    desk.deliver(1)
    scene.run(child, 1)
    desk.refuse(1, errors_pb2.REASON_LEASE_LOST, desk.say().number)
    assert desk.session.settled
    assert not desk.later


def test_a_heartbeat_is_sent_even_when_there_is_nothing_else(desk: Desk) -> None:
    desk.connect()
    assert not desk.say().heartbeat
    desk.session.beat()
    assert desk.say().heartbeat
    assert desk.session.request() is None


def test_closing_takes_the_credit_back_and_returns_what_waits(desk: Desk, scene: Scene) -> None:
    scene.child()
    desk.connect()
    desk.say()
    scene.handover.close()
    request = desk.say()
    assert (request.credit.slots, request.credit.window) == (0, 0)
    assert desk.session.request() is None
    desk.deliver(7)
    assert list(desk.say().returned) == [7]
    assert desk.session.settled


def test_traits_times_and_checkpoints_of_a_delivery_reach_the_child(desk: Desk, scene: Scene) -> None:
    child = scene.child()
    scene.make_fast()
    desk.connect()
    batch = pb.DeliveryBatch(
        task="tasks.add",
        format="json",
        ids=job_pb2.Ids(uuids=uuid.UUID(int=1).bytes, texts=["b"]),
        tokens=[1, 2],
        args=[b"[[],{}]"] * 2,
        traits=job_pb2.Traits(time_limit_ms=5000, tenant="acme", stamps=["a=1"]),
        due_unix_ms=[0, 17],
        checkpoints=[pb.Checkpoint(data=b"3", format="json"), pb.Checkpoint()],
    )
    desk.session.received(pb.WorkResponse(deliveries=[batch]))
    by_uuid, by_text = (message for message in child.sent if isinstance(message, Jobs))
    assert by_uuid.head.traits == Traits(hard_limit_ms=5000, tenant="acme", stamps=("a=1",))
    assert by_uuid.extras == {0: Extra(checkpoint=b"3", checkpoint_format="json")}
    assert by_text.extras == {0: Extra(due_ms=17)}


def test_plain_jobs_have_neither_traits_nor_extras(desk: Desk, scene: Scene) -> None:
    child = scene.child()
    desk.connect()
    desk.deliver(1)
    (jobs,) = child.sent
    assert isinstance(jobs, Jobs)
    assert (jobs.head.traits, jobs.extras) == (None, {})


def test_what_a_job_says_goes_before_its_outcome_and_its_checkpoint_is_told(desk: Desk, scene: Scene) -> None:
    child = scene.child()
    desk.connect()
    desk.say()
    desk.deliver(1)
    told: list[Noted] = []
    note = Note("LOADING", b"{}", "json", 1, 10, "half", 99)
    desk.notes.add(Annotate(5, 1, note, b"[7]", "json"), told.append)
    scene.run(child, 1)
    request = desk.say()
    (annotation,) = request.annotations
    assert (annotation.token, annotation.checkpoint.data, annotation.checkpoint.format) == (1, b"[7]", "json")
    assert (annotation.progress.state, annotation.progress.done, annotation.progress.note) == ("LOADING", 1, "half")
    assert [list(each.tokens) for each in request.successes] == [[1]]
    desk.ack(request.number)
    assert told == [Noted(5)]


def test_outcomes_wait_until_everything_that_jobs_said_is_sent(desk: Desk, scene: Scene) -> None:
    child = scene.child(slots=3)
    desk.connect()
    desk.say()
    desk.deliver(1, 2, 3)
    for token in (1, 2, 3):
        desk.notes.add(Annotate(token, token, None, b"x" * (1 << 20), "json"), lambda _noted: None)
    scene.run(child, 1, 2, 3)
    first, second = desk.say(), desk.say()
    assert (len(first.annotations), len(first.successes)) == (2, 0)
    assert (len(second.annotations), len(second.successes)) == (1, 1)


def test_jobs_that_go_on_saying_things_do_not_hold_up_the_outcomes_of_others(desk: Desk, scene: Scene) -> None:
    child = scene.child(slots=4)
    desk.connect()
    desk.say()
    desk.deliver(1, 2, 3, 4)

    def say(*tokens: int) -> None:
        for token in tokens:
            desk.notes.add(Annotate(token, token, None, b"x" * (1 << 20), "json"), lambda _noted: None)

    say(1, 2, 3, 4)
    scene.run(child, 4)
    sent = []
    for _ in range(2):
        sent.append(desk.say())
        say(*(annotation.token for annotation in sent[-1].annotations if annotation.token != 4))
        desk.ack(sent[-1].number)
    assert [[annotation.token for annotation in each.annotations] for each in sent] == [[1, 2], [3, 4]]
    assert [list(columns.tokens) for each in sent for columns in each.successes] == [[4]]


def test_a_checkpoint_that_was_not_acknowledged_is_sent_again_on_the_next_stream(desk: Desk, scene: Scene) -> None:
    scene.child()
    desk.connect()
    desk.say()
    desk.deliver(1, 2)
    told: list[Noted] = []
    desk.notes.add(Annotate(1, 1, None, b"[1]", "json"), told.append)
    desk.notes.add(Annotate(2, 2, None, b"[2]", "json"), told.append)
    desk.say()
    desk.session.closed()
    desk.connect(lost=(2,))
    assert [noted.number for noted in told if noted.error] == [2]
    assert [annotation.token for annotation in desk.say().annotations] == [1]


def test_a_refused_checkpoint_is_told_why(desk: Desk, scene: Scene) -> None:
    scene.child()
    desk.connect()
    desk.say()
    desk.deliver(1)
    told: list[Noted] = []
    desk.notes.add(Annotate(1, 1, None, b"[1]", "json"), told.append)
    desk.refuse(1, errors_pb2.REASON_LEASE_LOST, desk.say().number)
    assert told == [Noted(1, "no room")]


def test_an_outcome_that_is_stored_is_not_sent_again_with_what_its_job_said(desk: Desk, scene: Scene) -> None:
    child = scene.child()
    desk.connect()
    desk.say()
    desk.deliver(1)
    desk.notes.add(Annotate(1, 1, None, b"[1]", "json"), lambda _noted: None)
    scene.run(child, 1)
    desk.refuse(1, errors_pb2.REASON_STORE_FULL, desk.say().number)
    assert desk.session.settled
    ((_, retry),) = desk.later
    retry()
    again = desk.say()
    assert ([each.token for each in again.annotations], len(again.successes)) == ([1], 0)


def test_a_refused_annotation_is_not_logged_as_an_outcome_without_effect(desk: Desk, scene: Scene) -> None:
    child = scene.child(slots=2)
    desk.connect()
    desk.say()
    desk.deliver(1, 2)
    desk.notes.add(Annotate(1, 1, None, b"[1]", "json"), lambda _noted: None)
    desk.notes.add(Annotate(2, 2, None, b"[2]", "json"), lambda _noted: None)
    scene.run(child, 1)
    number = desk.say().number
    scene.run(child, 2)
    error = errors_pb2.Error(reason=errors_pb2.REASON_TOO_LARGE, message="too large")
    lost = errors_pb2.Error(reason=errors_pb2.REASON_LEASE_LOST, message="lost")
    refused = [pb.Refused(token=1, error=error), pb.Refused(token=2, error=lost)]
    with capture_logs() as logged:
        desk.session.received(pb.WorkResponse(refused=refused, acked=number))
    assert logged == []


def test_jobs_to_be_ended_by_force_are_told_apart_from_cancelled_ones(desk: Desk, scene: Scene) -> None:
    child = scene.child(slots=2)
    desk.connect()
    desk.deliver(1, 2)
    forced: list[tuple[int, str]] = []
    desk.session.on_terminate = lambda token, signal: forced.append((token, signal))
    terminate = [pb.Terminate(token=2, signal="SIGUSR1")]
    desk.session.received(pb.WorkResponse(cancelled=[1, 2], terminate=terminate))
    assert forced == [(2, "SIGUSR1")]
    assert child.sent[-1] == Cancel([1])


def test_a_command_is_answered_even_while_outcomes_gather(desk: Desk) -> None:
    desk.connect()
    desk.say()
    commands: list[Command] = []
    desk.session.on_command = commands.append
    desk.session.received(pb.WorkResponse(commands=[pb.Command(command=3, name="ping", arguments=b"{}")]))
    assert commands == [Command(3, "ping", b"{}")]
    desk.session.reply(3, "", b'"pong"')
    (reply,) = desk.say().replies
    assert (reply.command, reply.error, reply.body) == (3, "", b'"pong"')


def test_large_answers_go_in_messages_of_their_own(desk: Desk) -> None:
    desk.connect()
    desk.say()
    for number in range(5):
        desk.session.reply(number, "", b"x" * (REPLY_BYTES // 2))
    assert [len(desk.say().replies) for _ in range(3)] == [2, 2, 1]


def test_other_queues_are_announced_now_and_on_the_next_stream(desk: Desk) -> None:
    desk.connect()
    desk.say()
    desk.session.consume(("default", "mail"))
    assert list(desk.say().consume.queues) == ["default", "mail"]
    assert list(desk.connect().queues) == ["default", "mail"]


def test_a_worker_without_queues_says_so_now_and_behind_the_next_hello(desk: Desk, scene: Scene) -> None:
    scene.child()
    desk.connect()
    desk.say()
    desk.session.consume(())
    message = desk.say()
    assert message.HasField("consume")
    assert list(message.consume.queues) == []
    desk.connect()
    again = desk.say()
    assert again.HasField("consume")
    assert list(again.consume.queues) == []
    assert again.HasField("credit")
    desk.session.consume(("default",))
    desk.say()
    desk.connect()
    assert not desk.say().HasField("consume")


def test_labels_and_the_limits_of_tasks_stand_in_the_hello() -> None:
    limits = {"tasks.a": TaskLimits(rates=((10, 1000),), max_concurrency=3), "tasks.b": TaskLimits(soft_ms=5)}
    manifest = Manifest("app", "", ["default"], ["tasks.a", "tasks.b"], limits)
    hello = Identity.of(WorkerConfig("tasks", labels=("gpu",)), manifest).hello()
    assert list(hello.labels) == ["gpu"]
    (rule,) = hello.limits
    assert (rule.name, rule.concurrency) == ("task:tasks.a", 3)
    assert [(rate.count, rate.period_ms) for rate in rule.rates] == [(10, 1000)]


def test_excluded_queues_are_left_out_and_one_must_remain() -> None:
    manifest = Manifest("app", "", ["default"], [])
    assert Identity.of(WorkerConfig("tasks", queues=("a", "b"), exclude=("a",)), manifest).queues == ("b",)
    with pytest.raises(ImproperlyConfigured, match="leaves no queue"):
        Identity.of(WorkerConfig("tasks", exclude=("default",)), manifest)


SPOILT: list[Callable[[pb.DeliveryBatch], object]] = [
    lambda batch: batch.args.pop(),
    lambda batch: batch.ids.texts.append("one more"),
    lambda batch: setattr(batch.ids, "uuids", b"x" * 31),
    lambda batch: batch.ClearField("ids"),
    lambda batch: batch.retries.append(1),
    lambda batch: batch.due_unix_ms.extend([1, 2, 3]),
    lambda batch: batch.places.add(),
    lambda batch: batch.checkpoints.add(),
]


@pytest.mark.parametrize("spoil", SPOILT, ids=range(len(SPOILT)))
def test_jobs_of_a_delivery_whose_columns_do_not_fit_fail_with_words_and_the_next_ones_run(
    desk: Desk, scene: Scene, spoil: Callable[[pb.DeliveryBatch], object]
) -> None:
    child = scene.child()
    desk.connect()
    batch = pb.DeliveryBatch(
        task="tasks.add", format="json", ids=job_pb2.Ids(uuids=b"u" * 32), tokens=[1, 2], args=[b"[[],{}]"] * 2
    )
    spoil(batch)
    desk.session.received(pb.WorkResponse(deliveries=[batch, pb.DeliveryBatch(task="tasks.add")]))
    request = desk.say()
    assert [(ending.token, ending.verdict) for ending in request.endings] == [
        (1, pb.VERDICT_FAILED),
        (2, pb.VERDICT_FAILED),
    ]
    assert "columns do not fit together" in request.endings[0].failure.message
    assert child.tokens == []

    desk.deliver(3)
    scene.run(child, 3)
    assert list(desk.say().successes[0].tokens) == [3]
