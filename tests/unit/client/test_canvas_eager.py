"""Workflows run here and now: who is called with what, in which order, and what becomes of errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.client.canvas_tools import Tasks

from tqbroker import App, Signature, Task, chain, chord, group
from tqbroker.exceptions import ChordError, ImproperlyConfigured, TaskRevokedError

T = Tasks()
add, total, note, boom = T.add.s, T.total.s, T.note.s, T.boom.s

VALUES: list[tuple[Callable[[], Signature[Any]], Any]] = [
    (lambda: add(1, 2), 3),
    (lambda: add(1, 2) | add(3) | add(4), 10),
    (lambda: add(1, 2) | T.add.si(5, 5), 10),
    (lambda: group(add(i, i) for i in range(4)), [0, 2, 4, 6]),
    (lambda: group([], app=T.app), []),
    (lambda: chord([add(i, i) for i in range(4)], total()), 12),
    (lambda: chord([], total()), 0),
    (lambda: group([add(1, 1)]) | total(), 2),
    (lambda: chain(group([add(1, 1)]), add(2)), 4),
    (lambda: add(1, 2) | group(add(1), add(2)) | total() | add(5), 14),
    (lambda: group(add(1, 1), add(2, 2)) | group(total(), total()) | total(), 12),
    (lambda: group(add(1, 1) | group(add(1), add(2)), add(4, 4)) | total(), 15),
    (lambda: group(add(1, 1) | group(add(1), add(2)), add(4, 4)), [[3, 4], 8]),
    (lambda: chord([chord([add(1, 1), add(2, 2)], total()), add(3, 3)], total()), 12),
    (lambda: chord([add(1, 1), add(2, 2)], total() | add(5)) | add(6), 17),
    (lambda: add(1, 1) | chord([add(2), add(3)], total()) | add(4), 13),
    (lambda: T.total.map([[1, 2], [3]]), [3, 3]),
    (lambda: T.add.starmap([(1, 2), (3, 4)]), [3, 7]),
    (lambda: T.add.chunks([(1, 1), (2, 2), (3, 3)], 2), [[2, 4], [6]]),
    (lambda: add(1, 1) | T.add.starmap([(1, 2)]) | total(), 3),
]


@pytest.mark.parametrize(("make", "value"), VALUES)
def test_every_form_gives_its_value(make: Callable[[], Signature[Any]], value: Any) -> None:
    assert make().apply().get() == value


@pytest.mark.parametrize(("make", "value"), VALUES)
def test_with_the_setting_every_way_to_call_runs_here(make: Callable[[], Signature[Any]], value: Any) -> None:
    tasks = Tasks(task_always_eager=True)
    sig = tasks.app.signature(make())
    for part in _calls_in(sig):
        part._app, part._type = tasks.app, None

    assert sig.delay().get() == value
    assert sig.apply_async().get() == value
    assert ~sig == value


def _calls_in(sig: Signature[Any]) -> list[Signature[Any]]:
    found, waiting = [], [sig]
    while waiting:
        each = waiting.pop()
        found.append(each)
        waiting += each.kwargs.get("tasks", ())
        for name in ("header", "body", "task"):
            if isinstance(each.kwargs.get(name), Signature):
                waiting.append(each.kwargs[name])
    return found


def test_arguments_of_a_call_go_to_the_first_parts() -> None:
    assert (add(1) | add(2)).apply((4,)).get() == 7
    assert (T.add.si(1, 1) | add(2)).apply((4,)).get() == 4
    assert group(add(1), add(2)).apply((4,)).get() == [5, 6]
    assert chord([add(1), add(2)], total()).apply((4,)).get() == 11
    assert chain(add(), add(2)).apply((4,), {"y": 3}).get() == 9


def test_results_know_what_was_before_them() -> None:
    last = (add(1, 1) | group(add(1), add(2)) | total()).apply()

    assert last.get() == 7
    assert last.parent.get() == [3, 4]
    assert last.parent.parent.get() == 2
    assert last.parent.parent.parent is None


def test_a_chain_stops_at_its_first_error() -> None:
    T.calls.clear()
    last = (boom() | note("never") | note("never")).apply()

    assert last.failed()
    with pytest.raises(KeyError, match="boom"):
        last.get()
    assert last.parent.failed()
    assert T.calls == []


def test_the_body_of_a_chord_fails_with_an_error_that_names_the_member() -> None:
    T.calls.clear()
    body = (group(add(1, 1), boom(), note("goes on")) | total().on_error(T.told.s("told"))).apply()

    with pytest.raises(ChordError, match=r"Dependency \S+ raised KeyError: 'boom'"):
        body.get()
    assert T.calls == [("goes on",), (body.id, "told")]


def test_callbacks_are_called_when_their_case_has_come() -> None:
    T.calls.clear()
    good = add(1, 1).on_error(note("never"))
    good.link(note("good"))
    bad = boom().on_error(T.why.s("new")).on_error(T.note.si("silent"))
    bad.link(note("never"))

    good.apply()
    failed = bad.apply()

    assert T.calls == [(2, "good"), (failed.id, "boom", "KeyError('boom')", True, "new"), ("silent",)]


def test_an_error_callback_of_a_chain_is_called_once() -> None:
    T.calls.clear()
    whole = add(1, 1) | boom() | add(2) | add(3)
    whole.link_error(T.told.s("e"))

    last = whole.apply()

    assert T.calls == [(last.parent.parent.id, "e")]


def test_calls_with_callbacks_run_here_too() -> None:
    tasks = Tasks(task_always_eager=True)

    result = tasks.add.apply_async((1, 1), link=tasks.note.s("a"), link_error=[tasks.note.s("b")])
    tasks.add.apply((2, 2), link=tasks.note.s("c"))

    assert result.get() == 2
    assert tasks.calls == [(2, "a"), (4, "c")]


def test_errors_are_raised_where_that_is_asked_for() -> None:
    tasks = Tasks(task_always_eager=True, task_eager_propagates=True)
    with pytest.raises(KeyError):
        (tasks.add.s(1, 1) | tasks.boom.s()).delay()
    with pytest.raises(KeyError):
        (add(1, 1) | boom()).apply(throw=True)
    assert (add(1, 1) | boom()).apply(throw=False).failed()


def test_a_callback_whose_case_has_not_come_is_revoked() -> None:
    from tqbroker.eager_workflows import _Runs
    from tqbroker.growing import grow

    graph = grow(add(1, 1).on_error(note()))
    runs = _Runs(graph, T.app)
    for node in graph.nodes:
        runs.ended.append(runs.end(node))

    assert isinstance(runs.ended[1].result, TaskRevokedError)


# -- from inside ------------------------------------------------------------------------------------------------------


def make_app() -> tuple[App, dict[str, Task[..., Any]]]:
    tasks = Tasks()
    app = tasks.app
    add, total = tasks.add, tasks.total

    @app.task(bind=True, name="replaced")
    def replaced(self: Task[..., Any], what: str) -> Any:
        sigs: dict[str, Any] = {
            "task": add.s(1, 2),
            "chain": add.s(1, 2) | add.s(3),
            "group": group(add.s(1, 1), add.s(2, 2)),
            "chord": chord([add.s(1, 1), add.s(2, 2)], total.s()),
            "nothing": chain(),
            "nobody": group([]),
            "failing": tasks.boom.s(),
        }
        raise self.replace(sigs[what])

    @app.task(bind=True, name="adding")
    def adding(self: Task[..., Any], lazy: bool) -> int:
        sig = self.add_to_chord(add.s(10, 10), lazy=lazy)
        if lazy:
            sig.apply()
        return 1

    @app.task(bind=True, name="seen")
    def seen(self: Task[..., Any], *_: Any) -> Any:
        request = self.request
        return [request.root_id, request.parent_id, request.group, request.group_index, request.chord]

    return app, {"replaced": replaced, "adding": adding, "seen": seen, "total": total, "add": add}


@pytest.mark.parametrize(
    ("what", "value"), [("task", 3), ("chain", 6), ("group", [2, 4]), ("nobody", []), ("chord", 6)]
)
def test_what_replaces_a_job_gives_its_value(what: str, value: Any) -> None:
    _, tasks = make_app()

    assert tasks["replaced"].apply((what,)).get() == value
    if what == "group":
        assert (tasks["replaced"].s(what) | tasks["total"].s()).apply().get() == 6


def test_a_replacement_that_fails_fails_the_job() -> None:
    _, tasks = make_app()

    with pytest.raises(KeyError, match="boom"):
        tasks["replaced"].apply(("failing",)).get()
    with pytest.raises(ImproperlyConfigured, match="no parts"):
        tasks["replaced"].apply(("nothing",)).get()


def test_replacing_and_adding_are_for_running_jobs() -> None:
    _, tasks = make_app()

    with pytest.raises(RuntimeError, match="no job is being run here"):
        tasks["replaced"]("task")
    with pytest.raises(RuntimeError, match="no job is being run here"):
        tasks["adding"](False)
    with pytest.raises(ValueError, match="not in the header of a chord"):
        tasks["adding"].apply((False,)).get()


@pytest.mark.parametrize("lazy", [False, True])
def test_what_is_added_to_a_chord_comes_last(lazy: bool) -> None:
    _, tasks = make_app()

    assert (group(tasks["adding"].s(lazy), tasks["add"].s(2, 2)) | tasks["total"].s()).apply().get() == 25


def test_a_subclass_sees_what_replaces_its_jobs() -> None:
    tasks = Tasks()
    replaced_by: list[str] = []

    class Watched(Task[..., Any]):
        def on_replace(self, sig: Signature[Any]) -> Any:
            replaced_by.append(repr(sig))
            return super().on_replace(sig)

    @tasks.app.task(bind=True, base=Watched)
    def work(self: Task[..., Any]) -> Any:
        return self.replace(tasks.add.s(1, 1))

    assert work.apply().get() == 2
    assert replaced_by == ["add(1, 1)"]


def test_a_job_knows_its_place() -> None:
    _, tasks = make_app()
    whole = tasks["add"].s(1, 1) | group(tasks["seen"].s(), tasks["seen"].s()) | tasks["seen"].s()

    last = whole.apply()

    first = last.parent.parent
    both = last.parent.get()
    assert both == [[first.id, first.id, last.parent.id, number, last.parent.id] for number in (0, 1)]
    assert last.get()[:1] == [first.id]
    assert last.get()[2:] == [None, None, None]
