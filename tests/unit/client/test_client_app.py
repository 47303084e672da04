"""App and Task: names, registration, local calls."""

from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tqbroker
from tqbroker import App, AsyncResult, Celery, Task
from tqbroker.exceptions import AlreadyRegistered, EncodeError, NotRegistered


def make_add(app: App, **options: Any) -> Task[..., int]:
    def add(x: int, y: int = 0) -> int:
        """Adds."""
        return x + y

    task: Task[..., int] = app.task(**options)(add)
    return task


def test_the_public_names_are_those_listed() -> None:
    assert {name: getattr(tqbroker, name) for name in tqbroker.__all__}.keys() <= set(dir(tqbroker))
    assert Celery is App
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = tqbroker.nonsense


def test_a_task_is_named_by_module_and_function_unless_it_says() -> None:
    assert make_add(App("main")).name == f"{__name__}.add"
    assert make_add(App(), name="sum").name == "sum"


@pytest.mark.parametrize(("main", "name"), [("'shop'", "shop.add"), ("None", "script.add")])
def test_in_a_script_the_apps_name_or_the_files_is_the_module(main: str, name: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"import tqbroker\n@tqbroker.App({main}).task\ndef add(): pass\nprint(add.name)")

    out = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, timeout=30)

    assert out.stdout.strip() == name


def test_a_task_looks_like_its_function_and_is_called_like_it() -> None:
    add = make_add(App())

    assert (add.__name__, add.__doc__, add.__module__) == ("add", "Adds.", __name__)
    assert add(4, 4) == 8


def test_a_bound_task_gets_itself_here_and_in_a_worker() -> None:
    app = App()

    @app.task(bind=True)
    def echo(self: Task[..., Any], x: int) -> tuple[Any, ...]:
        return self, x, self.request.called_directly, self.request.args

    assert echo(5) == (echo, 5, True, (5,))
    assert echo.run(5)[:2] == (echo, 5)
    with pytest.raises(TypeError, match="missing a required argument: 'x'"):
        echo.check((), {})


async def test_a_coroutine_task_is_awaited_here() -> None:
    app = App()

    @app.task
    async def fetch(url: str) -> str:
        await asyncio.sleep(0)
        return url

    assert fetch.is_async
    assert await fetch("url") == "url"


def test_the_registry_finds_tasks_and_names_the_nearest() -> None:
    app = App()
    add = make_add(app, name="tasks.add")

    assert app.tasks["tasks.add"] is add
    assert list(app.tasks) == ["tasks.add"]
    with pytest.raises(NotRegistered, match=r"no task 'tasks\.ad' in this app: did you mean tasks\.add") as caught:
        app.tasks["tasks.ad"]
    assert isinstance(caught.value, KeyError)
    with pytest.raises(NotRegistered, match="is the module that defines it imported"):
        app.tasks["zzz"]


def test_a_function_defined_again_replaces_its_former_self_but_another_may_not_take_its_name() -> None:
    app = App()
    make_add(app)
    again = make_add(app)

    assert app.tasks[again.name] is again
    with pytest.raises(AlreadyRegistered, match="give one of them another name="):
        app.task(name=again.name)(test_the_public_names_are_those_listed)


def test_arguments_are_checked_before_anything_is_sent() -> None:
    add = make_add(App(broker="tq://192.0.2.1"))  # an address that never answers

    with pytest.raises(TypeError, match="missing a required argument: 'x'"):
        add.delay()
    with pytest.raises(TypeError, match="too many positional arguments"):
        add.delay_many([(1, 2), (1, 2, 3)])
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        add.apply_async((1,), {"z": 2})
    with pytest.raises(EncodeError, match=r"argument 2 is a builtins\.object"):
        add.delay(1, object())
    with pytest.raises(ValueError, match="1 to 128 printable characters"):
        add.apply_async((1, 2), task_id="")
    with pytest.raises(EncodeError, match="a job takes up to 1048576"):
        add.delay("x" * (1 << 20))
    with pytest.raises(ValueError, match="allowed are 65536"):
        add.apply_async((1,), headers={"h": "x" * 65536})


@pytest.mark.parametrize("args", [5, 0, "ab", "", {"x": 1}])
async def test_arguments_come_as_a_list_or_tuple(args: Any) -> None:
    app = App(broker="tq://192.0.2.1")  # an address that never answers
    add = make_add(app)
    sentence = "args must be a list or tuple, not "
    with pytest.raises(TypeError, match=f"apply_async of {add.name}: {sentence}"):
        add.apply_async(args)
    with pytest.raises(TypeError, match=sentence):
        await add.aapply_async(args)
    with pytest.raises(TypeError, match=f"delay_many of {add.name}: {sentence}"):
        add.delay_many([(1, 2), args])
    with pytest.raises(TypeError, match=f"send_task of t: {sentence}"):
        app.send_task("t", args)
    with pytest.raises(TypeError, match=sentence):
        await app.asend_task("t", args)


def test_the_check_can_be_switched_off_for_a_task_or_the_app() -> None:
    make_add(App(), typing=False).check((), {})
    make_add(App(strict_typing=False)).check((), {})


def test_what_is_not_a_function_cannot_be_a_task() -> None:
    wrong: Any = "mail"
    with pytest.raises(TypeError, match="takes a function, not 'mail'; write options by name"):
        App().task(wrong)


def test_results_are_equal_by_id() -> None:
    one, same, other = (App().AsyncResult(id) for id in ("a", "a", "b"))  # noqa: A001

    assert one == same
    assert len({one, same, other}) == 2
    assert one != "a"
    assert (str(one), repr(one), one.task_id) == ("a", "<AsyncResult: a>", "a")
    with pytest.raises(ValueError, match="printable"):
        AsyncResult("\n", App())


def test_a_result_is_made_by_its_app_or_its_task() -> None:
    with pytest.raises(TypeError, match=r"write app\.AsyncResult\(id\)"):
        AsyncResult("a")
    app = App()
    assert make_add(app).AsyncResult("a") == app.AsyncResult("a")


def test_tasks_and_results_are_not_pickled_and_say_what_to_send() -> None:
    add = make_add(App(), name="tasks.add")
    with pytest.raises(TypeError, match=r"Task cannot be pickled.* send its name, 'tasks.add'"):
        pickle.dumps(add)
    with pytest.raises(TypeError, match=r"AsyncResult cannot be pickled.* send its id, 'a'"):
        pickle.dumps(add.AsyncResult("a"))
    assert copy.deepcopy(add) is copy.copy(add) is add
