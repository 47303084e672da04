"""Tasks that every app has, run in place."""

from __future__ import annotations

from typing import Any

import pytest

from tqbroker import App, Task
from tqbroker.builtin_tasks import builtin, register
from tqbroker.exceptions import NotRegistered

OURS = ["tqbroker.accumulate", "tqbroker.chunks", "tqbroker.map", "tqbroker.starmap"]


@pytest.fixture
def app() -> App:
    app = App("tasks", set_as_current=False)

    @app.task(name="add")
    def add(x: int, y: int = 10) -> int:
        return x + y

    @app.task(name="add_async")
    async def add_async(x: int, y: int = 10) -> int:
        return x + y

    @app.task(name="who", bind=True)
    def who(self: Task[..., Any], x: int) -> list[Any]:
        return [self.name, x, self.request.called_directly]

    return app


def result(app: App, name: str, *args: Any, **kwargs: Any) -> Any:
    return app.tasks[name].apply(args, kwargs).get()


def test_an_app_has_them_as_soon_as_one_is_asked_for(app: App) -> None:
    assert not any(name in app.tasks for name in OURS)
    assert app.tasks["tqbroker.map"] is builtin(app, "tqbroker.map")
    register(app)
    assert sorted(name for name in app.tasks if name.startswith("tqbroker.")) == OURS


def test_a_name_that_is_nearly_one_of_them_is_told(app: App) -> None:
    with pytest.raises(NotRegistered, match=r"did you mean tqbroker\.starmap"):
        app.tasks["tqbroker.starmaps"]


@pytest.mark.parametrize("task", ["add", "add_async", {"task": "add"}])
def test_map_calls_a_task_with_each_value(app: App, task: Any) -> None:
    assert result(app, "tqbroker.map", task=task, it=[1, 2]) == [11, 12]


def test_starmap_calls_it_with_each_list_of_arguments(app: App) -> None:
    assert result(app, "tqbroker.starmap", "add", [(1, 2), [3]]) == [3, 13]


def test_chunks_gives_a_list_for_every_so_many(app: App) -> None:
    assert result(app, "tqbroker.chunks", "add", [(1, 1), (2, 2), (3, 3)], 2) == [[2, 4], [6]]
    with pytest.raises(ValueError, match="n=0 is not allowed"):
        result(app, "tqbroker.chunks", "add", [(1, 1)], 0)


def test_the_arguments_of_a_signature_come_last(app: App) -> None:
    assert result(app, "tqbroker.map", {"task": "add", "args": [1], "kwargs": {}}, [5]) == [6]
    assert result(app, "tqbroker.map", {"task": "add", "args": [], "kwargs": {"y": 2}}, [5]) == [7]


def test_a_bound_task_is_called_as_a_function(app: App) -> None:
    assert result(app, "tqbroker.map", "who", [5]) == [["who", 5, True]]


def test_accumulate_gives_its_arguments_or_one_of_them(app: App) -> None:
    assert result(app, "tqbroker.accumulate", 1, 2) == [1, 2]
    assert result(app, "tqbroker.accumulate", [1, 2], 3, index=0) == [1, 2]
