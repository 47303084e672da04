"""Between wire and records: nothing is lost, nothing malformed gets in, a resend is recognised."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from tqbroker.v1 import job_pb2, queue_pb2, worker_pb2
from tqbroker_broker.answers import Job
from tqbroker_broker.attempts import Failure, Leased, Verdict
from tqbroker_broker.config import BrokerConfig
from tqbroker_broker.messages.deliveries import write_deliveries
from tqbroker_broker.messages.ids import is_name, read_ids, show, text_id, write_ids
from tqbroker_broker.messages.intake import read_request
from tqbroker_broker.messages.outcomes import read_ending, read_successes
from tqbroker_broker.messages.status import write_status
from tqbroker_broker.records import Head, State, Time, text_key
from tqbroker_broker.refusals import Invalid, TooLarge

CONFIG = BrokerConfig(max_request_jobs=3, max_request_bytes=64 * 1024, max_request_batches=2, max_args_size=1024)
NOW = Time(1_800_000_000_000, 5.0)


def batch(count: int = 1, **fields: Any) -> job_pb2.JobBatch:
    ids = job_pb2.Ids(uuids=bytes(range(16)) * count)
    whole: dict[str, Any] = {"task": "t", "format": "json", "ids": ids, "args": [b"[]"] * count, **fields}
    return job_pb2.JobBatch(**whole)


def digest(**fields: Any) -> bytes:
    intake = read_request(queue_pb2.EnqueueRequest(batches=[batch(**fields)]), CONFIG, NOW)
    return intake.batches[0].digests[0]


def test_uuids_and_texts_come_back_as_they_went() -> None:
    ids = [uuid4().bytes, text_key("order 7"), text_key("sixteen letters"), text_key("x" * 128)]
    column = write_ids(ids)
    assert sorted(read_ids(column)) == sorted(ids)
    assert [show(job) for job in ids[1:]] == ["order 7", "sixteen letters", "x" * 128]


def test_a_canonical_uuid_is_the_same_id_in_both_forms() -> None:
    value = uuid4()
    assert text_id(str(value)) == value.bytes
    assert text_id(str(value).upper()) == text_key(str(value).upper())
    assert UUID(bytes=text_id(str(value))) == value


@pytest.mark.parametrize("text", ["", "x" * 129, "tab\there", "new\nline", "nul\0"])
def test_ids_that_nobody_could_read_are_refused(text: str) -> None:
    with pytest.raises(Invalid):
        text_id(text)


def test_a_column_with_half_an_id_or_too_many_is_refused() -> None:
    with pytest.raises(Invalid):
        read_ids(job_pb2.Ids(uuids=b"x" * 17))
    with pytest.raises(TooLarge):
        read_ids(job_pb2.Ids(texts=["a", "b", "c"]), 2)


def test_the_digest_tells_jobs_apart_by_everything_but_their_id() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"task": "u"},
        {"queue": "mail"},
        {"priority": 1},
        {"format": "msgpack"},
        {"ignore_result": True},
        {"result_ttl_ms": 5},
        {"countdown_ms": 5},
        {"eta_unix_ms": 5},
        {"expires_in_ms": 5},
        {"expires_unix_ms": 5},
        {"headers": b"h"},
        {"args": [b"[1]"]},
    ]
    digests = [digest(**change) for change in changes]
    assert len(set(digests)) == len(changes)
    assert {len(each) for each in digests} == {16}


def test_the_digest_of_a_resend_is_the_same_later_and_with_another_id() -> None:
    later = Time(NOW.wall_ms + 5000, 10.0)
    first = queue_pb2.EnqueueRequest(batches=[batch(countdown_ms=100)])
    again = queue_pb2.EnqueueRequest(batches=[batch(countdown_ms=100, ids=job_pb2.Ids(texts=["other"]))])
    one = read_request(first, CONFIG, NOW).batches[0]
    two = read_request(again, CONFIG, later).batches[0]
    assert one.digests == two.digests
    assert two.due_ms - one.due_ms == 5000


def test_an_empty_queue_is_the_default_one() -> None:
    assert digest(queue="") == digest(queue="default")


def test_times_become_moments_and_what_is_past_is_due_at_once() -> None:
    def times(**fields: int) -> tuple[int, int]:
        intake = read_request(queue_pb2.EnqueueRequest(batches=[batch(**fields)]), CONFIG, NOW)
        return intake.batches[0].due_ms, intake.batches[0].expires_ms

    assert times() == (0, 0)
    assert times(countdown_ms=7, expires_in_ms=9) == (NOW.wall_ms + 7, NOW.wall_ms + 9)
    assert times(eta_unix_ms=5, expires_unix_ms=6) == (0, 6)
    assert times(eta_unix_ms=NOW.wall_ms + 1) == (NOW.wall_ms + 1, 0)


@pytest.mark.parametrize(
    "batches",
    [
        [batch(), batch(), batch()],
        [batch(4)],
        [batch(2), batch(2)],
        [batch(1, headers=b"x" * 65 * 1024)],
    ],
)
def test_a_request_above_a_limit_is_refused_as_a_whole(batches: list[job_pb2.JobBatch]) -> None:
    with pytest.raises(TooLarge):
        read_request(queue_pb2.EnqueueRequest(batches=batches), CONFIG, NOW)


@pytest.mark.parametrize("ids", [job_pb2.Ids(), job_pb2.Ids(uuids=b"x" * 15), job_pb2.Ids(uuids=b"x" * 32)])
def test_columns_of_different_lengths_are_refused_as_a_whole(ids: job_pb2.Ids) -> None:
    with pytest.raises(Invalid):
        read_request(queue_pb2.EnqueueRequest(batches=[batch(ids=ids)]), CONFIG, NOW)


def test_a_refused_job_leaves_the_places_of_the_others_known() -> None:
    ids = job_pb2.Ids(uuids=bytes(16), texts=["bad\n", "good"])
    request = queue_pb2.EnqueueRequest(batches=[batch(3, ids=ids, args=[b"x" * 2000, b"2", b"3"])])
    intake = read_request(request, CONFIG, NOW)
    assert [(each.batch, each.job, type(each.error)) for each in intake.refused] == [(0, 0, TooLarge), (0, 1, Invalid)]
    assert intake.batches[0].args == [b"3"]
    assert intake.places[0].indexes == [2]


def test_deliveries_of_mixed_ids_keep_their_order() -> None:
    uuids = [uuid4().bytes for _ in range(3)]
    ids = [uuids[0], uuids[1], text_key("a"), text_key("b"), uuids[2]]
    leased = Leased(
        Head("t", "q", 3, "json"), ids, [1, 2, 3, 4, 5], [b"a", b"b", b"c", b"d", b"e"], [0] * 4 + [2], [0] * 5, {}
    )
    batches = list(write_deliveries(leased))
    assert [list(each.tokens) for each in batches] == [[1, 2], [3, 4], [5]]
    assert [job for each in batches for job in read_ids(each.ids)] == ids
    assert [list(each.retries) for each in batches] == [[], [], [2]]


def test_a_result_above_the_limit_becomes_a_failure_and_spares_the_others() -> None:
    columns = worker_pb2.Successes(tokens=[1, 2, 3], results=[b"a", b"x" * 99, b"c"], format="json")
    (successes,), (ending,) = read_successes([columns], 50)
    assert successes.tokens == [1, 3]
    assert successes.results == [b"a", b"c"]
    assert (ending.token, ending.verdict) == (2, Verdict.FAILED)


def test_a_failure_is_cut_to_a_size_worth_keeping() -> None:
    failure = job_pb2.Failure(type="E", message="m" * 200_000, traceback="t" * 10, args=b"a" * 200_000)
    ending = read_ending(worker_pb2.Ending(token=1, verdict=worker_pb2.VERDICT_FAILED, failure=failure), 1024)
    assert ending.failure is not None
    assert 64_000 < len(ending.failure.message) < 66_000
    assert ending.failure.traceback == "t" * 10
    assert ending.failure.args == b""


def test_a_status_says_everything_that_is_known() -> None:
    job = Job(
        id=text_key("mine"),
        state=State.FAILED,
        head=Head("t", "q", 4, "json", headers=b"h"),
        args=b"[]",
        retries=2,
        lost=1,
        failure=Failure("ValueError", "builtins", "no"),
    )
    status = write_status(job, "nothing", with_args=True)
    assert (status.text, status.state, status.task, status.queue, status.priority) == ("mine", 6, "t", "q", 4)
    assert (status.args, status.headers, status.retries, status.lost_leases) == (b"[]", b"h", 2, 1)
    assert status.failure.type == "ValueError"
    assert write_status(job).args == b""


@pytest.mark.parametrize(
    ("characters", "fits"), [("é" * 128, True), ("語" * 128, True), ("😀" * 96, True), ("😀" * 97, False)]
)
def test_names_are_bounded_in_bytes_too_because_they_are_keys(characters: str, fits: bool) -> None:
    assert is_name(characters, 128) is fits
