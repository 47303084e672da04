"""The options of one task: what its class says, its decorator, and `task_annotations`, the nearer over the farther."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tqbroker import option_rules as rules
from tqbroker.option_pairs import check_together
from tqbroker.options import TASK_OPTIONS, check_task_options

if TYPE_CHECKING:
    from tqbroker.task import Task

_BY_CLASS = TASK_OPTIONS - {"base", "shadow_name"}
"""Options that a class can have as attributes. `shadow_name` is a method there."""

BY_SETTING = {"acks_late": "task_acks_late", "rate_limit": "task_default_rate_limit"}
"""Options whose default is a setting that is read with the task. Other such settings are read with each call."""

_BASES = frozenset({"builtins", "typing", "abc", "tqbroker.handle", "tqbroker.task_body", "tqbroker.task"})
"""Modules of classes whose attributes are defaults, not options."""


def given_options(cls: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the task's class under those of its decorator. Raises TypeError or ValueError for a wrong one."""
    check_task_options(options)
    given = {**_of_class(cls), **options}
    rules.check_values(given, rules.TASK)
    check_together(given)
    return given


def _of_class(cls: type[Any]) -> dict[str, Any]:
    """Attributes of the class and its bases that are named like options."""
    found: dict[str, Any] = {}
    for base in reversed([base for base in cls.__mro__ if base.__module__ not in _BASES]):
        values = {name: value for name, value in vars(base).items() if name in _BY_CLASS}
        found.update({name: value for name, value in values.items() if not isinstance(value, property)})
    check_task_options(found, f"class {cls.__name__}")
    return found


def annotated_options(task: Task[..., Any], in_code: Mapping[str, Any]) -> dict[str, Any]:
    """The options as they are now: configuration wins over the code."""
    conf = task.app.conf
    options = {option: conf[setting] for option, setting in BY_SETTING.items() if _says(conf[setting])}
    options |= in_code
    if not conf.task_annotations:
        return options
    from tqbroker.annotations import annotated

    return {**options, **annotated(conf.task_annotations, task)}


def _says(value: Any) -> bool:
    """Whether a setting differs from the default of its option."""
    return value is not None and value is not True
