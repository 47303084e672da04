"""map, starmap and chunks: one job for many calls of a task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

from tqbroker.canvas_group import group
from tqbroker.canvas_many import Many
from tqbroker.canvas_options import as_signature
from tqbroker.canvas_signature import Signature

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.group_result import GroupResult
    from tqbroker.task import Task

_DESTINATION = frozenset({"queue", "exchange", "routing_key"})


def destination(app: App, sig: Signature[Any], options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options of a call. A map goes where calls of its task go, unless it says otherwise: the code is there."""
    if not isinstance(sig, _Map) or not _DESTINATION.isdisjoint(options):
        return options
    from tqbroker.plans import prepare_by_name

    inner: Signature[Any] = sig.kwargs["task"]
    task = inner._known_in(app)
    own = {name: value for name, value in inner.options.items() if name in _DESTINATION}
    head, _ = prepare_by_name(app, inner.task, (), {}, own) if task is None else task._call((), {}, own)
    return {"queue": head.queue, **options}


def _values(it: Iterable[Any], name: str) -> list[Any]:
    """The values of a map. Raises TypeError for what has none, and for a row of starmap or chunks that has none."""
    if not isinstance(it, Iterable):
        raise TypeError(f"{name} takes an iterable of values, not {it!r:.200}: one is written [{it!r:.200}]")
    values = list(it)
    for row in values if name != "map" else ():
        if not isinstance(row, Iterable):
            raise TypeError(f"{name} takes lists of arguments, not {row!r:.200}: one is written ({row!r:.200},)")
    return values


class _Map(Signature[Any]):
    """A call of one of our own tasks, with a task and many arguments for it."""

    _own_task = ""

    def __init__(self, task: Any, it: Iterable[Any], app: App | None = None, **options: Any) -> None:
        sig = as_signature(task.s() if hasattr(task, "apply_async") and not isinstance(task, dict) else task, "a map")
        fields = {"task": sig, "it": _values(it, self._own_task.removeprefix("tqbroker."))}
        super().__init__(self._own_task, (), fields, options, immutable=True, app=app or sig._own_app())

    @classmethod
    def _rebuilt(cls, fields: tuple[Any, ...], app: App | None) -> Signature[Any]:
        _, _, kwargs, options, _, _ = fields
        return cls(as_signature(kwargs["task"], "a map", app), kwargs["it"], app=app, **options)

    def __repr__(self) -> str:
        return f"[{self.kwargs['task'].task}({self._shown}) for x in {self.kwargs['it']!r:.100}]"

    _shown = "x"

    @property
    def type(self) -> Task[..., Any]:
        """The task of ours that makes the calls."""
        from tqbroker.builtin_tasks import builtin

        return builtin(self.app, self.task)


class xmap(_Map, kind="xmap"):  # noqa: N801 - Celery's name
    """`task.map(it)`: a job that calls the task once with each value, one after the other, and returns the list."""

    _own_task = "tqbroker.map"


class xstarmap(_Map, kind="xstarmap"):  # noqa: N801 - Celery's name
    """`task.starmap(it)`: the same, with each value as the arguments of a call."""

    _own_task = "tqbroker.starmap"
    _shown = "*x"


class chunks(Many, kind="chunks"):  # noqa: N801 - Celery's name
    """`task.chunks(it, n)`: a group of jobs, each of which calls the task with the next `n` lists of arguments.

    `group()` gives that group. Raises ValueError when `n` is less than 1.
    """

    def __init__(self, task: Any, it: Iterable[Any], n: int, app: App | None = None, **options: Any) -> None:
        if not isinstance(n, int) or n < 1:
            raise ValueError(f"chunks of n={n!r} is not allowed: give an int from 1 up")
        sig = as_signature(task.s() if hasattr(task, "apply_async") and not isinstance(task, dict) else task, "chunks")
        fields = {"task": sig, "it": _values(it, "chunks"), "n": n}
        super().__init__("tqbroker.chunks", (), fields, options, immutable=True, app=app or sig._own_app())

    @classmethod
    def _rebuilt(cls, fields: tuple[Any, ...], app: App | None) -> Signature[Any]:
        _, _, kwargs, options, _, _ = fields
        return cls(as_signature(kwargs["task"], "chunks", app), kwargs["it"], kwargs["n"], app=app, **options)

    def __call__(self, **options: Any) -> GroupResult:
        """Submits its group."""
        return self.apply_async(**options)

    def group(self) -> group:
        """The jobs that it stands for."""
        task, waiting = self.kwargs["task"], iter(self.kwargs["it"])
        parts = iter(lambda: list(islice(waiting, self.kwargs["n"])), [])
        return group([xstarmap(task, part, app=self._app) for part in parts], app=self._app, **self.options)

    def set_immutable(self, immutable: bool) -> None:
        """Does nothing: its arguments are all there."""

    def clone(self, args: Any = None, kwargs: Mapping[str, Any] | None = None, **opts: Any) -> Self:
        """A copy with these options over its own."""
        return super().clone(None, None, **opts)

    partial = clone
