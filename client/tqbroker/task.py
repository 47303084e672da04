"""A function that can run elsewhere: `delay`, `apply_async` and the ways to send many."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from types import MethodType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeVar, Unpack, cast

from tqbroker.canvas_options import CALLBACKS
from tqbroker.context import Request, pop, push, running
from tqbroker.options import CallItem, CallOptions, TaskOptions, check_call_options
from tqbroker.parameters import Parameters, is_async, positional
from tqbroker.task_attributes import TaskAttributes
from tqbroker.task_body import TaskBody
from tqbroker.task_signatures import TaskSignatures

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.async_result import AsyncResult
    from tqbroker.call import Head, Own
    from tqbroker.eager import EagerResult
    from tqbroker.plans import Plan

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Task(TaskSignatures[R], TaskAttributes, TaskBody, Generic[P, R]):
    """A registered function. Call it for a plain local call; `delay` and its kin submit it as a job.

    Every way of sending returns when the job is durable. It raises TypeError when the arguments do not fit the
    function's signature, EncodeError when one of them cannot be sent, and OperationalError when the broker has not
    confirmed within `app.conf.submit_timeout` seconds (5 by default).

    A subclass given as `base=` adds hooks, attributes and methods; each task has one instance of it in a process, so
    what it keeps in `self` (a connection, a cache) is that task's. Options may stand in it as attributes. A subclass
    with a `run` method is a task itself: give it to `app.register_task`.
    """

    __name__: str
    __qualname__: str

    @classmethod
    def make(
        cls, app: App, function: Callable[..., Any] | None = None, *, bind: bool = False, **options: Unpack[TaskOptions]
    ) -> Self:
        """The task of a function, or of this class itself. Raises TypeError or ValueError for a wrong option."""
        task = cls.__new__(cls)
        task.define(app, function, bind=bind, **options)
        type(task).__init__(task)
        return task

    def __init__(self) -> None:
        """Nothing: for subclasses to set up what each process has once. The task's name and options are known."""

    def define(
        self,
        app: App,
        function: Callable[..., Any] | None = None,
        *,
        bind: bool = False,
        **options: Unpack[TaskOptions],
    ) -> None:
        """Makes this the task of a function, or without one of its own `run`."""
        self.app = app
        self.bind = bind or function is None
        self.function: Callable[..., Any] = type(self).run if function is None else function
        described = type(self) if function is None else function
        for attribute in ("__module__", "__name__", "__qualname__", "__doc__"):
            setattr(self, attribute, getattr(described, attribute, None))
        self._take_options(options)
        body = self.function
        if self.options.get("pydantic"):
            from tqbroker.models import validated

            body = validated(self, body)
        if function is not None or body is not self.function:
            self.__dict__["run"] = MethodType(body, self) if self.bind else body
        self.is_async = is_async(self.function)
        self.own_call = type(self).__call__ not in (Task.__call__, AsyncTask.__call__)
        """Whether calls go through a `__call__` of a subclass, as in Flask's pattern of an app context around tasks."""
        self._pushed = []
        self._parameters = Parameters(self.function, skip=int(self.bind))
        self._planned: Plan | None = None
        self.__wrapped__ = self.function

    # -- here and now -----------------------------------------------------------------------------------------------

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """The body as a worker calls it, with only the job's arguments. Subclasses define it; functions replace it."""
        raise NotImplementedError(f"task {self.name} has no body: define run(self, ...) in {type(self).__name__}")

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs the function here, as if it were not a task."""
        current = running()
        if current is not None and current[0] is self and not current[1].entered:  # a worker's, by a subclass's own
            current[1].entered = True
            return self._run(args, kwargs)
        request = Request(task=self.name, args=args, kwargs=kwargs)
        request.outer = current
        token = push(self, request)
        try:
            return self._run(args, kwargs)
        finally:
            pop(token)

    def _run(self, args: Any, kwargs: Any) -> R:
        result: R = self.run(*args, **kwargs)
        return result

    def body(self) -> Callable[..., Any]:
        """What a worker calls."""
        return self if self.own_call else self.run

    def apply(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        retries: int = 0,
        throw: bool | None = None,
        **options: Unpack[CallOptions],
    ) -> EagerResult[R]:
        """Runs the task here and now as a job would be run, retries (at once) and hooks included; for tests.

        With `throw`, by default the setting task_eager_propagates, what the task raised is raised here. Other options
        of apply_async are checked and change nothing.
        """
        from tqbroker.eager import run

        if options and not CALLBACKS.isdisjoint(options):
            signature = self.signature(args, kwargs, **_loose(options))
            return cast("EagerResult[R]", signature.apply(retries=retries, throw=throw))
        given_args, given_kwargs = positional(args, f"apply of {self.name}"), kwargs or {}
        self.check(given_args, given_kwargs)
        self._call(given_args, given_kwargs, options)
        names = ("task_id", "headers", "ignore_result")
        chosen: Any = {name: value for name, value in options.items() if name in names and value is not None}
        result = run(self, given_args, given_kwargs, retries=retries, **chosen)
        if throw or (throw is None and self.app.conf.task_eager_propagates):
            result.get()
        return result

    # -- one job ------------------------------------------------------------------------------------------------------

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Submits one job with these arguments."""
        plan = self._plan()
        if plan.by_call:
            return self.apply_async(args, kwargs)
        self.check(args, kwargs)
        return self.app.sender.send(plan.head, args, kwargs, plan.own)

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> AsyncResult[R]:
        """Submits one job with options, see CallOptions: task_id, queue, priority, countdown, eta, expires, ..."""
        if self.app.conf.task_always_eager:
            return self.apply(args, kwargs, **options)  # type: ignore[return-value]
        if options and not CALLBACKS.isdisjoint(options):
            return self.signature(args, kwargs, **_loose(options)).apply_async()
        given_args, given_kwargs = positional(args, f"apply_async of {self.name}"), kwargs or {}
        self.check(given_args, given_kwargs)
        head, own = self._call(given_args, given_kwargs, options)
        return self.app.sender.send(head, given_args, given_kwargs, own)

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """`delay` for asyncio: the loop goes on while the job is made durable."""
        plan = self._plan()
        if plan.by_call:
            return await self.aapply_async(args, kwargs)
        self.check(args, kwargs)
        return await self.app.sender.asend(plan.head, args, kwargs, plan.own)

    async def aapply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> AsyncResult[R]:
        """`apply_async` for asyncio."""
        if self.app.conf.task_always_eager:
            return await self._eagerly(args, kwargs, options)
        if options and not CALLBACKS.isdisjoint(options):
            return await self.signature(args, kwargs, **_loose(options)).aapply_async()
        given_args, given_kwargs = positional(args, f"apply_async of {self.name}"), kwargs or {}
        self.check(given_args, given_kwargs)
        head, own = self._call(given_args, given_kwargs, options)
        return await self.app.sender.asend(head, given_args, given_kwargs, own)

    async def _eagerly(self, args: Any, kwargs: Any, options: Mapping[str, Any]) -> AsyncResult[R]:
        import asyncio

        apply: Callable[..., Any] = self.apply
        result: AsyncResult[R] = await asyncio.to_thread(apply, args, kwargs, **options)
        return result

    # -- many jobs ----------------------------------------------------------------------------------------------------

    def delay_many(self, calls: Iterable[Sequence[Any]]) -> list[AsyncResult[R]]:
        """Submits one job for each sequence of positional arguments, and returns when all are durable.

        Raises BatchError when some are not; it says which.
        """
        rows = self._checked_rows(calls)
        plan = self._plan()
        if plan.by_call:
            return self.apply_async_many([{"args": row} for row in rows])
        return self.app.sender.send_many(plan.head, rows, plan.own)

    def apply_async_many(self, calls: Iterable[CallItem]) -> list[AsyncResult[R]]:
        """The same with options for each: `[{"args": (1, 2), "queue": "mail"}, {"kwargs": {"x": 1, "y": 2}}]`."""
        with self.app.batch():
            return [self._send_item(item) for item in calls]

    def _send_item(self, item: CallItem) -> AsyncResult[R]:
        options: Any = dict(item)
        args, kwargs = options.pop("args", None), options.pop("kwargs", None)
        return self.apply_async(args, kwargs, **options)

    def _checked_rows(self, calls: Iterable[Sequence[Any]]) -> Sequence[Sequence[Any]]:
        where = f"delay_many of {self.name}"
        rows = [positional(row, where) for row in calls]
        if self._checks():
            self._parameters.check_rows(rows, self.name)
        return rows

    # -- what a call is made of ---------------------------------------------------------------------------------------

    def check(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raises TypeError when the arguments do not fit the function."""
        if self._checks():
            self._parameters.check(args, kwargs, self.name)

    def _checks(self) -> bool:
        return self._typing and self.app.conf.strict_typing

    def default_head(self) -> Head:
        """What calls without options say beside their arguments."""
        return self._plan().head

    def _plan(self) -> Plan:
        """How calls without options go; made anew only when a setting has changed."""
        version = self.app.conf.version
        plan = self._planned
        if plan is None or plan.version != version:
            from tqbroker.plans import make_plan

            plan = self._planned = make_plan(self)
        return plan

    def _call(self, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Head, Own]:
        """What a call says beside its arguments, and what it has for itself."""
        plan = self._plan()
        if not options and not plan.by_call:
            return plan.head, plan.own
        if len(options) == 1 and "task_id" in options and not plan.by_call:
            return plan.head, plan.own._replace(task_id=options["task_id"])
        from tqbroker.plans import prepare

        check_call_options(options, f"apply_async of {self.name}")
        return prepare(self, args, kwargs, options)

    def AsyncResult(self, id: str) -> AsyncResult[R]:  # noqa: A002, N802 - Celery's names
        """The result of a job of this task by its id. Raises ValueError for what cannot be an id."""
        return self.app.AsyncResult(id)

    def _instead_of_pickling(self) -> str:
        return f"send its name, {self.name!r}, and write app.tasks[name] or app.send_task(name, ...) there"

    def __repr__(self) -> str:
        return f"<Task {self.name}>"


def _loose(options: Any) -> dict[str, Any]:
    """The options of a call, whatever their types."""
    return cast("dict[str, Any]", options)


class AsyncTask(Task[P, R]):
    """A task whose function is `async def`: a local call gives the coroutine, a job's result is what it returns."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:  # type: ignore[override]
        """The coroutine, to be awaited here, as if it were not a task."""
        coroutine: Coroutine[Any, Any, R] = self.run(*args, **kwargs)
        return coroutine
