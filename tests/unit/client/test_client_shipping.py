"""Submits cut into requests of bounded size, and what an answer means for each job."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tqbroker.call import Batch, Head
from tqbroker.ids import Key, new_keys
from tqbroker.messages import pack_ids, unpack_ids
from tqbroker.shipping import MAX_BYTES, MAX_JOBS, Shipment, Verdict, cut, judge
from tqbroker.transport import Refused
from tqbroker.v1 import errors_pb2, queue_pb2

HEAD = Head("tasks.add", "default", 0, "json")


def batch(count: int, size: int = 10, head: Head = HEAD) -> Batch:
    return Batch(head, list(new_keys(count)), [b"x" * size] * count)


def keys_on_the_wire(shipments: list[Shipment]) -> list[Key]:
    return [key for shipment in shipments for item in shipment.request.batches for key in unpack_ids(item.ids)]


def test_a_single_call_is_one_request_with_what_it_says() -> None:
    head = Head("t", "q", 3, "json", True, 5, 6, 0, 0, 7, b"{}")
    [shipment] = cut([Batch(head, ["my id"], [b"[[],{}]"])])
    [sent] = shipment.request.batches

    assert (sent.task, sent.queue, sent.priority, sent.format, sent.ignore_result) == ("t", "q", 3, "json", True)
    assert (sent.result_ttl_ms, sent.countdown_ms, sent.eta_unix_ms) == (5, 6, 0)
    assert (sent.expires_in_ms, sent.expires_unix_ms, sent.headers) == (0, 7, b"{}")
    assert (list(sent.ids.texts), list(sent.args)) == (["my id"], [b"[[],{}]"])


@given(st.lists(st.tuples(st.integers(0, 2500), st.integers(1, 3000)), max_size=4))
def test_requests_are_bounded_and_keep_order(shapes: list[tuple[int, int]]) -> None:
    batches = [batch(count, size) for count, size in shapes]
    shipments = list(cut(batches))

    assert keys_on_the_wire(shipments) == [key for item in batches for key in item.keys]
    assert all(len(list(shipment.keys())) <= MAX_JOBS for shipment in shipments)
    assert all(shipment.request.ByteSize() <= MAX_BYTES for shipment in shipments)


def test_a_job_larger_than_a_request_goes_alone() -> None:
    shipments = list(cut([batch(3, MAX_BYTES - 10)]))

    assert [len(list(shipment.keys())) for shipment in shipments] == [1, 1, 1]


def test_small_batches_share_a_request() -> None:
    heads = [HEAD._replace(priority=priority) for priority in range(10)]

    assert len(list(cut([batch(5, head=head) for head in heads]))) == 1


def test_the_two_kinds_of_ids_never_share_a_wire_batch() -> None:
    keys: list[Key] = ["a", new_keys(1)[0], "b", *new_keys(2), "c"]
    [shipment] = cut([Batch(HEAD, keys, [str(n).encode() for n in range(6)])])

    assert keys_on_the_wire([shipment]) == keys
    assert [arg for item in shipment.request.batches for arg in item.args] == [b"0", b"1", b"2", b"3", b"4", b"5"]


def test_ids_come_out_of_a_column_as_they_went_in() -> None:
    keys: list[Key] = [*new_keys(3), "a", "b"]

    assert unpack_ids(pack_ids(keys)) == keys
    with pytest.raises(ValueError, match="no multiple of 16"):
        unpack_ids(pack_ids([b"short"]))


def answer(**fields: object) -> queue_pb2.EnqueueStreamResponse:
    return queue_pb2.EnqueueStreamResponse(call=1, **fields)  # type: ignore[arg-type]


def error(reason: errors_pb2.Reason.ValueType, retry_after_ms: int = 0) -> errors_pb2.Error:
    return errors_pb2.Error(reason=reason, message="why", retry_after_ms=retry_after_ms)


def test_duplicates_are_as_good_as_stored() -> None:
    [shipment] = cut([batch(2)])
    response = queue_pb2.EnqueueResponse(exceptions=[queue_pb2.EnqueueException(index=1, duplicate=True)])

    assert judge(shipment, answer(response=response)) == Verdict([])


def test_a_refused_job_is_found_by_batch_and_index() -> None:
    batches = [batch(2), batch(3, head=HEAD._replace(queue="q"))]
    [shipment] = cut(batches)
    refusal = queue_pb2.EnqueueException(batch=1, index=2, error=error(errors_pb2.REASON_ID_CONFLICT))

    verdict = judge(shipment, answer(response=queue_pb2.EnqueueResponse(exceptions=[refusal])))

    assert verdict == Verdict([Refused(batches[1].keys[2], "ID_CONFLICT", "why", False)])


@pytest.mark.parametrize("reason", [errors_pb2.REASON_STORE_FULL, errors_pb2.REASON_BUSY, errors_pb2.REASON_STOPPING])
def test_a_refusal_that_passes_is_sent_again_when_the_broker_says(reason: errors_pb2.Reason.ValueType) -> None:
    [shipment] = cut([batch(1)])

    assert judge(shipment, answer(error=error(reason, 1500))) == Verdict([], 1.5)
    [given_up] = shipment.given_up("late")
    assert (given_up.reason, given_up.message, given_up.unknown) == (errors_pb2.Reason.Name(reason)[7:], "why", False)


def test_an_ambiguous_answer_leaves_jobs_that_may_be_stored() -> None:
    [shipment] = cut([batch(1)])

    assert judge(shipment, answer(error=error(errors_pb2.REASON_AMBIGUOUS))).retry_after == 0
    assert [refused.unknown for refused in shipment.given_up("late")] == [True]


@pytest.mark.parametrize("reason", [errors_pb2.REASON_UNSPECIFIED, 999], ids=["a bug", "a newer broker"])
def test_what_does_not_say_that_nothing_was_stored_leaves_jobs_that_may_be(reason: errors_pb2.Reason.ValueType) -> None:
    [shipment] = cut([batch(1)])
    verdict = judge(shipment, answer(error=error(reason)))

    assert verdict.retry_after is None
    assert [refused.unknown for refused in verdict.refused] == [True]


def test_an_invalid_request_is_refused_for_good() -> None:
    [shipment] = cut([batch(2)])
    verdict = judge(shipment, answer(error=error(errors_pb2.REASON_INVALID)))

    assert [(refused.reason, refused.unknown) for refused in verdict.refused] == [("INVALID", False)] * 2
    assert verdict.retry_after is None
