"""`task_annotations`: options of tasks by configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tqbroker import option_rules as rules
from tqbroker.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from tqbroker.task import Task

_FIXED = frozenset({"name", "base", "bind"})


def annotated(annotations: Any, task: Task[..., Any]) -> dict[str, Any]:
    """The options that configuration gives this task; "*" stands for all, and the task's own name wins over it.

    `annotations` is a mapping, a list of mappings (later ones win), an object with `annotate(task)` and
    `annotate_any()`, or the dotted path of one. Raises ImproperlyConfigured for an option that a task cannot have.
    """
    found: dict[str, Any] = {}
    for part in _parts(annotations):
        if isinstance(part, Mapping):
            found |= {**(part.get("*") or {}), **(part.get(task.name) or {})}
        else:
            found |= {**(_ask(part, "annotate_any") or {}), **(_ask(part, "annotate", task) or {})}
    if found:
        _check(found, task.name)
    return found


def _parts(annotations: Any) -> Iterable[Any]:
    items = annotations if isinstance(annotations, (list, tuple)) else (annotations,)
    return [_loaded(item) for item in items if item is not None]


def _loaded(item: Any) -> Any:
    if isinstance(item, str):
        from tqbroker.dotted import load

        item = load(item, "task_annotations")
    return item() if isinstance(item, type) else item


def _ask(part: Any, method: str, *args: Any) -> Mapping[str, Any] | None:
    answer = getattr(part, method, None)
    if answer is None and not hasattr(part, "annotate"):
        raise ImproperlyConfigured(f"task_annotations: {part!r:.200} is no mapping and has no annotate(task)")
    found: Mapping[str, Any] | None = answer(*args) if answer else None
    return found


def _check(found: Mapping[str, Any], name: str) -> None:
    from tqbroker.options import check_task_options

    try:
        check_task_options(found, f"task_annotations of {name}")
        rules.check_values(found, rules.TASK)
    except (TypeError, ValueError) as error:
        raise ImproperlyConfigured(str(error)) from None
    if fixed := found.keys() & _FIXED:
        raise ImproperlyConfigured(f"task_annotations of {name}: {', '.join(sorted(fixed))} can only stand at the task")
