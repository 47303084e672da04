"""Everything that our client asks a broker, as calls without arguments."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import uuid4

from tqbroker._grpc import GrpcTransport
from tqbroker._grpc_aio import AioTransport
from tqbroker.call import Batch, Head, Join, Nodes, Workflow
from tqbroker.operations import Drop, JobFilter, QueueChange
from tqbroker.workflow_info import WorkflowOrder

SECONDS = 0.1
"""The deadline of each call."""

HEAD = Head("tasks.add", "default", 0, "json")


def client_calls(transport: GrpcTransport) -> dict[str, Callable[[], object]]:
    """By name."""
    return {**_calls(transport), **_orders(transport), **_aio_calls(transport.connection.address)}


def _calls(transport: GrpcTransport) -> dict[str, Callable[[], object]]:
    return {
        "submit": lambda: transport.submit([_batch(2)], SECONDS),
        "wait": lambda: transport.wait(_id(), SECONDS, SECONDS),
        "ends": lambda: list(transport.ends([_id(), _id()], SECONDS, SECONDS)),
        "get": lambda: transport.get([_id(), _id()], SECONDS, with_args=True, with_children=True),
        "cancel": lambda: transport.cancel([_id(), "text"], SECONDS),
        "forget": lambda: transport.forget([_id()], SECONDS),
        "submit_workflow": lambda: transport.submit_workflow(_workflow(), SECONDS),
        "inputs": lambda: transport.inputs(_id(), 0, SECONDS),
        "group": lambda: transport.group(_id(), SECONDS),
        "save_group": lambda: transport.save_group(_id(), [_id()], SECONDS),
        "delete_group": lambda: transport.delete_group(_id(), SECONDS),
        "broker": lambda: transport.broker(SECONDS),
    }


def _orders(transport: GrpcTransport) -> dict[str, Callable[[], object]]:
    operator = transport.operator(SECONDS)
    return {
        "job": lambda: operator.job(_id()),
        "jobs": lambda: list(operator.jobs(JobFilter(), 3)),
        "edit": lambda: list(operator.edit([_id()], Drop())),
        "queue_rules": operator.queue_rules,
        "set_queue": lambda: operator.set_queue("default", QueueChange(paused=True)),
        "delete_queue": lambda: operator.delete_queue("default"),
        "limits": operator.limits,
        "set_limits": lambda: operator.set_limits([]),
        "workflows": lambda: list(operator.workflows((), 3)),
        "workflow": lambda: operator.workflow(_id(), 3),
        "edit_workflow": lambda: operator.edit_workflow(_id(), WorkflowOrder.CANCEL),
        "schedules": operator.schedules,
        "set_schedules": operator.set_schedules,
        "run_schedule": lambda: operator.run_schedule("name", _id()),
        "preview_schedule": lambda: operator.preview_schedule("name"),
        "control": lambda: operator.control("ping", {}, (), 0.01),
        "events": lambda: list(operator.events(seconds=SECONDS)),
    }


def _aio_calls(target: str) -> dict[str, Callable[[], object]]:
    def run(ask: Callable[[AioTransport], Coroutine[Any, Any, object]]) -> Callable[[], object]:
        return lambda: asyncio.run(_on_a_loop(target, ask))

    return {
        "async submit": run(lambda transport: transport.submit([_batch(2)], SECONDS)),
        "async submit_workflow": run(lambda transport: transport.submit_workflow(_workflow(), SECONDS)),
        "async wait": run(lambda transport: transport.wait(_id(), SECONDS, SECONDS)),
        "async ends": run(_ends),
    }


async def _on_a_loop(target: str, ask: Callable[[AioTransport], Coroutine[Any, Any, object]]) -> object:
    transport = AioTransport(target)
    try:
        return await ask(transport)
    finally:
        await transport.close()


async def _ends(transport: AioTransport) -> object:
    return [info async for info in transport.ends([_id(), _id()], SECONDS, SECONDS)]


def _id() -> bytes:
    return uuid4().bytes


def _batch(count: int) -> Batch:
    return Batch(HEAD, [_id() for _ in range(count)], [b"[[],{}]"] * count, None)


def _workflow() -> Workflow:
    join = Join(1, "success", "list", _id())
    nodes = [Nodes(_batch(1), 0, False, (1,)), Nodes(_batch(1), 1)]
    return Workflow(_id(), "chord", [join], nodes)
