"""Tasks with pydantic=True: annotated arguments become models, a returned model becomes what can be sent.

pydantic is loaded for such tasks only, and need not be installed for others.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from types import UnionType
from typing import TYPE_CHECKING, Any

from tqbroker.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from pydantic import BaseModel

    from tqbroker.task import Task


def validated(task: Task[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of a task with its arguments validated and its result dumped, as the task's options say.

    Raises ImproperlyConfigured when pydantic is not installed.
    """
    models = _Models(task, function)
    if inspect.iscoroutinefunction(function):

        async def run_async(*args: Any, **kwargs: Any) -> Any:
            given = models.arguments(args, kwargs)
            return models.dumped(await function(*given.args, **given.kwargs))

        return functools.wraps(function)(run_async)

    def run(*args: Any, **kwargs: Any) -> Any:
        given = models.arguments(args, kwargs)
        return models.dumped(function(*given.args, **given.kwargs))

    return functools.wraps(function)(run)


class _Models:
    """The models among a function's annotations, read at the first run: by then every name in them is defined."""

    def __init__(self, task: Task[..., Any], function: Callable[..., Any]) -> None:
        try:
            from pydantic import BaseModel
        except ImportError:
            raise ImproperlyConfigured(f"{task.name} has pydantic=True: write pip install pydantic") from None
        options = task.options
        self._base = BaseModel
        self._function = function
        self._strict: bool = options.get("pydantic_strict", True)
        context: Mapping[str, Any] = options.get("pydantic_context") or {}
        self._context = {**context, "celery_app": task.app, "celery_task_name": task.name}
        self._dump: Mapping[str, Any] = {"mode": "json", **(options.get("pydantic_dump_kwargs") or {})}

    @functools.cached_property
    def _signature(self) -> inspect.Signature:
        return inspect.signature(self._function)

    @functools.cached_property
    def _by_name(self) -> dict[str, type[BaseModel]]:
        """The model of each parameter that has one, and of what is returned."""
        hints = typing.get_type_hints(self._function)
        found = {name: _without_none(hint) for name, hint in hints.items()}
        return {name: hint for name, hint in found.items() if isinstance(hint, type) and issubclass(hint, self._base)}

    def arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> inspect.BoundArguments:
        """The arguments of a call with models in place. Raises pydantic's ValidationError."""
        given = self._signature.bind(*args, **kwargs)
        for name, model in self._by_name.items():
            value = given.arguments.get(name)
            if name != "return" and value is not None:
                given.arguments[name] = model.model_validate(value, strict=self._strict, context=self._context)
        return given

    def dumped(self, value: Any) -> Any:
        """A model that the annotation of the result names, as plain data; anything else as it is."""
        model = self._by_name.get("return")
        return value.model_dump(**self._dump) if model is not None and isinstance(value, model) else value


def _without_none(hint: Any) -> Any:
    """What `X | None` is besides None; other hints as they are."""
    if typing.get_origin(hint) not in (typing.Union, UnionType):
        return hint
    others = [each for each in typing.get_args(hint) if each is not type(None)]
    return others[0] if len(others) == 1 else hint
