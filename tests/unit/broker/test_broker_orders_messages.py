"""What workers say of attempts and operators order, between wire and records."""

from __future__ import annotations

from typing import Any

import pytest

from tqbroker.v1 import admin_pb2 as pb
from tqbroker.v1 import job_pb2, worker_pb2
from tqbroker_broker.attempts import Progress, Verdict
from tqbroker_broker.config import BrokerConfig
from tqbroker_broker.messages.annotations import MAX_CHECKPOINT, MAX_META, read_annotations
from tqbroker_broker.messages.changes import read_change
from tqbroker_broker.messages.checks import LATEST_MS
from tqbroker_broker.messages.outcomes import read_consume, read_ending, read_hello
from tqbroker_broker.messages.questions import read_filter, read_kinds, write_events
from tqbroker_broker.messages.rules import changed, read_limit, write_limit, write_rule
from tqbroker_broker.questions import Drop, EventKind, Events, Move, Redrive, Reschedule
from tqbroker_broker.records import State, text_key
from tqbroker_broker.refusals import Invalid, RefusalError, TooLarge
from tqbroker_broker.rules import LimitRule, LimitState, Overflow, QueueRule, Rate


def test_progress_and_checkpoints_are_read_and_get_a_time() -> None:
    progress = job_pb2.Progress(state="LOADING", meta=b"{}", format="json", done=1, total=2, note="n")
    wire = [
        worker_pb2.Annotation(token=1, progress=progress),
        worker_pb2.Annotation(token=2, checkpoint=worker_pb2.Checkpoint(data=b"half", format="json")),
    ]
    (first, second), refused = read_annotations(wire, 77)
    assert first.progress == Progress("LOADING", b"{}", "json", 1.0, 2.0, "n", 77)
    assert first.checkpoint is None
    assert (second.progress, second.checkpoint, second.checkpoint_format) == (None, b"half", "json")
    assert refused == []


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (worker_pb2.Annotation(checkpoint=worker_pb2.Checkpoint(data=bytes(MAX_CHECKPOINT + 1))), TooLarge),
        (worker_pb2.Annotation(progress=job_pb2.Progress(meta=bytes(MAX_META + 1))), TooLarge),
        (worker_pb2.Annotation(progress=job_pb2.Progress(note="n" * 1025)), Invalid),
        (worker_pb2.Annotation(progress=job_pb2.Progress(state="s" * 256)), Invalid),
        (worker_pb2.Annotation(progress=job_pb2.Progress(done=float("nan"))), Invalid),
    ],
)
def test_an_annotation_that_is_wrong_harms_no_other(wrong: worker_pb2.Annotation, error: type[RefusalError]) -> None:
    wrong.token = 5
    good, refused = read_annotations([wrong, worker_pb2.Annotation(token=6)], 0)
    assert [each.token for each in good] == [6]
    assert [(token, type(why)) for token, why in refused] == [(5, error)]


def test_a_retry_can_bring_new_arguments_and_no_other_ending_can() -> None:
    ending = worker_pb2.Ending(token=1, verdict=worker_pb2.VERDICT_RETRY, args=b"[2]")
    assert read_ending(ending, 100).args == b"[2]"
    assert read_ending(worker_pb2.Ending(token=1, verdict=worker_pb2.VERDICT_RETRY), 100).args is None
    with pytest.raises(Invalid):
        read_ending(worker_pb2.Ending(token=1, verdict=worker_pb2.VERDICT_FAILED, args=b"[2]"), 100)


def test_a_retry_with_too_large_arguments_fails_the_job_in_words() -> None:
    ending = read_ending(worker_pb2.Ending(token=1, verdict=worker_pb2.VERDICT_RETRY, args=b"x" * 101), 100)
    assert (ending.verdict, ending.args) == (Verdict.FAILED, None)
    assert ending.failure is not None
    assert ending.failure.type == "ArgumentsTooLarge"


