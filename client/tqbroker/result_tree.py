"""Walks over results: to parents, to children, to the members of groups, and to tuples and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tqbroker.async_result import AsyncResult
from tqbroker.dependency_graph import DependencyGraph
from tqbroker.exceptions import IncompleteStream
from tqbroker.states import FINAL

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.group_result import GroupResult

Result = AsyncResult[Any]


def parents_of(result: Any) -> list[Any]:
    """The results before this one, the nearest first."""
    parents = []
    while (result := getattr(result, "parent", None)) is not None:
        parents.append(result)
    return parents


def units(results: Iterable[Any]) -> Iterator[Any]:
    """Results with the members of groups instead of the groups, in their order."""
    rest = [iter(results)]
    while rest:
        for each in rest[-1]:
            members = getattr(each, "results", None)
            if members is None:
                yield each
            else:
                rest.append(iter(members))
                break
        else:
            rest.pop()


def leaves(results: Iterable[Any]) -> list[Result]:
    """The jobs among results, those in groups included, in their order. What was run in place is no job."""
    return [each for each in units(results) if isinstance(each, AsyncResult)]


def children_of(app: App, results: Sequence[Result]) -> list[list[Result]]:
    """For each of these jobs its children, asked for at once."""
    infos = app.transport.get([each._key for each in results], app.conf.request_timeout, with_children=True)
    return [[AsyncResult._of(key, app) for key in info.children] for info in infos]


def iterdeps(root: Result, intermediate: bool) -> Iterator[tuple[Result | None, Result]]:
    """See AsyncResult.iterdeps. Each level is asked for at once."""
    level: list[tuple[Result | None, Result]] = [(None, root)]
    seen = {root}
    while level:
        yield from level
        level = [(above, below) for above, below in _below(root.app, [each for _, each in level], intermediate)]
        level = [pair for pair in level if pair[1] not in seen]
        seen.update(below for _, below in level)


def _below(app: App, results: Sequence[Result], intermediate: bool) -> Iterator[tuple[Result, Result]]:
    infos = app.transport.get([each._key for each in results], app.conf.request_timeout, with_children=True)
    for result, info in zip(results, infos, strict=True):
        if info.phase not in FINAL:
            if not intermediate:
                raise IncompleteStream(f"job {result.id} has not ended: what is below it is not known yet")
            continue
        for key in info.children:
            yield result, AsyncResult._of(key, app)


def build_graph(root: Result, intermediate: bool) -> DependencyGraph[Result]:
    """See AsyncResult.build_graph."""
    graph: DependencyGraph[Result] = DependencyGraph()
    for above, below in iterdeps(root, intermediate):
        graph.add_arc(below)
        if above is not None:
            graph.add_edge(above, below)
    return graph


def as_tuple(result: Any) -> tuple[Any, ...]:
    """((id, parent), members): the parent as such a tuple or None, the members as a list of such or None."""
    above: tuple[Any, ...] | None = None
    for each in [*reversed(parents_of(result)), result]:
        members = getattr(each, "results", None)
        above = ((each.id, above), None if members is None else [as_tuple(member) for member in members])
    assert above is not None
    return above


def result_from_tuple(r: Any, app: App | None = None) -> AsyncResult[Any] | GroupResult:
    """The result that `as_tuple` has written, also after a way through JSON. A result is given back as it is.

    `app` knows the broker; without one the current app is meant. Raises ValueError for what is no such tuple.
    """
    from tqbroker.current import the_app
    from tqbroker.group_result import GroupResult

    if isinstance(r, (AsyncResult, GroupResult)):
        return r
    app = app or the_app()
    result: AsyncResult[Any] | GroupResult | None = None
    for name, members in reversed(_line(r)):
        if members is None:
            result = AsyncResult(name, app, parent=result)
        else:
            result = GroupResult(name, [result_from_tuple(each, app) for each in members], parent=result, app=app)
    assert result is not None
    return result


def _line(r: Any) -> list[tuple[str, Any]]:
    """(id, members) of the result and its parents."""
    line = []
    while r is not None:
        try:
            head, members = r
            name, r = (head, None) if isinstance(head, str) else head
        except (TypeError, ValueError):
            raise ValueError(f"{r!r:.200} is no result as a tuple: it is ((id, parent), members or None)") from None
        line.append((name, members))
    return line
