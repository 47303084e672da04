"""Signature: the description of a call, a value that can be kept, sent and made part of a workflow."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, cast

from tqbroker.canvas_fields import NAMES, Fields, fields_of, name_of
from tqbroker.canvas_options import merged, refuse_task, with_callback
from tqbroker.parameters import positional

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.async_result import AsyncResult
    from tqbroker.canvas_chain import chain
    from tqbroker.canvas_stamping import StampingVisitor
    from tqbroker.task import Task

R = TypeVar("R")


class Signature(Fields, Generic[R]):
    """A call that has not been made: the name of a task, arguments and options.

    It is a dict of plain values under Celery's names, so it can be written as JSON, and `Signature.from_dict` makes it
    anew. `task` is a task or the name of one, `args` and `kwargs` are its arguments as far as they are known, further
    keywords are options of `apply_async`. `immutable`: it is not handed what the task before it returned. Raises
    TypeError for what is no task or no list of arguments; the arguments are compared with the task when it is sent.
    """

    TYPES: ClassVar[dict[str, builtins.type[Signature[Any]]]] = {}
    """The classes of signatures by their `subtask_type`."""

    _kind: ClassVar[str | None] = None
    _app: App | None = None
    _type: Task[..., R] | None = None
    _beside: Any = None
    """The running job to whose workflow it is to be added: what `add_to_chord(lazy=True)` gives."""

    def __init_subclass__(cls, kind: str | None = None) -> None:
        super().__init_subclass__()
        if kind is not None:
            cls._kind = kind
            cls.TYPES[kind] = cls

    def __init__(
        self,
        task: Any = None,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        type: Any = None,  # noqa: A002 - Celery's name
        subtask_type: str | None = None,
        immutable: bool = False,
        app: App | None = None,
        **ex: Any,
    ) -> None:
        if isinstance(task, dict):
            fields = fields_of(task)
        else:
            named = name_of(type if task is None else task)
            given = positional(args, f"the signature of {named}")
            fields = named, given, kwargs or {}, {**(options or {}), **ex}, subtask_type or self._kind, immutable
            self._type = task if named is not task else type
        super().__init__(zip(NAMES, fields, strict=True))
        self["args"], self["kwargs"], self["options"] = tuple(self["args"]), dict(self["kwargs"]), dict(self["options"])
        self._app = app

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: App | None = None) -> Signature[Any]:
        """The signature that a mapping describes, of the class that its `subtask_type` names.

        Raises TypeError for a mapping that is no signature, and ValueError for an unknown `subtask_type`.
        """
        import tqbroker.canvas  # noqa: F401 - has all kinds of signatures known

        kind = d.get("subtask_type")
        if kind is not None and kind not in cls.TYPES:
            raise ValueError(f"subtask_type={kind!r} is none: allowed are {', '.join(sorted(cls.TYPES))}, or None")
        made = (Signature if kind is None else cls.TYPES[kind])._rebuilt(fields_of(d), app)
        made._app = app
        return made

    @classmethod
    def _rebuilt(cls, fields: tuple[Any, ...], app: App | None) -> Signature[Any]:
        return cls(dict(zip(NAMES, fields, strict=True)))

    # -- its task and app ---------------------------------------------------------------------------------------------

    @property
    def app(self) -> App:
        """The app that it belongs to: that of its task, else the current one."""
        found = self._own_app()
        if found is not None:
            return found
        from tqbroker.current import the_app

        return the_app()

    def _own_app(self) -> App | None:
        """The app that it, or the first of its parts that has one, belongs to."""
        waiting: list[Signature[Any]] = [self]
        while waiting:
            each = waiting.pop()
            if each._app is not None or each._type is not None:
                return each._app or each._type.app  # type: ignore[union-attr]
            waiting.extend(reversed(each._inside()))
        return None

    def _inside(self) -> Sequence[Signature[Any]]:
        """The signatures that it is made of."""
        return ()

    @property
    def type(self) -> Task[..., R]:
        """Its task. Raises NotRegistered when the app has none of this name."""
        return self.app.tasks[self.task] if self._type is None else self._type

    def _known_in(self, app: App) -> Task[..., R] | None:
        """Its task, if the app has it."""
        return app.tasks.get(self.task) if self._type is None else self._type

    # -- others made of it --------------------------------------------------------------------------------------------

    def clone(self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **opts: Any) -> Self:
        """A copy. New arguments go in front of its own, keywords and options over them; callbacks add up."""
        new_args, new_kwargs, options = self._merge(args, kwargs, opts)
        new = builtins.type(self).__new__(builtins.type(self))
        fields = self["task"], tuple(new_args), dict(new_kwargs), options, self["subtask_type"], self["immutable"]
        dict.__init__(new, zip(NAMES, fields, strict=True))
        new._app, new._type, new._beside = self._app, self._type, self._beside
        return new

    partial = clone

    def replace(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Self:
        """A copy with other arguments, keywords or options instead of its own; None keeps them."""
        new = self.clone()
        for name, value in (("args", args), ("kwargs", kwargs), ("options", options)):
            if value is not None:
                setattr(new, name, value)
        return new

    def _merge(
        self, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None, options: Mapping[str, Any] | None
    ) -> tuple[Sequence[Any], Mapping[str, Any], dict[str, Any]]:
        together = merged(self.options, options)
        if self.immutable:
            return self.args, self.kwargs, together
        given = positional(args, f"the signature of {self.task}")
        return (*given, *self.args), {**self.kwargs, **(kwargs or {})}, together

    def __or__(self, other: Any) -> chain:  # type: ignore[override]
        if not isinstance(other, Signature):
            refuse_task(other)
            return NotImplemented
        from tqbroker.canvas_chain import chain

        return chain(self, other)

    def __ior__(self, other: Any) -> Signature[Any]:  # type: ignore[override]
        return self.__or__(other)

    def __ror__(self, other: Any) -> chain:  # type: ignore[override]
        return NotImplemented  # a mapping is no part of a chain

    def alone(self) -> Signature[Any]:
        """Itself; the member of a group that has only one."""
        return self

    # -- changes ------------------------------------------------------------------------------------------------------

    def set(self, immutable: bool | None = None, **options: Any) -> Self:
        """Changes options, and gives itself."""
        if immutable is not None:
            self.set_immutable(immutable)
        self.options.update(options)
        return self

    def set_immutable(self, immutable: bool) -> None:
        """Whether it is to be left alone: neither given more arguments nor handed a result."""
        self.immutable = immutable

    def link(self, sig: Any) -> Any:
        """Has `sig` run when this has succeeded, handed its result. Gives `sig`. Raises TypeError for no signature."""
        return with_callback(self.options, "link", sig)

    def link_error(self, sig: Any) -> Any:
        """Has `sig` run when this has failed, handed the id of the job, or (request, exc, traceback) if it takes these.

        Gives `sig`. Raises TypeError for what is no signature.
        """
        return with_callback(self.options, "link_error", sig)

    def on_error(self, errback: Any) -> Self:
        """`link_error` that gives this signature."""
        self.link_error(errback)
        return self

    def flatten_links(self) -> list[Signature[Any]]:
        """Itself and every callback of success, theirs included."""
        found: list[Signature[Any]] = []
        waiting: list[Signature[Any]] = [self]
        while waiting:
            each = waiting.pop()
            found.append(each)
            waiting.extend(reversed(each.options.get("link") or ()))
        return found

    def freeze(self, _id: str | None = None, **_: Any) -> AsyncResult[R]:
        """Fixes the ids of all its jobs, unless they are already, and gives the result that sending it will give.

        `_id` is that of the job whose result this is. Sent twice, it is one and the same workflow.
        """
        from tqbroker.workflows import freeze

        return cast("AsyncResult[R]", freeze(self, _id))

    def stamp(self, visitor: StampingVisitor | None = None, append_stamps: bool = False, **headers: Any) -> Self:
        """Puts stamps on every call that it is made of: those given as keywords, and those that the visitor gives.

        A value replaces that of a stamp that is there already; with `append_stamps` it is one of several. Gives itself.
        """
        from tqbroker.canvas_stamping import stamp

        stamp(self, visitor, headers, append=append_stamps)
        return self

    # -- calls --------------------------------------------------------------------------------------------------------

    def __call__(self, *partial_args: Any, **partial_kwargs: Any) -> Any:
        """Runs the task here, as a plain function."""
        args, kwargs, _ = self._merge(partial_args, partial_kwargs, None)
        return self.type(*args, **kwargs)

    def delay(self, *partial_args: Any, **partial_kwargs: Any) -> AsyncResult[R]:
        """Submits it, with these arguments in front of its own."""
        return self.apply_async(partial_args, partial_kwargs)

    def apply_async(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> AsyncResult[R]:
        """Submits it, with these arguments in front of its own and these options over its own.

        Raises TypeError when arguments do not fit, EncodeError when one cannot be sent, and OperationalError when the
        broker has not confirmed in time. Of a workflow all is stored, or nothing.
        """
        from tqbroker.workflows import apply_async

        return cast("AsyncResult[R]", apply_async(self, args, kwargs, options))

    async def adelay(self, *partial_args: Any, **partial_kwargs: Any) -> AsyncResult[R]:
        """`delay` for asyncio."""
        return await self.aapply_async(partial_args, partial_kwargs)

    async def aapply_async(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> AsyncResult[R]:
        """`apply_async` for asyncio."""
        from tqbroker.workflows import aapply_async

        return cast("AsyncResult[R]", await aapply_async(self, args, kwargs, options))

    def apply(self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Runs it here and now, as workers would; for tests. Gives an EagerResult, of a group a GroupResult of them."""
        from tqbroker.eager_workflows import apply

        return apply(self, args, kwargs, options)

    def __invert__(self) -> Any:
        return self.apply_async().get()

    # -- as text and elsewhere ----------------------------------------------------------------------------------------

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        """The call as it would be written, with these arguments in front."""
        shown = [repr(value) for value in (*args, *self.args)]
        shown += [f"{name}={value!r}" for name, value in {**self.kwargs, **kwargs}.items()]
        return f"{self.task}({', '.join(shown)})"

    def __repr__(self) -> str:
        return self.reprcall()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Signature.from_dict, (dict(self),)

    def __deepcopy__(self, memo: dict[int, Any]) -> Signature[Any]:
        from copy import deepcopy

        new = Signature.from_dict(deepcopy(dict(self), memo), app=self._app)
        new._type = self._type
        return new
