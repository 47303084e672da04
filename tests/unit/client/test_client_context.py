"""The job being run: seen by its own task only, apart in every thread and asyncio task."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from tqbroker import App, Task, current_task
from tqbroker.context import Request, pop, push
from tqbroker.utils.log import get_task_logger


@pytest.fixture
def task() -> Task[..., Any]:
    return App().task(name="tasks.body")(_body)


def _body() -> None: ...


def test_the_request_is_the_one_pushed_until_it_is_popped(task: Task[..., Any]) -> None:
    request = Request("id-1", task.name, (1,), {"k": 2}, retries=3, hostname="w@h", queue="mail", priority=5)
    token = push(task, request)

    assert task.request is request
    assert current_task.request.id == "id-1"
    assert (bool(current_task), current_task.name) == (True, "tasks.body")
    assert not request.called_directly
    assert request.worker == request.hostname == "w@h"
    assert request.delivery_info["routing_key"] == "mail"

    pop(token)

    assert task.request.called_directly
    assert not current_task


def test_another_task_does_not_see_it(task: Task[..., Any]) -> None:
    other = App().task(name="tasks.other")(_body)
    token = push(task, Request("id-1"))

    assert other.request.id is None
    other()
    assert task.request.id == "id-1"

    pop(token)


def test_outside_of_a_task_there_is_nothing_to_ask() -> None:
    with pytest.raises(AttributeError, match=r"current_task\.request: no task is being run here"):
        _ = current_task.request


async def test_asyncio_tasks_each_see_their_own(task: Task[..., Any]) -> None:
    async def run(name: str) -> str | None:
        push(task, Request(name))
        await asyncio.sleep(0)
        return task.request.id

    seen = list(await asyncio.gather(run("a"), run("b")))

    assert seen == ["a", "b"]
    assert task.request.id is None


def test_task_loggers_know_the_job(task: Task[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    logger = get_task_logger("shop.tasks")
    assert get_task_logger("shop.tasks") is logger

    token = push(task, Request("id-1"))
    logger.warning("inside")
    pop(token)
    logger.warning("outside")

    fields = [(vars(record)["task_name"], vars(record)["task_id"]) for record in caplog.records]
    assert fields == [("tasks.body", "id-1"), ("???", "???")]
    assert len(logging.getLogger("shop.tasks").filters) == 1


def test_the_id_of_a_job_is_text_however_it_is_kept() -> None:
    request = Request(bytes(range(16)))

    assert request.id == request.correlation_id == "00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert not request.called_directly
