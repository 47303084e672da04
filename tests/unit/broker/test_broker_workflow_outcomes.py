"""What workers say of workflows, and what they are told: replacements, children, places."""

from __future__ import annotations

from uuid import UUID

import pytest

from tqbroker.v1 import job_pb2, worker_pb2, workflow_pb2
from tqbroker_broker.answers import Job
from tqbroker_broker.attempts import Extra, Failure, Leased, Place, Verdict
from tqbroker_broker.messages.deliveries import write_deliveries
from tqbroker_broker.messages.outcomes import MAX_CHILDREN, read_ending, read_successes
from tqbroker_broker.messages.status import write_status
from tqbroker_broker.records import Head, State, text_key
from tqbroker_broker.refusals import Invalid
from tqbroker_broker.sessions import cut, load_of
from tqbroker_broker.workflow_decisions import waits_for
from tqbroker_broker.workflows import Inputs, Shape

A, B, C = b"a" * 16, b"b" * 16, b"c" * 16
HEAD = Head("t", "default", 0, "json")


def text(job: bytes) -> str:
    return str(UUID(bytes=job))


def successes(*results: bytes, **trails: bytes) -> worker_pb2.Successes:
    tokens = range(1, len(results) + 1)
    return worker_pb2.Successes(
        tokens=tokens,
        results=results,
        format="json",
        trails=[
            worker_pb2.Trail(index=int(index[1:]), children=job_pb2.Ids(uuids=uuids)) for index, uuids in trails.items()
        ],
    )


def test_children_stay_with_their_attempt_when_others_are_too_large() -> None:
    columns, endings = read_successes([successes(b"1", b"large", b"3", _1=A, _2=B + C)], 3)

    assert columns[0].tokens == [1, 3]
    assert columns[0].children == {1: [B, C]}
    assert [(each.token, list(each.children)) for each in endings] == [(2, [A])]


def test_most_successes_have_no_children() -> None:
    ((columns,), _) = read_successes([successes(b"1")], 3)

    assert not columns.children


@pytest.mark.parametrize("trails", [{"_2": A}, {"_0": A[:5]}, {"_0": A * (MAX_CHILDREN + 1)}])
def test_a_trail_that_fits_no_attempt_is_refused(trails: dict[str, bytes]) -> None:
    with pytest.raises(Invalid):
        read_successes([successes(b"1", b"2", **trails)], 3)


def test_two_trails_of_one_attempt_are_refused() -> None:
    batch = successes(b"1", _0=A)
    batch.trails.append(batch.trails[0])
    with pytest.raises(Invalid, match="two trails"):
        read_successes([batch], 3)


def test_a_replacement_names_its_workflow_and_nothing_else_does() -> None:
    ids = job_pb2.Ids(uuids=A + B)
    wire = worker_pb2.Ending(token=1, verdict=worker_pb2.VERDICT_REPLACED, workflow=b"w" * 16, children=ids)
    ending = read_ending(wire, 100)

    assert (ending.verdict, ending.workflow, list(ending.children)) == (Verdict.REPLACED, b"w" * 16, [A, B])
    for verdict, workflow in ((worker_pb2.VERDICT_REPLACED, b""), (worker_pb2.VERDICT_FAILED, b"w" * 16)):
        with pytest.raises(Invalid, match="16 bytes"):
            read_ending(worker_pb2.Ending(token=1, verdict=verdict, workflow=workflow), 100)


def test_a_delivery_says_where_its_jobs_stand() -> None:
    failure = Failure("ValueError", "builtins", "no")
    cause = Job(C, State.FAILED, head=HEAD, args=b"[1]", failure=failure)
    inputs = Inputs(Shape.LIST, [b"1", b"2"], ["json"], 2)
    place = Place(b"w" * 16, A, B, b"g" * 16, 4, in_chord=True, inputs=inputs, cause=cause)
    leased = Leased(HEAD, [A, B], [1, 2], [b"", b""], [0, 0], [0, 0], {1: Extra(place=place)}, slow=False)
    ((batch,),) = [list(write_deliveries(leased))]

    nowhere, wire = batch.places
    assert nowhere == workflow_pb2.Place()
    assert (wire.workflow, wire.root, wire.parent) == (b"w" * 16, text(A), text(B))
    assert (wire.group, wire.group_index, wire.in_chord) == (b"g" * 16, 4, True)
    assert (list(wire.inputs.values), list(wire.inputs.formats), wire.inputs.count) == ([b"1", b"2"], ["json"], 2)
    assert wire.inputs.shape == workflow_pb2.JOIN_SHAPE_LIST
    assert (wire.cause.uuid, wire.cause.args, wire.cause.failure.type) == (C, b"[1]", "ValueError")


def test_a_delivery_of_plain_jobs_says_nothing_of_places() -> None:
    leased = Leased(HEAD, [A], [1], [b""], [0], [0], {0: Extra(due_ms=5)}, slow=False)
    (batch,) = write_deliveries(leased)

    assert not batch.places


def test_a_delivery_says_who_submitted_its_jobs() -> None:
    head = Head("t", "default", 0, "json", parent="P", root="R")
    (batch,) = write_deliveries(Leased(head, [A], [1], [b""], [0], [0], {}, slow=False))

    assert (batch.parent, batch.root) == ("P", "R")


def test_large_inputs_go_to_a_worker_a_few_at_a_time() -> None:
    inputs = Inputs(Shape.LIST, [b"x" * 600_000], ["json"], 1)
    extras = {index: Extra(place=Place(b"w" * 16, A, inputs=inputs)) for index in range(3)}
    ids = [bytes([index]) * 16 for index in range(5)]
    leased = Leased(HEAD, ids, [1, 2, 3, 4, 5], [b"[]"] * 5, [0] * 5, [0] * 5, extras)

    assert [part.tokens for part in cut(leased)] == [[1], [2], [3, 4, 5]]
    assert load_of(leased) == sum(map(load_of, cut(leased))) > 1_800_000


def test_a_status_says_where_a_job_stands() -> None:
    job = Job(A, State.FAILED, head=HEAD, workflow=b"w" * 16, root=B, parent=C, group=b"g" * 16, group_index=2, cause=C)
    job.children = [B, text_key("x")]
    status = write_status(job)

    assert (status.workflow, status.root, status.parent, status.cause) == (b"w" * 16, text(B), text(C), text(C))
    assert (status.group, status.group_index) == (b"g" * 16, 2)
    assert (status.children.uuids, list(status.children.texts)) == (B, ["x"])


def test_who_submitted_a_workflow_stands_for_its_first_jobs_parent_and_for_every_root() -> None:
    head = Head("t", "default", 0, "json", parent="P", root="R")
    first = write_status(Job(A, State.QUEUED, head=head, workflow=b"w" * 16, root=A))
    later = write_status(Job(B, State.QUEUED, head=head, workflow=b"w" * 16, root=A, parent=A))
    plain = write_status(Job(C, State.QUEUED, head=head))

    assert (first.parent, first.root) == ("P", "R")
    assert (later.parent, later.root) == (text(A), "R")
    assert (plain.parent, plain.root) == ("P", "R")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"left": 2, "members": 10}, "2 of 10 jobs of its workflow"),
        ({"left": 1, "members": 1}, "1 job of its workflow"),
        ({"left": 1, "members": 3, "for_failure": True}, "a failure in its workflow"),
        ({}, "the rest of its workflow"),
    ],
)
def test_what_a_job_waits_for_is_said_in_words(fields: dict[str, int], words: str) -> None:
    job = Job(A, State.WAITING)
    for name, value in fields.items():
        setattr(job, name, value)

    assert waits_for(job) == words
