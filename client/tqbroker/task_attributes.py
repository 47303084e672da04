"""What a task has as attributes: its options, from the code and from annotations, and methods that are replaced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MethodType
from typing import TYPE_CHECKING, Any, cast

from tqbroker.option_rules import TASK_NAME
from tqbroker.task_body import HOOKS
from tqbroker.task_options import annotated_options, given_options

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.task import Task


class TaskAttributes:
    """The side of Task that takes its options in, and lets others change its methods."""

    __name__: str

    app: App
    name: str
    own_hooks: frozenset[str]

    def _take_options(self, given: Mapping[str, Any]) -> None:
        """The options of the decorator over those that the classes have as attributes; all become attributes."""
        chosen = given_options(type(self), given)
        name = chosen.pop("name", None)
        self.name = self.app.gen_task_name(self.__name__, self.__module__) if name is None else name
        TASK_NAME.check("name", self.name)
        self.own_hooks = frozenset(name for name in HOOKS if name in chosen)
        for name in chosen.keys() & {*HOOKS, "on_replace"}:
            if name in given:
                setattr(self, name, MethodType(chosen[name], self))
            del chosen[name]
        self._typing = chosen.pop("typing", True)
        chosen.pop("base", None)
        self._in_code = chosen
        self.annotate()

    def annotate(self) -> None:
        """Takes the options anew: those of the code, and over them those of `task_annotations`."""
        self.options: dict[str, Any] = annotated_options(cast("Task[..., Any]", self), self._in_code)
        for name in self.__dict__.get("_annotated", frozenset()) - self.options.keys():
            self.__dict__.pop(name, None)
        self._annotated = self.options.keys() - self._in_code.keys()
        for name, value in self.options.items():
            if name != "shadow_name":
                setattr(self, name, value)

    def add_around(self, attr: str, around: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Replaces a method of this task, for example "run" or "on_failure", by what `around` makes of it.

        `around` gets the function as it is, and returns one with the same parameters. Celery's name. Raises
        AttributeError for a method that is not there.
        """
        own = getattr(self, attr)
        former = getattr(own, "__func__", own)
        changed = around(former)
        self.__dict__[attr] = MethodType(changed, self) if hasattr(own, "__func__") else changed
        if attr in HOOKS:
            self.own_hooks = self.own_hooks | {attr}
