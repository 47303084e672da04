"""Running a workflow here and now, as workers would run it: `sig.apply()`, and every call with task_always_eager.

Calls run one after the other in the order of the workflow. What one returns is handed on as it is, without being
encoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tqbroker import states
from tqbroker.call import Join
from tqbroker.canvas_signature import Signature
from tqbroker.eager import EagerResult, run
from tqbroker.errbacks import wants_to_know
from tqbroker.exceptions import ChordError, TaskRevokedError
from tqbroker.graph import Graph, Node, Outcome
from tqbroker.group_result import GroupResult
from tqbroker.growing import grow
from tqbroker.ids import text_of
from tqbroker.request import Request
from tqbroker.request_values import Details
from tqbroker.workflows import given, is_call, plain_options

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.task import Task

_OF_APPLY = ("retries", "throw")


def apply(
    sig: Signature[Any], args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None, options: Mapping[str, Any]
) -> Any:
    """Runs a signature, and returns its result. With `throw`, else task_eager_propagates, raises what it raised."""
    of_apply: dict[str, Any] = {name: options[name] for name in _OF_APPLY if name in options}
    ready = given(sig, args, kwargs, {name: value for name, value in options.items() if name not in _OF_APPLY})
    app = ready.app
    if ready._beside is None and is_call(ready):
        plain: Any = plain_options(ready, app)
        return _task(ready, app).apply(ready.args, ready.kwargs, **of_apply, **plain)
    result = run_graph(grow(ready, errors_in_header=app.conf.task_allow_error_cb_on_chord_header), app)
    if ready._beside is not None:
        ready._beside.append(result)
    throw = of_apply.get("throw")
    if throw or (throw is None and app.conf.task_eager_propagates):
        result.get()
    return result


def run_graph(graph: Graph, app: App) -> Any:
    runs = _Runs(graph, app)
    for node in graph.nodes:
        runs.ended.append(runs.end(node))

    def job(outcome: Outcome) -> EagerResult[Any]:
        return runs.ended[outcome.node]

    def many(outcome: Outcome, members: list[Any]) -> GroupResult:
        return GroupResult(text_of(outcome.key), members, app=app)

    return graph.results(job, many)


def _task(sig: Signature[Any], app: App) -> Task[..., Any]:
    return sig._known_in(app) or sig.type


class _Runs:
    """The calls of a workflow that have ended so far, in their order."""

    def __init__(self, graph: Graph, app: App) -> None:
        self.ended: list[EagerResult[Any]] = []
        self._graph = graph
        self._app = app
        self._members: dict[int, list[int]] = {}
        self._added: dict[int, list[EagerResult[Any]]] = {}
        self._places: list[tuple[int, int]] = []
        for number, node in enumerate(graph.nodes):
            for join in node.member_of:
                self._members.setdefault(join, []).append(number)
            group = next((join for join in node.member_of if graph.joins[join - 1].id), 0)
            self._places.append((group, len(self._members.get(group, ())) - 1))
        self._followed = {node.after for node in graph.nodes}

    def end(self, node: Node) -> EagerResult[Any]:
        """How a call ends: run when what it waits for has come, else without."""
        if not node.after:
            return self._start(node, (), "")
        join = self._graph.joins[node.after - 1]
        waited = [self.ended[number] for number in self._members[node.after]] + self._added.get(node.after, [])
        bad = next((member for member in waited if member.state != states.SUCCESS), None)
        if join.on == "failure":
            return self._told(node, bad)
        if bad is not None:
            return _broken(node, join, bad)
        values = [member.result for member in waited]
        return self._start(node, (values,) if join.shape == "list" else tuple(values), waited[-1].id)

    def _told(self, node: Node, bad: EagerResult[Any] | None) -> EagerResult[Any]:
        """An error callback."""
        if bad is None or bad.state == states.REVOKED:
            error = TaskRevokedError(f"job {text_of(node.key)} was cancelled: nothing it waited for has failed")
            return EagerResult(text_of(node.key), error, states.REVOKED, None, node.sig.task)
        if not wants_to_know(_task(node.sig, self._app), len(node.args), node.kwargs):
            return self._start(node, (bad.id,), bad.id)
        failed = self._graph.nodes[self.ended.index(bad)]
        request = Request(bad.id, bad.name, failed.args, failed.kwargs, hostname="eager")
        return self._start(node, (request, bad.result, bad.traceback or ""), bad.id)

    def _start(self, node: Node, handed: tuple[Any, ...], parent: str) -> EagerResult[Any]:
        added: list[EagerResult[Any]] = []
        result = run(
            _task(node.sig, self._app),
            node.args if node.silent else (*handed, *node.args),
            node.kwargs,
            task_id=text_of(node.key),
            headers=node.options.get("headers"),
            ignore_result=bool(node.options.get("ignore_result")),
            details=self._details(parent),
            beside=added,
        )
        for join in node.member_of:
            if self._graph.joins[join - 1].id:
                self._added.setdefault(join, []).extend(added)
        return result

    def _details(self, parent: str) -> Details:
        root = text_of(self._graph.nodes[0].key)
        group, index = self._places[len(self.ended)]
        if not group:
            return Details(root=root, parent=parent)
        key = text_of(self._graph.joins[group - 1].id)
        return Details(root=root, parent=parent, group=key, group_index=index, in_chord=group in self._followed)


def _broken(node: Node, join: Join, bad: EagerResult[Any]) -> EagerResult[Any]:
    """A call that cannot run any more, because one that it waited for did not succeed."""
    id, error, state = text_of(node.key), bad.result, bad.state  # noqa: A001 - what it is
    if state == states.REVOKED:
        error = TaskRevokedError(f"job {bad.id}, which this one waited for, was cancelled")
    elif join.shape == "list":
        error = ChordError(f"Dependency {bad.id} raised {type(error).__name__}: {error}")
    return EagerResult(id, error, state, bad.traceback, node.sig.task)
