"""What workers do for jobs of workflows, with a real broker: hand over, call back, replace, remember."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from tests.acceptance.harness.daemon import Daemon
from tests.acceptance.harness.delivery import Delivery, delivery
from tests.acceptance.harness.waiting import PATIENCE, until

from tqbroker import AsyncResult
from tqbroker.call import Batch, Join, Nodes, Workflow
from tqbroker.codec import encode_call
from tqbroker.exceptions import ChordError
from tqbroker.ids import new_key, text_of

POOLS = ("process", "thread", "asyncio", "solo")
MIB = 1 << 20


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivery]:
    """A worker for each pool; the queue is the name of the pool. The first takes the default queue too."""
    with delivery(tmp_path_factory.mktemp("places"), "places") as place:
        place.broker()
        for pool in POOLS:
            queues = f"{pool},default" if pool == POOLS[0] else pool
            slots = "1" if pool == "solo" else "2"
            options = ("-P", pool, "-c", slots, "-n", f"{pool}@test", "-Q", queues, "-l", "info")
            place.daemon(pool, "worker", "-A", "tasks", *options).start()
        until(lambda: len(place.wire.workers()) == len(POOLS), "all workers to be connected")
        yield place


class Node(NamedTuple):
    """One job of a workflow that a test makes."""

    task: Any
    args: tuple[Any, ...] = ()
    after: int = 0
    member_of: tuple[int, ...] = ()
    silent: bool = False
    queue: str = "default"
    note: str = ""


def submit(shop: Delivery, joins: list[Join], *nodes: Node) -> list[AsyncResult[Any]]:
    """Stores a workflow of these jobs, and gives their results."""
    made = [
        Nodes(
            Batch(
                node.task.default_head()._replace(queue=node.queue),
                [new_key()],
                [encode_call(node.args, {"note": node.note} if node.note else {})],
            ),
            node.after,
            node.silent,
            node.member_of,
        )
        for node in nodes
    ]
    assert shop.app.transport.submit_workflow(Workflow(new_key(), "of a test", joins, made), PATIENCE) == []
    return [shop.app.AsyncResult(text_of(nodes.batch.keys[0])) for nodes in made]


def worker(shop: Delivery, pool: str) -> Daemon:
    return next(daemon for daemon in shop.daemons if daemon.name == pool)


# -- what is handed over -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", POOLS)
def test_the_value_of_one_goes_in_front_of_the_arguments_of_the_next(shop: Delivery, pool: str) -> None:
    tasks = shop.tasks
    _, second, last = submit(
        shop,
        [Join(1), Join(2)],
        Node(tasks.add, (1, 2), member_of=(1,), queue=pool),
        Node(tasks.add, (10,), after=1, member_of=(2,), queue=pool),
        Node(tasks.nothing, after=2, silent=True, queue=pool),
    )
    assert last.get(timeout=PATIENCE) == "nothing was handed over"
    assert second.get(timeout=PATIENCE) == 13


@pytest.mark.parametrize("task", ["sizes", "sizes_async"])
@pytest.mark.parametrize("pool", POOLS)
def test_results_that_are_too_large_to_come_along_are_fetched(shop: Delivery, pool: str, task: str) -> None:
    size = MIB // 2
    members = [Node(shop.tasks.large, (size, letter), member_of=(1,)) for letter in "abcde"]
    follower = Node(getattr(shop.tasks, task), ("own",), after=1, queue=pool)
    *_, last = submit(
        shop, [Join(1, shape="list", id=new_key())], *members, Node(shop.tasks.silent, member_of=(1,)), follower
    )
    assert last.get(timeout=PATIENCE) == [*(f"{letter}{size}" for letter in "abcde"), "-0", "own"]


def test_a_job_sees_where_it_stands(shop: Delivery) -> None:
    where, group = shop.tasks.where, new_key()
    joins = [Join(1), Join(2, shape="list", id=group)]
    first, one, two, body = submit(
        shop,
        joins,
        Node(where, member_of=(1,)),
        Node(where, after=1, member_of=(2,), silent=True),
        Node(where, after=1, member_of=(2,), silent=True),
        Node(where, after=2, silent=True),
    )
    places = [result.get(timeout=PATIENCE)[1] for result in (first, one, two)]
    assert places[0] == [first.id, None, None, None, None]
    assert places[1:] == [[first.id, first.id, text_of(group), index, text_of(group)] for index in (0, 1)]
    root, parent, *_ = body.get(timeout=PATIENCE)[1]
    assert root == first.id
    assert parent in (one.id, two.id)


# -- error callbacks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", POOLS)
def test_error_callbacks_get_what_their_parameters_ask_for(shop: Delivery, pool: str) -> None:
    tasks = shop.tasks
    failed, why, told, quiet = submit(
        shop,
        [Join(1, on="failure")],
        Node(tasks.fail, ("word",), member_of=(1,), queue=pool, note="n"),
        Node(tasks.why, ("own",), after=1, queue=pool),
        Node(tasks.told, ("own",), after=1, queue=pool),
        Node(tasks.nothing, after=1, silent=True, queue=pool),
    )
    name = tasks.fail.name
    assert why.get(timeout=PATIENCE) == [failed.id, name, "word", "n", 1, "KeyError('word')", True, "own"]
    assert told.get(timeout=PATIENCE) == [failed.id, "own"]
    assert quiet.get(timeout=PATIENCE) == "nothing was handed over"


def test_the_callback_of_a_broken_chord_learns_of_the_chord(shop: Delivery) -> None:
    tasks = shop.tasks
    failed, _, body, told = submit(
        shop,
        [Join(1, shape="list", id=new_key()), Join(2, on="failure")],
        Node(tasks.fail, ("word",), member_of=(1,)),
        Node(tasks.add, (1, 1), member_of=(1,)),
        Node(tasks.sizes, after=1, member_of=(2,)),
        Node(tasks.told, after=2),
    )
    assert told.get(timeout=PATIENCE) == [body.id, ""]
    with pytest.raises(ChordError, match=failed.id):
        body.get(timeout=PATIENCE)


# -- what takes the place of a job -------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", POOLS)
def test_a_workflow_takes_the_place_of_a_job(shop: Delivery, pool: str) -> None:
    alone = shop.tasks.stand_in.apply_async((1,), queue=pool)
    assert alone.get(timeout=PATIENCE) == 12
    line = f"Task {shop.tasks.stand_in.name}[{alone.id}] replaced by workflow "
    worker(shop, pool).expect(line)


def test_what_waits_for_a_job_waits_for_what_takes_its_place(shop: Delivery) -> None:
    tasks = shop.tasks
    *_, last = submit(shop, [Join(1)], Node(tasks.stand_in, (5,), member_of=(1,)), Node(tasks.add, (100,), after=1))
    assert last.get(timeout=PATIENCE) == 116


# -- what bodies submit ------------------------------------------------------------------------------------------------


def children(job: AsyncResult[Any]) -> set[str]:
    """What the broker says that a job has submitted."""
    timeout = job.app.conf.request_timeout
    (info,) = job.app.transport.get([job._key], timeout, with_children=True)
    return {text_of(key) for key in info.children}


@pytest.mark.parametrize("pool", POOLS)
def test_a_job_is_kept_with_what_its_body_has_submitted(shop: Delivery, pool: str) -> None:
    job = shop.tasks.spawn.apply_async((3,), queue=pool)
    sent = job.get(timeout=PATIENCE)
    assert len(sent) == 4
    assert children(job) == set(sent)


def test_a_job_that_failed_is_kept_with_what_it_had_submitted(shop: Delivery) -> None:
    job = shop.tasks.spawn_and_fail.delay()
    error = job.get(timeout=PATIENCE, propagate=False)
    assert children(job) == set(error.args)


def test_what_a_body_submits_knows_its_parent_and_where_all_began(shop: Delivery) -> None:
    first, spawned = submit(
        shop,
        [Join(1)],
        Node(shop.tasks.add, (1, 1), member_of=(1,)),
        Node(shop.tasks.spawn, (0,), after=1, silent=True),
    )
    (child,) = spawned.get(timeout=PATIENCE)
    _, place = shop.app.AsyncResult(child).get(timeout=PATIENCE)
    assert place == [first.id, spawned.id, None, None, None]