def test_a_retry_that_is_too_far_away_fails_the_job_in_words_and_no_stream() -> None:
    ending = read_ending(worker_pb2.Ending(token=1, verdict=worker_pb2.VERDICT_RETRY, retry_in_ms=(1 << 64) - 1), 100)
    assert (ending.verdict, ending.retry_in_ms) == (Verdict.FAILED, 0)
    assert ending.failure is not None
    assert ending.failure.type == "RetryTooLate"
    far = read_ending(worker_pb2.Ending(token=1, verdict=worker_pb2.VERDICT_RETRY, retry_in_ms=LATEST_MS), 100)
    assert (far.verdict, far.retry_in_ms) == (Verdict.RETRY, LATEST_MS)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_of_the_wire_is_known(verdict: Verdict) -> None:
    ending = worker_pb2.Ending(verdict=int(verdict))  # type: ignore[arg-type]
    if verdict is Verdict.REPLACED:
        ending.workflow = b"w" * 16
    assert read_ending(ending, 1).verdict is verdict


def hello(**fields: Any) -> worker_pb2.Hello:
    return worker_pb2.Hello(name="w", instance=b"i" * 16, **fields)


def test_a_hello_has_labels_and_the_rules_of_its_app() -> None:
    rule = worker_pb2.LimitRule(name="task:t", concurrency=2, rates=[worker_pb2.Rate(count=10, period_ms=1000)])
    read = read_hello(hello(labels=["gpu", "region=eu"], limits=[rule]), BrokerConfig())
    assert read.labels == {"gpu", "region=eu"}
    assert read.limits == (LimitRule("task:t", 2, (Rate(10, 1000),)),)


@pytest.mark.parametrize(
    "fields",
    [
        {"queues": ["a", ""]},
        {"queues": ["mail"] * 10_001},
        {"labels": ["a\nb"]},
        {"labels": [str(n) for n in range(65)]},
        {"limits": [worker_pb2.LimitRule(name="")]},
        {"limits": [worker_pb2.LimitRule(name="t", rates=[worker_pb2.Rate(count=0, period_ms=1000)])]},
    ],
)
def test_a_hello_that_breaks_a_rule_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        read_hello(hello(**fields), BrokerConfig())


def test_a_worker_may_take_nothing_for_a_while() -> None:
    assert read_consume(worker_pb2.Consume(queues=["a", "b", "a"])) == ("a", "b")
    assert read_consume(worker_pb2.Consume()) == ()
    with pytest.raises(Invalid):
        read_consume(worker_pb2.Consume(queues=[""]))


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (worker_pb2.LimitRule(name="a*b"), "only at its end"),
        (worker_pb2.LimitRule(name="x" * 300), "name"),
        (worker_pb2.LimitRule(name="x", concurrency=2_000_000), "concurrency"),
        (worker_pb2.LimitRule(name="x", rates=[worker_pb2.Rate(count=1, period_ms=99)]), "period_ms"),
        (worker_pb2.LimitRule(name="x", rates=[worker_pb2.Rate(count=1, period_ms=86_400_001)]), "period_ms"),
        (worker_pb2.LimitRule(name="x", rates=[worker_pb2.Rate(count=1, period_ms=1000)] * 9), "9 rates"),
    ],
)
def test_what_a_limit_may_not_be_is_said_in_words(rule: worker_pb2.LimitRule, words: str) -> None:
    with pytest.raises(Invalid, match=words.replace("*", r"\*")):
        read_limit(rule)


def test_a_limit_comes_back_as_it_was_set() -> None:
    wire = worker_pb2.LimitRule(name="mail*", concurrency=3, rates=[worker_pb2.Rate(count=10, period_ms=1000)])
    info = write_limit(LimitState(read_limit(wire), operator=True, running=2))
    assert info == pb.LimitInfo(rule=wire, source="operator", running=2)


