"""Tasks with pydantic=True: models in, models out, and where nothing of it is touched."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError, ValidationInfo, field_validator

from tqbroker import App


class Order(BaseModel):
    number: int
    due: date | None = None

    @field_validator("number")
    @classmethod
    def below_the_bound(cls, number: int, info: ValidationInfo) -> int:
        """The context of the task's option bounds the numbers."""
        most = (info.context or {}).get("most", 1000)
        if number > most:
            raise ValueError(f"more than {most}")
        return number


class Receipt(BaseModel):
    number: int
    note: str | None = None


def app() -> App:
    return App(broker="tq://localhost:1")


def result(task: Any, args: tuple[Any, ...], **kwargs: Any) -> Any:
    """What a job of the task ends with: plain data, whatever the annotation says."""
    return task.apply(args, kwargs).get()


def test_annotated_arguments_become_models_and_a_returned_model_plain_data() -> None:
    @app().task(pydantic=True)
    def book(order: Order, times: int = 1, other: Order | None = None) -> Receipt:
        assert isinstance(order, Order)
        assert other is None or isinstance(other, Order)
        return Receipt(number=order.number * times)

    given: Any = {"number": 3, "due": date(2030, 1, 1)}
    assert result(book, (given, 2), other={"number": 1}) == {"number": 6, "note": None}
    assert result(book, (given,), other=None) == {"number": 3, "note": None}


def test_a_value_that_does_not_fit_fails_the_job() -> None:
    @app().task(pydantic=True)
    def book(order: Order) -> None: ...

    wrong: Any = {"number": "3"}
    with pytest.raises(ValidationError):
        book.apply((wrong,)).get()


def test_strictness_context_and_the_dump_are_options() -> None:
    @app().task(
        pydantic=True,
        pydantic_strict=False,
        pydantic_context={"most": 5},
        pydantic_dump_kwargs={"exclude_none": True},
    )
    def book(order: Order) -> Receipt:
        return Receipt(number=order.number)

    loose: Any = {"number": "3"}
    assert result(book, (loose,)) == {"number": 3}
    with pytest.raises(ValidationError, match="more than 5"):
        book.apply(({"number": 6},)).get()


def test_a_bound_coroutine_and_a_class_have_models_too() -> None:
    here = app()

    @here.task(bind=True, pydantic=True)
    async def book(self: Any, order: Order) -> Receipt:
        return Receipt(number=order.number, note=self.name)

    class Booking(here.Task):  # type: ignore[name-defined,misc]
        pydantic = True

        def run(self, order: Order) -> Receipt:
            return Receipt(number=order.number)

    assert result(book, ({"number": 1},)) == {"number": 1, "note": book.name}
    assert result(here.register_task(Booking), ({"number": 1},)) == {"number": 1, "note": None}


def test_without_the_option_pydantic_is_not_even_loaded() -> None:
    code = (
        "import sys; from tqbroker import App; App().task(pydantic=False)(print); assert 'pydantic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_method_can_be_wrapped() -> None:
    calls: list[Any] = []

    @app().task(bind=True)
    def add(self: Any, x: int, y: int) -> int:
        return x + y

    @app().task
    def fail(x: int) -> None:
        raise ValueError(x)

    def told(function: Any) -> Any:
        def tell(*args: Any) -> Any:
            calls.append(args)
            return function(*args)

        return tell

    add.add_around("run", told)
    assert add.apply((1, 2)).get() == 3
    fail.add_around("run", told)
    fail.add_around("on_failure", told)
    assert fail.apply((7,)).failed()
    assert calls[:2] == [(add, 1, 2), (7,)]
    assert calls[2][0] is fail
    assert str(calls[2][1]) == "7"
    with pytest.raises(AttributeError):
        fail.add_around("nothing", lambda found: found)
