"""Tasks with the options that people bring from Celery."""

from __future__ import annotations

import os
import signal
from decimal import Decimal
from typing import Any

from pydantic import BaseModel

from tqbroker import App, Exchange, Queue, Task
from tqbroker.utils.log import get_task_logger

app = App(
    "tasks",
    task_queues=[Queue("default"), Queue("mail", Exchange("media", type="topic"), routing_key="mail.#")],
)
logger = get_task_logger(__name__)


class Counting(Task[..., Any]):
    """Its attributes are options, and what it keeps is kept for the next job."""

    max_retries = 7
    count = 0

    def counted(self) -> int:
        self.count += 1
        return self.count


@app.task(name="a name of its own", bind=True, base=Counting)
def based(self: Counting, x: int) -> list[Any]:
    return [self.name, self.max_retries, self.counted() > 0, x]


@app.task
def echo(value: Any) -> Any:
    return value


@app.task(serializer="msgpack")
def echo_packed(value: Any) -> Any:
    return value


@app.task(compression="bzip2")
def echo_small(value: Any) -> Any:
    return value


@app.task(ignore_result=True)
def silent() -> str:
    return "nobody hears it"


@app.task(result_expires=0.3)
def forgetful() -> int:
    return 1


@app.task(typing=False)
def loose(x: int) -> int:
    return x


def name_of_the_day(task: Task[..., Any], args: Any, kwargs: Any, options: Any) -> str:
    return f"{task.name} for {args[0]}"


@app.task(bind=True, shadow_name=name_of_the_day)
def shadowed(self: Task[..., Any], who: str) -> str | None:
    return self.request.shadow


def told(task: Task[..., Any], *arguments: Any) -> None:
    logger.warning("hook of %s: %s", task.name, arguments[0])


def told_at_last(task: Task[..., Any], status: str, *_: Any) -> None:
    logger.warning("end of %s: %s", task.name, status)


@app.task(before_start=told, on_success=told, after_return=told_at_last)
def hooked() -> str:
    return "done"


def failed(task: Task[..., Any], exc: Exception, *_: Any) -> None:
    logger.warning("failure of %s: %r", task.name, exc)


@app.task(on_failure=failed, on_retry=failed, autoretry_for=(LookupError,), max_retries=1, default_retry_delay=0)
def hooked_failure() -> None:
    raise LookupError("nothing there")


@app.task(bind=True)
def headers(self: Task[..., Any]) -> dict[str, Any]:
    return {"headers": dict(self.request.headers), "stamps": self.request.stamps, "lang": self.request.lang}


@app.task(bind=True, reject_on_worker_lost=True, acks_late=True, track_started=True, acks_on_failure_or_timeout=True)
def lost_once(self: Task[..., Any]) -> int:
    if not self.request.lost_leases:
        os.kill(os.getpid(), signal.SIGKILL)
    return self.request.lost_leases


@app.task(bind=True)
def events(self: Task[..., Any]) -> None:
    self.send_event("task-halfway", rows=5)


@app.task
def total(values: list[Decimal]) -> Decimal:
    return sum(values, Decimal(0))


@app.task(ignore_result=True, store_errors_even_if_ignored=True, send_events=False)
def silent_failure() -> None:
    raise ValueError("kept")


@app.task(resultrepr_maxsize=10)
def long_result() -> str:
    return "x" * 100


class Order(BaseModel):
    """What a shop is asked for."""

    number: int
    price: Decimal


@app.task(pydantic=True)
def book(order: Order) -> Order:
    assert isinstance(order, Order)
    return Order(number=order.number + 1, price=order.price)
