"""What is sent of a workflow: batches, heads, ids, encoded arguments; and what is refused before anything is."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.client.canvas_tools import Tasks

from tqbroker import App, Signature, chain, chord, codec, group, signature
from tqbroker.call import Workflow
from tqbroker.exceptions import EncodeError
from tqbroker.graph import TAKES_OVER
from tqbroker.growing import grow
from tqbroker.packing import pack
from tqbroker.workflow_names import MAX_NAME, name_of

T = Tasks()
add, total, note = T.add.s, T.total.s, T.note.s


def packed(sig: Signature[Any], app: App = T.app, **how: Any) -> Workflow:
    return pack(grow(sig, **how), app, name_of(sig)).workflow


def heads(sig: Signature[Any], app: App = T.app) -> list[Any]:
    return [nodes.batch.head for nodes in packed(sig, app).nodes for _ in nodes.batch.keys]


def test_calls_that_share_head_and_place_are_one_batch() -> None:
    workflow = packed(chord([add(i, i) for i in range(1000)], total()))

    assert [len(nodes.batch.keys) for nodes in workflow.nodes] == [1000, 1]
    assert codec.decode_call(workflow.nodes[0].batch.args[3]) == ((3, 3), {})
    assert [nodes.after for nodes in workflow.nodes] == [0, 1]
    assert [(join.on, join.shape, len(join.id)) for join in workflow.joins] == [("success", "list", 16)]
    assert workflow.name == "chord(add x 1000, total)"
    assert len(workflow.id) == 16


@pytest.mark.parametrize(
    ("make", "batches"),
    [
        (lambda: group(add(1, 1), add(2, 2), total([])), [2, 1]),
        (lambda: group(add(1, 1), add(2, 2).set(queue="mail"), add(3, 3)), [1, 1, 1]),
        (lambda: group(add(1, 1), add(2, 2).set(task_id="mine"), add(3, 3)), [1, 1, 1]),
        (lambda: group(*(add(i, i).set(queue="mail") for i in range(3))), [3]),
        (lambda: chain(add(1, 1), add(2)), [1, 1]),
    ],
)
def test_others_are_batches_of_their_own_in_the_order_of_the_workflow(
    make: Callable[[], Signature[Any]], batches: list[int]
) -> None:
    assert [len(nodes.batch.keys) for nodes in packed(make()).nodes] == batches


def test_ids_are_kept_where_they_are_given() -> None:
    last, whole = str(uuid.uuid4()), str(uuid.uuid4())
    workflow = packed(chain(add(1, 1).set(task_id="first"), add(2)).set(task_id=last))
    many = packed(group(add(1, 1)).set(task_id=whole))

    assert workflow.nodes[0].batch.keys == ["first"]
    assert workflow.nodes[1].batch.keys == [uuid.UUID(last).bytes]
    assert many.joins[0].id == uuid.UUID(whole).bytes
    assert packed(chord([add(1, 1)], total()).set(task_id="body")).nodes[1].batch.keys == ["body"]


def test_options_of_the_whole_are_those_of_the_parts_that_they_are_for() -> None:
    chained = heads(chain(add(1, 1), add(2)).set(countdown=5, queue="mail"))
    grouped = heads(group(add(1, 1).set(priority=1), add(2, 2)).set(priority=7, countdown=2))
    chorded = heads(chord([add(1, 1)], total()).set(countdown=5, queue="mail", priority=3))

    assert [(head.countdown_ms, head.queue) for head in chained] == [(5000, "mail"), (0, "default")]
    assert [(head.priority, head.countdown_ms) for head in grouped] == [(7, 2000), (7, 2000)]
    assert [(head.countdown_ms, head.queue, head.priority) for head in chorded] == [(5000, "mail", 3), (0, "mail", 3)]


def test_routes_and_the_options_of_tasks_hold_for_every_call() -> None:
    app = App(set_as_current=False, task_routes={"slow": "slow-queue"}, task_default_priority=4)

    def slow(x: int) -> int:
        return x

    task = app.task(name="slow")(slow)
    limited = app.task(name="limited", queue="mail", expires=60)(slow)
    found = heads(task.s(1) | limited.s() | signature("elsewhere").set(queue="far"), app)

    assert [(head.task, head.queue, head.priority) for head in found] == [
        ("slow", "slow-queue", 4),
        ("limited", "mail", 4),
        ("elsewhere", "far", 4),
    ]
    assert found[1].expires_in_ms == 60_000


def test_a_map_goes_where_its_task_goes() -> None:
    app = App(set_as_current=False, task_routes={"slow": "slow-queue"})

    def slow(x: int) -> int:
        return x

    task = app.task(name="slow")(slow)

    assert [head.queue for head in heads(task.chunks([(1,), (2,)], 1), app)] == ["slow-queue", "slow-queue"]
    assert heads(chain(task.map([1]).set(queue="other")), app)[0].queue == "other"


def test_stamps_and_headers_reach_every_call() -> None:
    whole = chord([add(1, 1), add(2, 2)], total().on_error(note())).stamp(run=7)

    assert [head.traits.stamps for head in heads(whole)] == [("run=7",)] * 4
    assert codec.decode(heads(group(add(1, 1)).set(headers={"a": 1}))[0].headers) == {"a": 1}


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: add(1) | add(2), TypeError, "missing a required argument: 'y'"),
        (lambda: add(1, 1) | add(2, 3), TypeError, "too many positional arguments"),
        (lambda: add(1, 1) | T.total.si(), TypeError, "missing a required argument"),
        (lambda: group(add(1, 1), add()), TypeError, "missing a required argument: 'x'"),
        (lambda: add(1, 1).on_error(T.total.s(1)), TypeError, "too many positional arguments"),
        (lambda: add(1, 1) | add(object()), EncodeError, "argument 1 is a builtins.object"),
        (lambda: add(1, 1) | note("x" * 2_000_000), EncodeError, "a job takes up to 1048576"),
        (lambda: chain(add(1, 1).set(qeue="mail")), TypeError, "has no option qeue"),
        (lambda: chain(add(1, 1).set(priority=11)), ValueError, "priority=11 is not allowed"),
        (lambda: chain(add(1, 1).set(idempotency_key="k")), ValueError, "idempotency_key is for single calls"),
        (
            lambda: chain(add(1, 1).set(unique_until="finished", unique_on_conflict="keep")),
            ValueError,
            "unique_on_conflict='keep' is for single calls",
        ),
    ],
)
def test_what_cannot_be_sent_is_refused_at_the_call(
    make: Callable[[], Signature[Any]], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        packed(make())


def test_an_error_callback_takes_an_id_or_all_that_is_known() -> None:
    assert [head.task for head in heads(add(1, 1).on_error(T.why.s("tag")))] == ["add", "why"]


def test_what_takes_over_is_alone_and_has_no_id() -> None:
    workflow = packed(group(add(1, 1), add(2, 2)) | total(), key=TAKES_OVER)

    assert [nodes.takes_over for nodes in workflow.nodes] == [False, True]
    assert workflow.nodes[1].batch.keys == [b""]


def test_unique_keys_are_made_of_a_calls_own_arguments() -> None:
    workflow = packed(group(add(i, i).set(unique_until="finished") for i in range(2)))
    keys = workflow.nodes[0].batch.unique_keys

    assert keys is not None
    assert len(set(keys)) == 2


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: add(1, 1) | add(2) | total(), "chain(add x 2, total)"),
        (lambda: chain(add(1, 1), group(add(2), add(3)), total()), "chain(add, group(add x 2), total)"),
        (lambda: chord([add(1, 1)], total() | add(2)), "chord(add, chain(total, add))"),
        (lambda: T.add.chunks([(1, 1)], 1), "tqbroker.chunks"),
    ],
)
def test_a_workflow_has_a_name_for_people(make: Callable[[], Signature[Any]], name: str) -> None:
    assert name_of(make()) == name


def test_names_are_bounded_however_large_the_workflow() -> None:
    mixed = chain(*(signature(f"task{number}" + "x" * 100) for number in range(1000)))
    deep: Any = add(1, 1)
    for _ in range(2000):
        deep = group(deep, add(1, 1))

    assert len(name_of(mixed)) <= MAX_NAME
    assert name_of(mixed).endswith("...")
    assert "..." in name_of(deep)
