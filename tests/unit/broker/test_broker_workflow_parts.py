"""Parts of workflows on their way in: what is well-formed comes through whole, what is not is refused in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from tqbroker.v1 import job_pb2, workflow_pb2
from tqbroker_broker.attempts import Held
from tqbroker_broker.config import BrokerConfig
from tqbroker_broker.messages.parts import PartIn, read_part
from tqbroker_broker.messages.shapes import MAX_MEMBER_OF, MAX_NAME
from tqbroker_broker.records import Time
from tqbroker_broker.refusals import Invalid, TooLarge
from tqbroker_broker.rules import Traits
from tqbroker_broker.workflows import NewJoin, On, Shape

CONFIG = BrokerConfig(max_request_jobs=20, max_request_bytes=64 * 1024, max_request_batches=8, max_args_size=1024)
NOW = Time(1_800_000_000_000, 5.0)
WORKFLOW = b"w" * 16
GROUP = b"g" * 16
REJECT = job_pb2.Unique(until=job_pb2.UNIQUE_UNTIL_FINISHED, conflict=job_pb2.UNIQUE_CONFLICT_REJECT)
KEEP = job_pb2.Unique(until=job_pb2.UNIQUE_UNTIL_FINISHED, conflict=job_pb2.UNIQUE_CONFLICT_KEEP)


def batch(*ids: bytes, **fields: Any) -> job_pb2.JobBatch:
    whole: dict[str, Any] = {
        "task": "t",
        "format": "json",
        "ids": job_pb2.Ids(uuids=b"".join(each * 16 for each in ids)),
        "args": [b"[]"] * len(ids),
        **fields,
    }
    return job_pb2.JobBatch(**whole)


def chord(**fields: Any) -> workflow_pb2.WorkflowPart:
    """Two jobs of a group, and a body that waits for them."""
    whole: dict[str, Any] = {
        "workflow": WORKFLOW,
        "last": True,
        "name": "chord(t x 2, t)",
        "joins": [
            workflow_pb2.Join(number=1, id=GROUP, on=workflow_pb2.JOIN_ON_SUCCESS, shape=workflow_pb2.JOIN_SHAPE_LIST)
        ],
        "nodes": [
            workflow_pb2.NodeBatch(jobs=batch(b"a", b"b"), member_of=[1]),
            workflow_pb2.NodeBatch(jobs=batch(b"c"), after=1),
        ],
        **fields,
    }
    return workflow_pb2.WorkflowPart(**whole)


def read(wire: workflow_pb2.WorkflowPart) -> PartIn:
    return read_part(wire, CONFIG, NOW)


def test_a_chord_comes_through_with_its_join_and_places() -> None:
    part, refused, size = read(chord())

    assert refused == []
    assert size == 6
    assert (part.workflow, part.number, part.last, part.name) == (WORKFLOW, 0, True, "chord(t x 2, t)")
    assert part.joins == [NewJoin(1, On.SUCCESS, Shape.LIST, GROUP)]
    assert [node.jobs.ids for node in part.nodes] == [[b"a" * 16, b"b" * 16], [b"c" * 16]]
    assert [(node.after, node.member_of, node.silent) for node in part.nodes] == [(0, (1,), False), (1, (), False)]


def test_a_resend_is_the_same_part_however_late_it_comes() -> None:
    late = Time(NOW.wall_ms + 60_000, 65.0)
    wire = chord()
    wire.nodes[0].jobs.countdown_ms = 5000
    wire.nodes[1].jobs.expires_in_ms = 5000

    assert read_part(wire, CONFIG, NOW).part.digest == read_part(wire, CONFIG, late).part.digest


def test_the_digest_tells_parts_apart_by_everything_in_them() -> None:
    def spoil(change: Callable[[workflow_pb2.WorkflowPart], object]) -> bytes:
        wire = chord()
        change(wire)
        return read(wire).part.digest

    changes: list[Callable[[Any], object]] = [
        lambda _: None,
        lambda wire: setattr(wire, "part", 1),
        lambda wire: setattr(wire, "last", False),
        lambda wire: setattr(wire, "name", "other"),
        lambda wire: setattr(wire, "held", True),
        lambda wire: wire.joins.add(number=2, on=1, shape=1),
        lambda wire: setattr(wire.joins[0], "id", b""),
        lambda wire: wire.joins[0].MergeFrom(_join(0, on=2)),
        lambda wire: setattr(wire.nodes[1], "silent", True),
        lambda wire: setattr(wire.nodes[1], "after", 0),
        lambda wire: wire.nodes[0].member_of.append(7),
        lambda wire: setattr(wire.nodes[1].jobs, "task", "u"),
        lambda wire: setattr(wire.nodes[1].jobs, "countdown_ms", 1),
        lambda wire: setattr(wire.nodes[1].jobs, "parent", "a job"),
        lambda wire: setattr(wire.nodes[1].jobs.ids, "uuids", b"d" * 16),
        lambda wire: wire.nodes[1].jobs.args.__setitem__(0, b"[1]"),
    ]
    digests = [spoil(change) for change in changes]

    assert len(set(digests)) == len(changes)


def test_durations_count_from_the_release_and_moments_stand() -> None:
    wire = chord()
    for node in wire.nodes:
        node.jobs.countdown_ms = 5000
        node.jobs.expires_in_ms = 9000

    for nodes in read(wire).part.nodes:
        assert (nodes.jobs.due_ms, nodes.jobs.expires_ms) == (0, 0)
        assert (nodes.countdown_ms, nodes.expires_in_ms) == (5000, 9000)

    wire.nodes[0].jobs.ClearField("countdown_ms")
    wire.nodes[0].jobs.eta_unix_ms = NOW.wall_ms + 2
    for node in wire.nodes:
        node.jobs.ClearField("expires_in_ms")
        node.jobs.expires_unix_ms = NOW.wall_ms + 1
    first, follower = read(wire).part.nodes
    assert (first.jobs.due_ms, first.jobs.expires_ms) == (NOW.wall_ms + 2, NOW.wall_ms + 1)
    assert follower.jobs.expires_ms == NOW.wall_ms + 1


def test_the_job_that_takes_over_has_no_id() -> None:
    wire = chord(held=True)
    wire.nodes[1].takes_over = True
    wire.nodes[1].jobs.ids.uuids = b""
    part = read(wire).part

    assert part.held
    assert (part.nodes[1].takes_over, part.nodes[1].jobs.ids) == (True, [b""])


def test_a_workflow_beside_a_running_job_names_it_with_its_token() -> None:
    wire = chord(beside=str(UUID(bytes=b"r" * 16)), beside_token=7)
    wire.nodes[1].beside = True
    part = read(wire).part

    assert part.beside == Held(b"r" * 16, 7)
    assert [node.beside for node in part.nodes] == [False, True]


def test_the_submitting_job_goes_with_every_job() -> None:
    (node, _) = read(chord(nodes=[_node(batch(b"a", parent="P", root="R")), _node(batch(b"b"))])).part.nodes

    assert (node.jobs.head.parent, node.jobs.head.root) == ("P", "R")


def _node(jobs: job_pb2.JobBatch, **place: Any) -> workflow_pb2.NodeBatch:
    return workflow_pb2.NodeBatch(jobs=jobs, **place)


def _join(number: int, on: int = 1, shape: int = 1, group: bytes = b"") -> workflow_pb2.Join:
    return workflow_pb2.Join(
        number=number, id=group, on=workflow_pb2.JoinOn.ValueType(on), shape=workflow_pb2.JoinShape.ValueType(shape)
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"workflow": b"w" * 15}, "id of the workflow has 15 bytes"),
        ({"name": "n" * (MAX_NAME + 1)}, "name of the workflow"),
        ({"name": "two\nlines"}, "name of the workflow"),
        ({"nodes": []}, "no jobs"),
        ({"nodes": [_node(batch())]}, "batch 0 has no jobs"),
        ({"joins": [_join(0)]}, "is 0 or comes twice"),
        ({"joins": [_join(2), _join(1), _join(2)]}, "is 0 or comes twice"),
        ({"joins": [_join(1, on=0)]}, "is on 0"),
        ({"joins": [_join(1, on=3)]}, "is on 3"),
        ({"joins": [_join(1, shape=0)]}, "has shape 0"),
        ({"joins": [_join(1, on=2, shape=2)]}, "on FAILURE and of LIST shape"),
        ({"joins": [_join(1, group=b"g")]}, "id of the group has 1 bytes"),
        ({"nodes": [_node(batch(b"a"), member_of=[0])]}, "member_of of batch 0"),
        ({"nodes": [_node(batch(b"a"), member_of=[1, 1])]}, "member_of of batch 0"),
        ({"nodes": [_node(batch(b"a"), member_of=range(1, MAX_MEMBER_OF + 2))]}, "256 at most"),
        ({"joins": [_join(1)]}, "more than one member"),
        (
            {"joins": [_join(1)], "nodes": [_node(batch(b"a"), member_of=[1]), _node(batch(b"b"), member_of=[1])]},
            "more than one member",
        ),
        ({"nodes": [_node(batch(b"a"), after=1, member_of=[1])]}, "send the members of a join before its followers"),
        (
            {"nodes": [_node(batch(b"a"), after=1), _node(batch(b"b"), member_of=[1])]},
            "send the members of a join before its followers",
        ),
        ({"nodes": [_node(batch(b"a"), takes_over=True)], "held": True}, "no id"),
        ({"nodes": [_node(batch(args=[b"", b""]), takes_over=True)], "held": True}, "one job"),
        ({"nodes": [_node(batch(args=[b""]), takes_over=True)]}, "must be held"),
        ({"nodes": [_node(batch(args=[b""]), takes_over=True)] * 2, "held": True}, "several jobs take over"),
        ({"nodes": [_node(batch(b"a"), beside=True)]}, "name that in beside"),
        ({"beside_token": 1}, "without beside"),
        ({"beside": "job", "last": False}, "one part"),
        ({"beside": "job", "part": 1}, "one part"),
        ({"beside": "job", "held": True}, "not held"),
        ({"beside": "x" * 129}, "id"),
        ({"nodes": [_node(batch(b"a", args=[b"", b""]))]}, "one id and one args"),
    ],
)
def test_what_fits_nothing_is_refused_as_a_whole(change: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        read(chord(**change))


def test_more_than_a_request_may_have_is_refused_with_the_limit() -> None:
    with pytest.raises(TooLarge, match="20: split"):
        read(chord(nodes=[_node(batch(b"a"))] * 21))
    with pytest.raises(TooLarge, match="20: split"):
        read(chord(nodes=[_node(batch(*[b"a"] * 21))]))
    with pytest.raises(TooLarge, match="65536: split"):
        read(chord(nodes=[_node(batch(b"a", b"b", args=[b"x" * 65_000] * 2))]))


@pytest.mark.parametrize(
    ("jobs", "place", "words"),
    [
        (batch(b"a", task=""), {}, "task"),
        (batch(b"a", args=[b"x" * 1025]), {}, "1024"),
        (batch(b"a", parent="x" * 129), {}, "not allowed"),
        (batch(b"a", root="\n"), {}, "not allowed"),
        (batch(b"a", traits=job_pb2.Traits(unique=KEEP), unique_keys=[b"u" * 16]), {}, "must be REJECT"),
    ],
)
def test_what_is_wrong_with_one_job_is_said_of_it(jobs: job_pb2.JobBatch, place: dict[str, Any], words: str) -> None:
    wire = chord(nodes=[_node(batch(b"z"), member_of=[1]), _node(jobs, **place)], held=True)
    (refused,) = read(wire).refused

    assert (refused.batch, refused.job) == (1, 0)
    assert words in str(refused.error)


def test_the_key_of_the_job_that_takes_over_is_left_out() -> None:
    wire = chord(held=True)
    taker = wire.nodes[1]
    taker.takes_over = True
    taker.jobs.ids.uuids = b""
    taker.jobs.traits.CopyFrom(job_pb2.Traits(unique=KEEP, shadow="s"))
    taker.jobs.unique_keys.append(b"u" * 16)
    part, refused, _ = read(wire)

    assert refused == []
    assert (part.nodes[1].jobs.unique, part.nodes[1].jobs.head.traits) == ((), Traits(shadow="s"))


def test_a_unique_job_of_a_workflow_keeps_its_key() -> None:
    jobs = batch(b"a", traits=job_pb2.Traits(unique=REJECT), unique_keys=[b"u" * 16])
    part, refused, _ = read(chord(nodes=[_node(jobs)]))

    assert refused == []
    assert part.nodes[0].jobs.unique == [b"u" * 16]
