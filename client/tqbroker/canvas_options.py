"""Options of signatures: how those of a part and of the whole come together, and callbacks among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.canvas_signature import Signature

CALLBACKS = frozenset({"link", "link_error"})

OF_THE_WORKFLOW = frozenset(
    {"task_id", "group_id", "group_index", "chord", "chain", "reply_to", "parent_id", "root_id", *CALLBACKS}
)
"""What is said by the place of a call, and by no option of its own."""


def merged(options: Mapping[str, Any], over: Mapping[str, Any] | None) -> dict[str, Any]:
    """`options` with others over them. Callbacks of both count, and a stamp that is there stays. None is not given."""
    together = dict(options)
    for name in CALLBACKS & together.keys():
        together[name] = listed(name, together[name])
    stamped = _names(options.get("stamped_headers"))
    for name, value in (over or {}).items():
        if value is None or (name in stamped and name in options):
            continue
        if name in CALLBACKS:
            value = _both(together.get(name) or [], listed(name, value))
        elif name == "stamped_headers" and stamped:
            value = list(dict.fromkeys([*stamped, *_names(value)]))
        together[name] = value
    return together


def with_callback(options: dict[str, Any], name: str, callback: Any) -> Any:
    """Adds a callback to options, once, and gives it as it was given."""
    (sig,) = listed(name, [callback])
    options[name] = _both(listed(name, options.get(name)), [sig])
    return callback


def listed(name: str, callbacks: Any) -> list[Signature[Any]]:
    """Callbacks as a list of signatures. Raises TypeError for what is none."""
    if callbacks is None:
        return []
    many = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
    return [as_signature(callback, name) for callback in many]


def as_signature(value: Any, where: str, app: App | None = None) -> Signature[Any]:
    """A signature as it is, a mapping as the one it describes. Raises TypeError for anything else."""
    from tqbroker.canvas_signature import Signature

    if isinstance(value, Signature):
        return value
    if isinstance(value, Mapping):
        return Signature.from_dict(value, app)
    name = getattr(value, "__name__", None)
    hint = f"write {name}.s(...)" if hasattr(value, "apply_async") and name else "write task.s(...)"
    raise TypeError(f"{where} takes signatures, not {value!r:.200}: {hint}")


def refuse_task(value: Any) -> None:
    """Raises TypeError for a task in `signature | value`: it is easily written for its signature."""
    if hasattr(value, "apply_async"):
        as_signature(value, "a chain")


def _both(first: list[Signature[Any]], second: list[Signature[Any]]) -> list[Signature[Any]]:
    return [*first, *(sig for sig in second if sig not in first)]


def _names(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())
