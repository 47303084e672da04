"""Signatures that are made of others: `chain` and `group`.

Their parts are copied when somebody looks at them, and not before. So chains grow by `|` in linear time, and a change
of one does not change another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, cast

from tqbroker.canvas_options import as_signature
from tqbroker.canvas_signature import Signature

if TYPE_CHECKING:
    from tqbroker.app import App


class Composite(Signature[Any]):
    """A signature with a list of others among its keyword arguments."""

    _shared = False
    """Whether others may have the same parts."""

    def __init__(self, *tasks: Any, app: App | None = None, **options: Any) -> None:
        kind = type(self)._kind
        parts = [as_signature(task, f"a {kind}", app) for task in _given(tasks)]
        super().__init__(f"tqbroker.{kind}", (), {"tasks": parts}, options, app=app)

    @classmethod
    def _rebuilt(cls, fields: tuple[Any, ...], app: App | None) -> Signature[Any]:
        _, args, kwargs, options, _, immutable = fields
        made = cls(list(kwargs.get("tasks") or ()), app=app, **options)
        made.args, made.immutable = args, immutable
        if kwargs.get("kwargs"):
            made["kwargs"]["kwargs"] = dict(kwargs["kwargs"])
        return made

    @property
    def parts(self) -> list[Signature[Any]]:
        """Its parts, to be looked at only: others may have the same."""
        return cast("list[Signature[Any]]", self["kwargs"]["tasks"])

    @property
    def tasks(self) -> list[Signature[Any]]:
        """Its parts."""
        if self._shared:
            self["kwargs"]["tasks"] = [part.clone() for part in self.parts]
            self._shared = False
        return self.parts

    @tasks.setter
    def tasks(self, tasks: Iterable[Any]) -> None:
        self["kwargs"]["tasks"] = [as_signature(task, f"a {self._kind}", self._app) for task in tasks]
        self._shared = False

    def clone(self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **opts: Any) -> Self:
        """A copy. New arguments go to its first calls; options over its own; callbacks add up."""
        new = super().clone(args, None, **opts)
        if kwargs:
            new["kwargs"]["kwargs"] = {**self.partial_kwargs, **kwargs}
        new["kwargs"]["tasks"] = list(self.parts)
        self._shared = new._shared = True
        return new

    partial = clone

    @property
    def partial_kwargs(self) -> dict[str, Any]:
        """Keyword arguments for its first calls."""
        return cast("dict[str, Any]", self["kwargs"].get("kwargs") or {})

    def _inside(self) -> Sequence[Signature[Any]]:
        return self.parts


def _given(tasks: tuple[Any, ...]) -> Iterable[Any]:
    """The parts of a call with several, with a list or generator of them, or with one."""
    if len(tasks) != 1 or isinstance(tasks[0], (Mapping, str)) or not isinstance(tasks[0], Iterable):
        return tasks
    return tasks[0]
