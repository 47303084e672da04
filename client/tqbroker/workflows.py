"""Signatures on their way to the broker: grown into graphs, packed, submitted, and the results that stand for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from tqbroker.async_result import AsyncResult
from tqbroker.call import Workflow
from tqbroker.canvas_group import group
from tqbroker.canvas_maps import chunks, destination
from tqbroker.canvas_options import CALLBACKS, OF_THE_WORKFLOW
from tqbroker.canvas_signature import Signature
from tqbroker.context import running
from tqbroker.graph import Graph, Outcome
from tqbroker.group_result import GroupResult
from tqbroker.growing import grow
from tqbroker.ids import Key, key_of, text_of
from tqbroker.packing import pack
from tqbroker.result_tree import leaves
from tqbroker.trail import record
from tqbroker.workflow_names import name_of
from tqbroker.workflow_sending import asend, send

if TYPE_CHECKING:
    from tqbroker.app import App


def apply_async(
    sig: Signature[Any], args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None, options: Mapping[str, Any]
) -> Any:
    """Submits a signature: the call of one task as a job, all else as a workflow. Returns its result."""
    ready = given(sig, args, kwargs, options)
    app = ready.app
    if _runs_here(ready, app):
        return ready.apply()
    if is_call(ready):
        return _call(ready, app)
    sent = prepare(ready, app)
    if sent.workflow is not None:
        send(app, sent.workflow, sent.timeout)
        _remember(ready, sent.result)
    return sent.result


async def aapply_async(
    sig: Signature[Any], args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None, options: Mapping[str, Any]
) -> Any:
    """`apply_async` for asyncio."""
    ready = given(sig, args, kwargs, options)
    app = ready.app
    if _runs_here(ready, app):
        import asyncio

        return await asyncio.to_thread(ready.apply)
    if is_call(ready):
        return await _acall(ready, app)
    sent = prepare(ready, app)
    if sent.workflow is not None:
        await asend(app, sent.workflow, sent.timeout)
        _remember(ready, sent.result)
    return sent.result


def _runs_here(sig: Signature[Any], app: App) -> bool:
    """Whether it is run in place: all calls are, or the chord is to which it is added."""
    return bool(app.conf.task_always_eager) or isinstance(sig._beside, list)


def freeze(sig: Signature[Any], task_id: str | None) -> Any:
    """Fixes the ids in a signature, and returns the result that it will have."""
    app = sig.app
    key = None if task_id is None else key_of(task_id)
    graph = grow(sig, key=key, freeze=True, errors_in_header=app.conf.task_allow_error_cb_on_chord_header)
    return results(graph, app)


def _remember(sig: Signature[Any], result: Any) -> None:
    """The running job remembers what it has submitted: the job that ends a workflow, or the members of a group."""
    if running() is None or sig.options.get("add_to_parent") is False:
        return
    record(leaves([result]))


class Prepared(NamedTuple):
    """A workflow to be sent, None when there is nothing in it; seconds to try, None for the app's; its result."""

    workflow: Workflow | None
    timeout: float | None
    result: Any


def prepare(sig: Signature[Any], app: App, *, key: Key | None = None) -> Prepared:
    """Grows and packs a signature. Raises what `apply_async` raises before anything is sent."""
    beside = sig._beside
    errors_in_header = app.conf.task_allow_error_cb_on_chord_header
    graph = grow(sig, key=key, beside=beside is not None, errors_in_header=errors_in_header)
    result = results(graph, app)
    if not graph.nodes:
        return Prepared(None, None, result)
    packed = pack(graph, app, name_of(sig))
    workflow = packed.workflow
    if beside is not None:
        workflow = workflow._replace(beside=beside[0], beside_token=beside[1])
    return Prepared(workflow, packed.timeout, result)


def results(graph: Graph, app: App) -> Any:
    """The result of a graph that has been, or will be sent."""

    def job(outcome: Outcome) -> AsyncResult[Any]:
        return AsyncResult._of(outcome.key, app)

    def many(outcome: Outcome, members: list[Any]) -> GroupResult:
        return GroupResult(text_of(outcome.key), members, app=app)

    return graph.results(job, many)


def given(
    sig: Signature[Any], args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None, options: Mapping[str, Any]
) -> Signature[Any]:
    """The signature with what a call adds to it. Raises TypeError for what a group cannot have."""
    chosen = {name: value for name, value in options.items() if value is not None}
    if isinstance(sig, (group, chunks)):
        for name in CALLBACKS & chosen.keys():
            raise TypeError(f"a group takes no {name}=: make it a chord, group | task, or give its members one each")
    return sig.clone(args, kwargs, **chosen) if args or kwargs or chosen else sig


def is_call(sig: Signature[Any]) -> bool:
    """Whether it is the call of one task, with nothing around it."""
    if sig._beside is not None or not CALLBACKS.isdisjoint(name for name, value in sig.options.items() if value):
        return False
    return sig.subtask_type not in ("chain", "group", "chord", "chunks")


def _call(sig: Signature[Any], app: App) -> AsyncResult[Any]:
    options, task = plain_options(sig, app), sig._known_in(app)
    if task is not None:
        return task.apply_async(sig.args, sig.kwargs, **options)
    return app.send_task(sig.task, sig.args, sig.kwargs, **options)


async def _acall(sig: Signature[Any], app: App) -> AsyncResult[Any]:
    options, task = plain_options(sig, app), sig._known_in(app)
    if task is not None:
        return await task.aapply_async(sig.args, sig.kwargs, **options)
    return await app.asend_task(sig.task, sig.args, sig.kwargs, **options)


def plain_options(sig: Signature[Any], app: App) -> Any:
    """The options of the call of one task."""
    own = {name: value for name, value in sig.options.items() if name not in OF_THE_WORKFLOW or name == "task_id"}
    return cast(Any, destination(app, sig, own))
