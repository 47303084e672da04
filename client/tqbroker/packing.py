"""From a graph to what is sent: arguments compared with their tasks and encoded, options made into heads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tqbroker import codec
from tqbroker.call import Batch, Head, Nodes, Own, Workflow
from tqbroker.canvas_maps import destination
from tqbroker.context import running
from tqbroker.errbacks import TOLD
from tqbroker.exceptions import EncodeError
from tqbroker.graph import TAKES_OVER, Graph, Node
from tqbroker.ids import new_key
from tqbroker.options import check_call_options
from tqbroker.plans import prepare_by_name
from tqbroker.sending import MAX_ARGS
from tqbroker.trail import inherited, job_here
from tqbroker.unique import unique_key, workflow_id

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.task import Task

MAX_JOBS = 1_000_000
"""Jobs one workflow may have here: they are all held in memory. A broker takes 250,000 by default."""


class Packed(NamedTuple):
    """A workflow ready to be sent; `timeout` in seconds if a call in it asks for another than the app's."""

    workflow: Workflow
    timeout: float | None


def pack(graph: Graph, app: App, name: str) -> Packed:
    """Raises TypeError when arguments do not fit, EncodeError when they cannot be sent, ValueError for options."""
    if len(graph.nodes) > MAX_JOBS:
        raise ValueError(f"a workflow of {len(graph.nodes)} jobs is not allowed: make it at most {MAX_JOBS}")
    packer = _Packer(app)
    for node in graph.nodes:
        try:
            packer.add(node, told=bool(node.after) and graph.joins[node.after - 1].on == "failure")
        except (TypeError, ValueError) as error:
            raise _of_the_call(node, error) from None
    id = workflow_id(node.key for node in graph.nodes) if graph.fixed else new_key()  # noqa: A001 - what it is
    return Packed(Workflow(id, name, graph.joins, packer.nodes), packer.timeout)


class _Packer:
    """Calls next to each other that share head and place become one batch."""

    def __init__(self, app: App) -> None:
        self.nodes: list[Nodes] = []
        self.timeout: float | None = None
        self._app = app
        self._plans: dict[Any, tuple[Head, Own]] = {}
        self._last: Any = None
        self._inside = running() is not None

    def add(self, node: Node, *, told: bool) -> None:
        task = node.sig._known_in(self._app)
        if task is not None:
            _check(task, node, told=told)
        head, own = self._plan(task, node)
        if own.timeout is not None:
            self.timeout = max(own.timeout, self.timeout or 0)
        if self._inside:
            head = self._inherited(head, node)
        data = codec.encode_call(node.args, node.kwargs, head.format)
        if len(data) > MAX_ARGS:
            raise EncodeError(
                f"the arguments of {head.task} take {len(data)} bytes, a job takes up to {MAX_ARGS}: "
                "store them elsewhere and send where they are"
            )
        batch = self._batch(node, head)
        batch.keys.append(node.key)
        batch.args.append(data)
        if batch.unique_keys is not None:
            batch.unique_keys.append(unique_key(head.task, own.unique_key, node.args, node.kwargs))

    def _inherited(self, head: Head, node: Node) -> Head:
        """The head of a call made by a running job: one that takes over is no child of itself."""
        head = inherited(head)
        here = job_here()
        if node.key != TAKES_OVER or here is None:
            return head
        return head._replace(parent=here[1].parent_id or "")

    def _batch(self, node: Node, head: Head) -> Batch:
        place = node.after, node.silent, node.member_of, node.beside, type(node.key), node.key == TAKES_OVER
        last = self.nodes[-1].batch if self.nodes else None
        if last is None or place != self._last or not (last.head is head or last.head == head):
            self._last = place
            last = Batch(head, [], [], None if head.traits.unique is None else [])
            takes_over = node.key == TAKES_OVER
            self.nodes.append(Nodes(last, node.after, node.silent, node.member_of, takes_over, node.beside))
        return last

    def _plan(self, task: Task[..., Any] | None, node: Node) -> tuple[Head, Own]:
        """Head and own part of a call. Calls of one task with the same options have the same, unless a router looks."""
        if task is not None and not node.options:
            return self._made(task, node)
        if self._app.conf.directory.routes.by_call or getattr(task, "shadow_name", None) is not None:
            return self._made(task, node)
        try:
            key = node.sig.task, bool(node.after), frozenset(node.options.items())
            hash(key)
        except TypeError:
            return self._made(task, node)
        if key not in self._plans:
            self._plans[key] = self._made(task, node)
        return self._plans[key]

    def _made(self, task: Task[..., Any] | None, node: Node) -> tuple[Head, Own]:
        options = destination(self._app, node.sig, node.options)
        if task is None:
            check_call_options(options, f"apply_async of {node.sig.task}")
            head, own = prepare_by_name(self._app, node.sig.task, node.args, node.kwargs, options)
        else:
            head, own = task._call(node.args, node.kwargs, options)
        _check_head(node, head, own)
        return head, own


def _of_the_call(node: Node, error: TypeError | ValueError) -> TypeError | ValueError:
    """The same error, which names the call of the workflow that it is about."""
    name, said = node.sig.task, str(error)
    if said.startswith(f"{name}("):
        handed = (
            " is handed a result as its first argument, .si(...) takes none" if node.after and not node.silent else ""
        )
        return type(error)(f"{node.sig!r:.200}{handed}: {said}")
    return error if name in said else type(error)(f"{name}: {said}")


def _check(task: Task[..., Any], node: Node, *, told: bool) -> None:
    """Raises TypeError when the arguments, with those that it will be handed, do not fit the task."""
    if not node.after or node.silent:
        task.check(node.args, node.kwargs)
    elif not told:
        task.check((None, *node.args), node.kwargs)
    else:
        try:
            task.check((None, *node.args), node.kwargs)
        except TypeError:
            task.check((None,) * TOLD + node.args, node.kwargs)


def _check_head(node: Node, head: Head, own: Own) -> None:
    """Raises ValueError for what a call of a workflow cannot have."""
    if own.idempotency_key is not None:
        raise ValueError(f"{head.task}: idempotency_key is for single calls, in a workflow give task_id")
    unique = head.traits.unique
    if unique is not None and unique.conflict != "reject":
        raise ValueError(
            f"{head.task}: unique_on_conflict={unique.conflict!r} is for single calls, a workflow is stored as a whole "
            "or refused: leave it out, or write 'reject'"
        )
    if unique is not None and node.key == TAKES_OVER:
        raise ValueError(f"{head.task}: what replaces a job has its unique key: give this call no unique_until")