def test_only_what_is_set_of_a_queues_rule_changes() -> None:
    before = QueueRule(paused=True, max_length=5, ttl_ms=7, weights={"a": 2, "b": 3})
    request = pb.SetQueueRequest(queue="q", max_length=0, overflow=pb.OVERFLOW_DROP_OLDEST, weights={"a": 0, "c": 4})
    after = changed(before, request)
    assert after == QueueRule(True, 0, Overflow.DROP_OLDEST, 7, {"b": 3, "c": 4})
    assert write_rule(after).weights == {"b": 3, "c": 4}
    assert changed(before, pb.SetQueueRequest(queue="q")) == before


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"overflow": 7}, "overflow"),
        ({"ttl_ms": 1 << 60}, "ttl_ms"),
        ({"max_length": 1 << 60}, "max_length"),
        ({"weights": {"a": 1001}}, "weight"),
        ({"weights": {"": 1}}, "tenant"),
        ({"weights": {str(n): 1 for n in range(1001)}}, "1001 tenants"),
    ],
)
def test_what_a_queues_rule_may_not_be_is_said_in_words(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        changed(QueueRule(), pb.SetQueueRequest(queue="q", **fields))


def test_a_filter_is_read_with_every_field() -> None:
    wire = pb.JobFilter(
        states=[job_pb2.STATE_FAILED], queue="q", task="t", stamps=["a=b"], worker="w", error="E",
        submitted_after_unix_ms=1, submitted_before_unix_ms=2,
    )  # fmt: skip
    assert read_filter(wire) == (frozenset({State.FAILED}), "q", "t", ("a=b",), "w", "E", 1, 2)
    for wrong in (pb.JobFilter(states=[job_pb2.STATE_UNKNOWN]), pb.JobFilter(queue="a\n"), pb.JobFilter(stamps=[""])):
        with pytest.raises(Invalid):
            read_filter(wrong)


def test_kinds_of_events_are_all_unless_named() -> None:
    assert read_kinds([]) == frozenset(EventKind)
    assert read_kinds([4]) == {EventKind.FAILED}
    with pytest.raises(Invalid):
        read_kinds([99])


def test_events_keep_their_numbers_and_ids() -> None:
    events = Events(EventKind.FAILED, 7, 100, [b"1" * 16, text_key("b")], "t", "q", "w", "ValueError")
    wire = write_events(events)
    assert (wire.first, wire.at_unix_ms, wire.task, wire.error) == (7, 100, "t", "ValueError")
    assert (wire.ids.uuids, list(wire.ids.texts)) == (b"1" * 16, ["b"])
    assert not write_events(Events(EventKind.WORKER_ONLINE, 9, 100, [], worker="w")).HasField("ids")


def edit(**fields: Any) -> pb.EditJobsRequest:
    return pb.EditJobsRequest(ids=job_pb2.Ids(texts=["a"]), **fields)


def test_every_change_is_read() -> None:
    def read(**fields: Any) -> object:
        return read_change(edit(**fields), 100)

    assert read(redrive=pb.Redrive(args=b"[1]", spacing_ms=5), already=3) == Redrive(b"[1]", 5, 3)
    assert read(redrive=pb.Redrive()) == Redrive(None, 0, 0)
    assert read(reschedule=pb.Reschedule(due_unix_ms=9)) == Reschedule(9)
    assert read(move=pb.Move(queue="q")) == Move("q", None)
    assert read(move=pb.Move(priority=0)) == Move(None, 0)
    assert read(drop=pb.Drop()) == Drop()
    assert read(cancel=pb.Cancel(terminate=True, signal="SIGKILL")) is None


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (edit(), Invalid),
        (edit(move=pb.Move(priority=10)), Invalid),
        (edit(move=pb.Move(queue="a\n")), Invalid),
        (edit(reschedule=pb.Reschedule(due_unix_ms=1 << 60)), Invalid),
        (edit(redrive=pb.Redrive(args=b"x" * 101)), TooLarge),
        (edit(redrive=pb.Redrive(spacing_ms=1 << 31)), Invalid),
        (edit(cancel=pb.Cancel(signal="SIGKILL")), Invalid),
        (edit(cancel=pb.Cancel(terminate=True, signal="SIGNONSENSE")), Invalid),
        (pb.EditJobsRequest(filter=pb.JobFilter(), redrive=pb.Redrive(args=b"[]")), Invalid),
    ],
)
def test_a_change_that_nobody_can_make_is_refused(request_: pb.EditJobsRequest, error: type[RefusalError]) -> None:
    with pytest.raises(error):
        read_change(request_, 100)
