"""The fields of a signature, under Celery's names: a dict of plain values, and properties for what stands in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from tqbroker.parameters import positional

NAMES = ("task", "args", "kwargs", "options", "subtask_type", "immutable")


class Fields(dict[str, Any]):
    """What a signature says, as attributes too."""

    @property
    def task(self) -> str:
        """The name of the task."""
        return cast(str, self["task"])

    @property
    def name(self) -> str:
        """The same, as of a task."""
        return self.task

    @property
    def args(self) -> tuple[Any, ...]:
        """Positional arguments, without those that it will be handed."""
        return cast("tuple[Any, ...]", self["args"])

    @args.setter
    def args(self, args: Sequence[Any]) -> None:
        self["args"] = tuple(args)

    @property
    def kwargs(self) -> dict[str, Any]:
        """Keyword arguments."""
        return cast("dict[str, Any]", self["kwargs"])

    @kwargs.setter
    def kwargs(self, kwargs: Mapping[str, Any]) -> None:
        self["kwargs"] = dict(kwargs)

    @property
    def options(self) -> dict[str, Any]:
        """Options of `apply_async`."""
        return cast("dict[str, Any]", self["options"])

    @options.setter
    def options(self, options: Mapping[str, Any]) -> None:
        self["options"] = dict(options)

    @property
    def subtask_type(self) -> str | None:
        """What kind of workflow it is; None for the call of a task."""
        return cast("str | None", self["subtask_type"])

    @property
    def immutable(self) -> bool:
        """Whether it is left alone: neither given more arguments nor handed a result."""
        return bool(self["immutable"])

    @immutable.setter
    def immutable(self, immutable: bool) -> None:
        self["immutable"] = bool(immutable)

    @property
    def id(self) -> str | None:
        """The id that its job will have, if that is fixed: by `freeze` or the option `task_id`."""
        return self.options.get("task_id")

    @property
    def parent_id(self) -> str | None:
        """The option `parent_id`."""
        return self.options.get("parent_id")

    @property
    def root_id(self) -> str | None:
        """The option `root_id`."""
        return self.options.get("root_id")


def name_of(task: Any) -> str:
    """The name of a task given as such or by name. Raises TypeError for what is neither."""
    if isinstance(task, str):
        return task
    name = getattr(task, "name", None)
    if not isinstance(name, str) or not hasattr(task, "apply_async"):
        raise TypeError(f"a signature needs a task or the name of one, not {task!r:.200}: decorate it with @app.task")
    return name


def fields_of(given: Mapping[str, Any]) -> tuple[Any, ...]:
    """What stands in a mapping, as a signature has it."""
    if "task" not in given:
        raise TypeError(f"{given!r:.200} is no signature: it needs the keys {', '.join(NAMES)}")
    task = given["task"]
    return (
        task,
        positional(given.get("args"), f"the signature of {task}"),
        given.get("kwargs") or {},
        _read_options(given.get("options") or {}),
        given.get("subtask_type"),
        bool(given.get("immutable")),
    )


def _read_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with their callbacks as signatures."""
    from tqbroker.canvas_options import CALLBACKS, listed

    read = dict(options)
    for name in CALLBACKS & read.keys():
        read[name] = listed(name, read[name])
    return read
