"""The public API as a user writes it, for mypy and pyright. Nothing here runs.

Lines with an ignore are mistakes on purpose: both checkers must find them, and complain of an ignore that is not
needed.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true, reportUnusedFunction=false

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, assert_type

from tqbroker import (
    App,
    AsyncResult,
    Celery,
    Queue,
    Signature,
    Task,
    chain,
    chord,
    current_app,
    current_task,
    group,
    shared_task,
    signature,
)
from tqbroker.exceptions import Retry
from tqbroker.result import GroupResult

app = App("tasks", broker="tq://localhost", task_default_queue="mail", result_expires=3600)
celery = Celery("tasks")


@app.task
def add(x: int, y: int) -> int:
    """A plain task."""
    return x + y


@app.task(queue="mail", priority=3, ignore_result=True)
def mail(to: str, *, copies: int = 1) -> None:
    """A task with options."""


@app.task(bind=True, name="named")
def bound(self: Task[..., Any], x: int) -> str:
    """A task that gets itself."""
    return f"{self.request.id} {self.request.retries} {x}"


@app.task(bind=True)
def retried(self: Task[..., Any], x: int) -> int:
    """A retry ends the body, with and without `raise`, unless it is told not to."""
    if x == 1:
        raise self.retry(countdown=5)
    if x == 2:
        assert_type(self.retry(throw=False), Retry)
        return x
    try:
        return 1 // x
    except ArithmeticError as error:
        self.retry(exc=error)


@shared_task
def shared(x: int) -> str:
    """A task of every app."""
    return str(x)


@shared_task(bind=True, rate_limit="10/s 100/m", autoretry_for=(OSError,), retry_backoff=True, limits=["api"])
def shared_bound(self: Task[..., Any], x: int) -> str:
    """One with options that gets itself."""
    return f"{self.name} {x}"


@app.task
async def fetch(url: str) -> bytes:
    """A coroutine task."""
    return url.encode()


@app.task(bind=True)
async def bound_fetch(self: Task[..., Any], url: str) -> bytes:
    """A coroutine task that gets itself."""
    return url.encode()


def calls() -> None:
    """Parameters and results are those of the function."""
    assert_type(add(4, 4), int)
    assert_type(add.delay(4, 4), AsyncResult[int])
    assert_type(add.delay(x=4, y=4).get(timeout=1), int)
    assert_type(mail.delay("a@b", copies=2), AsyncResult[None])
    assert_type(bound.delay(1), AsyncResult[str])
    assert_type(fetch.delay("url"), AsyncResult[bytes])
    assert_type(bound_fetch.delay("url").get(), bytes)
    assert_type(add.apply_async((4, 4), queue="mail", countdown=1.5, eta=None), AsyncResult[int])
    assert_type(add.apply_async(kwargs={"x": 1, "y": 2}, eta=datetime.now(UTC), expires=10), AsyncResult[int])
    assert_type(add.delay_many([(1, 2), (3, 4)]), list[AsyncResult[int]])
    assert_type(add.apply_async_many([{"args": (1, 2), "queue": "mail"}, {"kwargs": {"x": 1}}]), list[AsyncResult[int]])
    assert_type(app.send_task("tasks.add", (4, 4), priority=9), AsyncResult[Any])
    assert_type(app.AsyncResult("id").state, str)
    assert_type(add.AsyncResult("id"), AsyncResult[int])
    assert_type(current_task.name, str)
    assert_type(current_app.send_task("tasks.add", (4, 4), unique_until="finished"), AsyncResult[Any])
    assert_type(shared.delay(1), AsyncResult[str])
    assert_type(shared_bound.delay(1).get(), str)
    assert_type(add.apply_async((4, 4), queue=Queue("mail"), tenant="acme", idempotency_key="k"), AsyncResult[int])
    with app.batch():
        add.delay(1, 2)


def workflows() -> None:
    """Signatures know what their task returns, and whole workflows what kind of result they have."""
    assert_type(add.s(4), Signature[int])
    assert_type(add.si(4, 4), Signature[int])
    assert_type(add.signature((4,), {"y": 4}, countdown=3), Signature[int])
    assert_type(fetch.s("url"), Signature[bytes])
    assert_type(add.s(4).delay(4), AsyncResult[int])
    assert_type(add.s(4, 4).apply_async(queue="mail").get(), int)
    assert_type(add.s(4).clone((4,)).set(priority=3).on_error(mail.s("a@b")), Signature[int])
    assert_type(add.s(4, 4) | shared.s() | mail.si("a@b"), chain)
    assert_type(chain(add.s(4, 4), add.s(4)).delay(), AsyncResult[Any])
    assert_type(group(add.s(i, i) for i in range(3)).delay(), GroupResult)
    assert_type(group(add.s(1, 1), add.s(2, 2)).apply_async(priority=3).completed_count(), int)
    assert_type(chord([add.s(1, 1)], shared.s()).delay(), AsyncResult[Any])
    assert_type(add.chunks([(1, 2), (3, 4)], 1).group(), group)
    assert_type(signature("tasks.add", (4, 4), queue="mail"), Signature[Any])
    assert_type(app.signature("tasks.add"), Signature[Any])
    add.apply_async((4, 4), link=mail.s("a@b"), link_error=[mail.s("c@d")])
    chord([add.s(1, 1), add.s(2, 2)])(shared.s())


@app.task(bind=True)
def replaced(self: Task[..., Any], x: int) -> int:
    """Replacing ends the body, with and without `raise`."""
    if x == 1:
        raise self.replace(add.s(1, 1))
    try:
        self.add_to_chord(add.s(2, 2))
        return x
    except ValueError:
        self.replace(group(add.s(1, 1)) | shared.s())


async def asyncio_workflows() -> None:
    """The same awaited."""
    assert_type(await (await add.s(4).adelay(4)), int)


async def asyncio_calls() -> None:
    """The same awaited."""
    assert_type(await add.adelay(4, 4), AsyncResult[int])
    assert_type(await (await add.adelay(4, 4)), int)
    assert_type(await (await add.aapply_async((4, 4), priority=1)).aget(timeout=1), int)
    assert_type(await fetch("url"), bytes)
    assert_type(await bound_fetch("url"), bytes)
    async with app.batch():
        await add.adelay(1, 2)


def mistakes() -> None:
    """What an editor must underline."""
    add.delay(4)  # type: ignore[call-arg]
    add.delay("4", 4)  # type: ignore[arg-type]
    add.delay(4, 4, 4)  # type: ignore[call-arg]
    add.delay(x=4, z=4)  # type: ignore[call-arg]
    bound.delay("x")  # type: ignore[arg-type]
    mail.delay("a@b", 2)  # type: ignore[call-arg]
    add.apply_async((4, 4), quue="mail")  # type: ignore[call-arg]
    add.apply_async((4, 4), priority="high")  # type: ignore[arg-type]
    add.apply_async((4, 4), unique_until="never")  # type: ignore[arg-type]
    shared.delay("x")  # type: ignore[arg-type]
    add.apply_async_many([{"args": (1, 2), "quue": "x"}])  # type: ignore[typeddict-unknown-key]
    text: str = add.delay(4, 4).get()  # type: ignore[assignment]
    print(text)
    App("tasks", brokr="tq://localhost")  # type: ignore[call-arg]


@app.task(quue="mail")  # type: ignore[call-overload, untyped-decorator]
def misspelt(x: int) -> int:
    """An option that does not exist."""
    return x
