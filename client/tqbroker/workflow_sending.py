"""Submits of workflows: announced, made durable, and what was refused said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tqbroker import publish_signals
from tqbroker.async_result import AsyncResult
from tqbroker.call import Batch, Nodes, Workflow
from tqbroker.exceptions import NotUniqueError, OperationalError, QueueFull, TqbrokerError
from tqbroker.ids import Key, key_of, text_of
from tqbroker.signals import after_task_publish, before_task_publish

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.transport import Refused


def send(app: App, workflow: Workflow, timeout: float | None = None) -> None:
    """Makes a workflow durable. Raises OperationalError or NotUniqueError: then nothing of it is stored, or all.

    Also inside of `with app.batch():` this is done at once: a workflow is stored as a whole.
    """
    announced = _announced(workflow)
    _judge(app, announced, app.transport.submit_workflow(announced, timeout or app.sender.timeout()))


async def asend(app: App, workflow: Workflow, timeout: float | None = None) -> None:
    """`send` for asyncio."""
    announced = _announced(workflow)
    refused = await app.async_transport.submit_workflow(announced, timeout or app.sender.timeout())
    _judge(app, announced, refused)


def _announced(workflow: Workflow) -> Workflow:
    """The workflow as it is to be sent, after before_task_publish."""
    if not before_task_publish.receivers:
        return workflow
    nodes: list[Nodes] = []
    for each in workflow.nodes:
        batch = each.batch
        for number, (key, args) in enumerate(zip(batch.keys, batch.args, strict=True)):
            unique = None if batch.unique_keys is None else batch.unique_keys[number : number + 1]
            (told,) = publish_signals.before(Batch(batch.head, [key], [args], unique))
            nodes.append(each._replace(batch=told))
    return workflow._replace(nodes=nodes)


def _judge(app: App, workflow: Workflow, refused: Sequence[Refused]) -> None:
    if refused:
        raise _refusal(app, workflow, refused)
    if after_task_publish.receivers:
        publish_signals.after([nodes.batch for nodes in workflow.nodes])


def _refusal(app: App, workflow: Workflow, refused: Sequence[Refused]) -> TqbrokerError:
    """Why a workflow is not stored, by the first of its jobs that is refused."""
    first = refused[0]
    text = (
        f"nothing of workflow {workflow.name} is stored, because of {len(refused)} of its jobs: "
        f"{_task_of(workflow, first.key)} {text_of(first.key)}: {first.message} [{first.reason}]"
    )
    if first.reason == "NOT_UNIQUE" and first.holder:
        return NotUniqueError(text, holder=AsyncResult._of(key_of(first.holder), app))
    error = QueueFull if first.reason == "QUEUE_FULL" else OperationalError
    return error(text, outcome="rejected", task_ids=[text_of(item.key) for item in refused], reason=first.reason)


def _task_of(workflow: Workflow, key: Key) -> str:
    return next((nodes.batch.head.task for nodes in workflow.nodes if key in nodes.batch.keys), "job")
