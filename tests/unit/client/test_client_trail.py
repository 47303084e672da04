"""What jobs submit from their bodies: whose children those are, and what is remembered of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest

from tqbroker import App, Task, context
from tqbroker.call import Batch
from tqbroker.exceptions import BatchError, OperationalError
from tqbroker.request import Request
from tqbroker.request_values import Details
from tqbroker.trail import MAX_CHILDREN
from tqbroker.transport import AsyncTransport, Refused, Transport


class Broker:
    """Takes everything, but for the arguments that it is told to refuse."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.refuse: frozenset[bytes] = frozenset()

    def submit(self, batches: Sequence[Batch], timeout: float) -> list[Refused]:
        self.batches += batches
        return [
            Refused(key, "INVALID", "no", False)
            for batch in batches
            for key, args in zip(batch.keys, batch.args, strict=True)
            if args in self.refuse
        ]

    def parents(self) -> list[tuple[str, str]]:
        return [(batch.head.parent, batch.head.root) for batch in self.batches]


class AsyncBroker:
    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    async def submit(self, batches: Sequence[Batch], timeout: float) -> list[Refused]:
        return self.broker.submit(batches, timeout)


class OwnApp(App):
    broker: Broker

    @property
    def transport(self) -> Transport:
        return cast(Transport, self.broker)

    @property
    def async_transport(self) -> AsyncTransport:
        return cast(AsyncTransport, AsyncBroker(self.broker))


app = OwnApp("tasks")


@app.task(name="add")
def add(x: int) -> int:
    return x


@app.task(name="body")
def body() -> None:
    add.delay(5)


@app.task(name="quiet", trail=False)
def quiet() -> None:
    pass


@pytest.fixture(autouse=True)
def broker() -> Broker:
    app.broker = Broker()
    return app.broker


def running(task: Task[..., Any], details: Details | None = None) -> Iterator[Request]:
    request = Request("parent", task.name)
    if details is not None:
        request.details = details
    token = context.push(task, request)
    yield request
    context.pop(token)


@pytest.fixture
def request_here() -> Iterator[Request]:
    """The job of `body` runs here."""
    yield from running(body)


@pytest.fixture
def quiet_here() -> Iterator[Request]:
    yield from running(quiet)


@pytest.fixture
def later_here() -> Iterator[Request]:
    yield from running(body, Details(root="first", parent="before"))


def ids(request: Request) -> list[str]:
    return [result.id for result in request.children]


def test_a_call_outside_of_a_job_is_nobodys_child(broker: Broker) -> None:
    add.delay(1)
    assert broker.parents() == [("", "")]


def test_every_way_to_submit_makes_a_child(broker: Broker, request_here: Request) -> None:
    sent = [
        add.delay(1),
        add.apply_async((2,), queue="other"),
        app.send_task("elsewhere", (3,)),
        *add.delay_many([(4,), (5,)]),
        *add.apply_async_many([{"args": (6,)}]),
    ]
    assert ids(request_here) == [result.id for result in sent]
    assert set(broker.parents()) == {("parent", "parent")}


async def test_every_way_of_asyncio_makes_a_child(broker: Broker, request_here: Request) -> None:
    sent = [await add.adelay(1), await app.asend_task("elsewhere", (3,))]
    async with app.batch():
        sent.append(await add.adelay(2))
    assert ids(request_here) == [result.id for result in sent]
    assert set(broker.parents()) == {("parent", "parent")}


def test_a_child_inherits_where_all_of_it_began(broker: Broker, later_here: Request) -> None:
    add.delay(1)
    assert broker.parents() == [("parent", "first")]


def test_a_child_that_is_not_added_to_its_parent_still_knows_it(broker: Broker, request_here: Request) -> None:
    add.apply_async((1,), add_to_parent=False)
    with app.batch():
        add.apply_async((2,), add_to_parent=False)
        kept = add.apply_async((3,), add_to_parent=True)
    assert ids(request_here) == [kept.id]
    assert set(broker.parents()) == {("parent", "parent")}


def test_a_task_without_trail_remembers_nothing(broker: Broker, quiet_here: Request) -> None:
    add.delay(1)
    assert (ids(quiet_here), broker.parents()) == ([], [("parent", "parent")])


def test_a_task_that_is_called_as_a_function_adds_to_the_job_that_calls_it(request_here: Request) -> None:
    body()
    assert len(ids(request_here)) == 1


def test_a_direct_call_outside_of_a_job_is_nobodys_parent(broker: Broker) -> None:
    body()
    assert broker.parents() == [("", "")]


def test_what_was_refused_is_no_child(broker: Broker, request_here: Request) -> None:
    broker.refuse = frozenset({b"[[1],{}]"})
    with pytest.raises(OperationalError):
        add.delay(1)
    with pytest.raises(BatchError) as raised:
        add.delay_many([(1,), (2,)])
    assert ids(request_here) == [result.id for result in raised.value.stored]
    assert len(ids(request_here)) == 1


def _send_and_fail() -> None:
    with app.batch():
        add.delay(1)
        raise ZeroDivisionError


def test_what_a_batch_never_sent_is_no_child(request_here: Request) -> None:
    with pytest.raises(ZeroDivisionError):
        _send_and_fail()
    assert ids(request_here) == []


def test_so_many_children_are_remembered_and_no_more(request_here: Request) -> None:
    sent = add.delay_many([(number,) for number in range(MAX_CHILDREN + 5)])
    add.delay(1)
    assert ids(request_here) == [result.id for result in sent[:MAX_CHILDREN]]


def test_a_job_run_in_place_remembers_too() -> None:
    seen: list[Request] = []

    @app.task(name="watched", bind=True)
    def watched(self: Task[..., Any]) -> None:
        add.delay(1)
        seen.append(self.request)

    watched.apply()
    assert len(ids(seen[0])) == 1
