"""group: calls side by side. chord: the same, and one call that is handed the list of what they returned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, cast

from tqbroker.canvas_chain import chain
from tqbroker.canvas_many import Many
from tqbroker.canvas_options import as_signature, refuse_task
from tqbroker.canvas_parts import Composite
from tqbroker.canvas_signature import Signature

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.group_result import GroupResult


class group(Many, Composite, kind="group"):  # noqa: N801  # pyright: ignore[reportIncompatibleMethodOverride]
    """`group(a, b)`, `group([a, b])`, or `group(add.s(i, i) for i in range(9))`: all run, in any order.

    Its result is a GroupResult, with results in the order of the members. A group in a group is part of it. Options
    are those of each member, but for `task_id`, which is the id of the group, a UUID. `group | task` is a chord. Raises
    TypeError for members that are no signatures.
    """

    def __init__(self, *tasks: Any, **options: Any) -> None:
        if len(tasks) == 1 and isinstance(tasks[0], group):
            tasks = tuple(tasks[0].tasks)
        super().__init__(*tasks, **options)

    def __call__(self, *partial_args: Any, **options: Any) -> GroupResult:
        """Submits it, with these arguments in front of those of each member. Keywords are options."""
        return self.apply_async(partial_args, **options)

    def __or__(self, other: Any) -> Any:
        if not isinstance(other, Signature):
            refuse_task(other)
            return NotImplemented
        if isinstance(other, group) and not other.parts:
            return self
        return chord(self, other)

    def __ior__(self, other: Any) -> Any:
        return self.__or__(other)

    def __len__(self) -> int:
        return len(self.parts)

    def __bool__(self) -> bool:
        return True

    def alone(self) -> Signature[Any]:
        """Itself; its only member if it has just one."""
        if len(self.parts) != 1:
            return self
        options = {name: value for name, value in self.options.items() if name != "task_id"}
        return self.parts[0].clone(self.args, self.partial_kwargs, **options).alone()

    def skew(self, start: float = 1.0, stop: float | None = None, step: float = 1.0) -> Self:
        """Spreads the members: the first has a countdown of `start` seconds, each other one `step` more.

        None is later than `stop`, if that is given. Gives itself.
        """
        for number, task in enumerate(self.tasks):
            countdown = start + step * number
            task.set(countdown=countdown if stop is None or countdown < stop else stop)
        return self

    def set_immutable(self, immutable: bool) -> None:
        """Whether the members are left alone."""
        for task in self.tasks:
            task.set_immutable(immutable)

    def link(self, sig: Any) -> Any:
        """Has `sig` run when the first member has succeeded, handed nothing, as in Celery. A chord waits for all."""
        return self.tasks[0].link(as_signature(sig, "link").clone().set(immutable=True))

    def link_error(self, sig: Any) -> Any:
        """Has `sig` run for each member that fails."""
        errback = as_signature(sig, "link_error")
        return tuple(task.link_error(errback.clone()) for task in self.tasks)

    def __repr__(self) -> str:
        return f"group({self.parts!r})" if self.parts else "group(<empty>)"


class chord(Signature[Any], kind="chord"):  # noqa: N801 - Celery's name
    """`chord([a, b])(c)`, `chord([a, b], c)` or `group(a, b) | c`: c, the body, is handed the list of their results.

    The header is a list of signatures, a generator, a group, or a chain, whose parts then run side by side. Without
    members the body runs at once, with an empty list. When a member fails, the body fails with ChordError, which names
    it, and so do its error callbacks run; the other members go on. Its result is that of the body, with the GroupResult
    of the header as `.parent`. Options hold for header and body, `countdown` and `eta` for the header only; `task_id`
    and `link` are the body's. Raises TypeError for parts that are no signatures.
    """

    _shared = False

    def __init__(
        self,
        header: Any,
        body: Any = None,
        task: str = "tqbroker.chord",
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        app: App | None = None,
        options: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        fields = {
            "kwargs": dict(kwargs or {}),
            "header": _header(header, app),
            "body": None if body is None else as_signature(body, "the body of a chord", app),
        }
        super().__init__(task, args, fields, options, app=app, **more)

    @classmethod
    def _rebuilt(cls, fields: tuple[Any, ...], app: App | None) -> Signature[Any]:
        _, args, kwargs, options, _, immutable = fields
        header, body = kwargs.get("header") or [], kwargs.get("body")
        return cls(header, body, args=args, kwargs=kwargs.get("kwargs"), app=app, options=options, immutable=immutable)

    @property
    def header(self) -> group:
        """The header, to be looked at only: others may have the same."""
        return cast(group, self["kwargs"]["header"])

    @property
    def tasks(self) -> list[Signature[Any]]:
        """The members of the header."""
        self._own()
        return self.header.tasks

    @tasks.setter
    def tasks(self, tasks: Any) -> None:
        self._own()
        self["kwargs"]["header"] = _header(tasks, self._app)

    @property
    def body(self) -> Signature[Any]:
        """What is handed the list."""
        self._own()
        return cast("Signature[Any]", self["kwargs"]["body"])

    @body.setter
    def body(self, body: Any) -> None:
        self._own()
        self["kwargs"]["body"] = None if body is None else as_signature(body, "the body of a chord", self._app)

    @property
    def partial_kwargs(self) -> dict[str, Any]:
        """Keyword arguments for the members of the header."""
        return cast("dict[str, Any]", self["kwargs"].get("kwargs") or {})

    def _own(self) -> None:
        """Copies the parts if others may have them too."""
        if self._shared:
            self._shared = False
            body = self["kwargs"]["body"]
            self["kwargs"] |= {"header": self.header.clone(), "body": None if body is None else body.clone()}

    def clone(self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **opts: Any) -> Self:
        """A copy. New arguments go to the members of its header; `body` among the keywords is its body."""
        given = dict(kwargs or {})
        body = given.pop("body", None)
        new = super().clone(args, None, **opts)
        self._shared = new._shared = True
        new["kwargs"]["kwargs"] = {**self.partial_kwargs, **given}
        if body is not None:
            new.body = body
        return new

    partial = clone

    def _inside(self) -> Sequence[Signature[Any]]:
        body = self["kwargs"]["body"]
        return [self.header] if body is None else [self.header, body]

    def __call__(self, body: Any = None, **options: Any) -> Any:
        """Submits it, with this body if one is given. Keywords are options."""
        return self.apply_async((), {"body": body} if body is not None else {}, **options)

    def __or__(self, other: Any) -> Any:
        if not isinstance(other, Signature):
            refuse_task(other)
            return NotImplemented
        after = other.alone()
        if isinstance(after, (group, chain)):
            return chain(self, after)
        new = self.clone()
        new.body = new.with_body()["kwargs"]["body"] | after
        return new

    def __ior__(self, other: Any) -> Any:
        return self.__or__(other)

    def with_body(self) -> Self:
        """Itself. Raises TypeError when it has no body."""
        if self["kwargs"]["body"] is None:
            raise TypeError(f"{self!r:.200} has no body: write chord(header)(body), or header | body")
        return self

    def link(self, sig: Any) -> Any:
        """Has `sig` run when the body has succeeded."""
        return self.with_body().body.link(sig)

    def link_error(self, sig: Any) -> Any:
        """Has `sig` run when the body has failed, or cannot run because a member has.

        With the setting task_allow_error_cb_on_chord_header also for each member that fails, handed nothing.
        """
        errback = as_signature(sig, "link_error")
        everywhere = self.app.conf.task_allow_error_cb_on_chord_header
        for task in self.tasks:
            if isinstance(task, chord):
                task.link_error(errback)
            elif everywhere:
                task.link_error(errback.clone().set(immutable=True))
        self.with_body().body.link_error(errback)
        return sig

    def set_immutable(self, immutable: bool) -> None:
        """Whether the members of the header are left alone."""
        for task in self.tasks:
            task.set_immutable(immutable)

    def __repr__(self) -> str:
        return f"chord({self.header.parts!r}, {self['kwargs']['body']!r})"


def _header(header: Any, app: App | None) -> group:
    """The header of a chord, whatever it was given as."""
    if isinstance(header, Mapping):
        header = as_signature(header, "the header of a chord", app)
    if isinstance(header, group):
        header._shared = True
        members = group(app=app)
        members["kwargs"]["tasks"], members["options"], members._shared = list(header.parts), dict(header.options), True
        return members
    if isinstance(header, chain):
        return group(header.tasks, app=app)
    if not isinstance(header, Iterable):
        raise TypeError(f"the header of a chord is a list of signatures, not {header!r:.200}")
    return group([header] if isinstance(header, Signature) else header, app=app)
