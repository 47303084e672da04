"""A function that can run elsewhere: `delay`, `apply_async` and the ways to send many."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from types import MethodType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, Unpack

from tqbroker.context import Request, pop, push, request_of
from tqbroker.handle import Handle
from tqbroker.options import (
    CALL_OPTIONS,
    TASK_OPTIONS,
    CallItem,
    CallOptions,
    TaskOptions,
    make_head,
    refuse_unknown,
)
from tqbroker.registry import task_name
from tqbroker.signature import Signature, positional

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.call import Head
    from tqbroker.result import AsyncResult

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_COROUTINE = 0x80  # inspect.CO_COROUTINE, without importing inspect
_OWN = frozenset({"name", "typing"})  # task options that are no defaults of calls


class Task(Handle, Generic[P, R]):
    """A registered function. Call it for a plain local call; `delay` and its kin submit it as a job.

    Every way of sending returns when the job is durable. It raises TypeError when the arguments do not fit the
    function's signature, EncodeError when one of them cannot be sent, and OperationalError when the broker has not
    confirmed within `app.conf.submit_timeout` seconds (5 by default).
    """

    __name__: str
    __qualname__: str

    def __init__(
        self, app: App, function: Callable[..., Any], *, bind: bool = False, **options: Unpack[TaskOptions]
    ) -> None:
        refuse_unknown(options, TASK_OPTIONS, "@app.task")
        self.app = app
        self.function = function
        self.bind = bind
        name = options.get("name")
        self.name = task_name(app.main, function) if name is None else name
        self.is_async = bool(getattr(getattr(function, "__code__", None), "co_flags", 0) & _COROUTINE)
        self.options: dict[str, Any] = {key: value for key, value in options.items() if key not in _OWN}
        self.run: Callable[..., Any] = MethodType(function, self) if bind else function
        """The body as a worker calls it, with only the job's arguments."""
        self._typing = options.get("typing", True)
        self._signature = Signature(function, skip=int(bind))
        self._head: tuple[int, Head] | None = None
        for attribute in ("__module__", "__name__", "__qualname__", "__doc__"):
            setattr(self, attribute, getattr(function, attribute, None))
        self.__wrapped__ = function
        self.default_head()  # a wrong option is an error at the decorator, not at the first call

    # -- here and now -----------------------------------------------------------------------------------------------

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs the function here, as if it were not a task."""
        token = push(self, Request(task=self.name, args=args, kwargs=kwargs))
        try:
            result: R = self.run(*args, **kwargs)
        finally:
            pop(token)
        return result

    @property
    def request(self) -> Request:
        """The job being run here; that of a direct call outside of a worker."""
        return request_of(self)

    # -- one job ------------------------------------------------------------------------------------------------------

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Submits one job with these arguments."""
        self.check(args, kwargs)
        return self.app.sender.send(self.default_head(), args, kwargs)

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> AsyncResult[R]:
        """Submits one job with options, see CallOptions: task_id, queue, priority, countdown, eta, expires, ..."""
        given_args, given_kwargs = positional(args, f"apply_async of {self.name}"), kwargs or {}
        self.check(given_args, given_kwargs)
        return self.app.sender.send(self.head(options), given_args, given_kwargs, options.get("task_id"))

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """`delay` for asyncio: the loop goes on while the job is made durable."""
        self.check(args, kwargs)
        return await self.app.sender.asend(self.default_head(), args, kwargs)

    async def aapply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> AsyncResult[R]:
        """`apply_async` for asyncio."""
        given_args, given_kwargs = positional(args, f"apply_async of {self.name}"), kwargs or {}
        self.check(given_args, given_kwargs)
        return await self.app.sender.asend(self.head(options), given_args, given_kwargs, options.get("task_id"))

    # -- many jobs ----------------------------------------------------------------------------------------------------

    def delay_many(self, calls: Iterable[Sequence[Any]]) -> list[AsyncResult[R]]:
        """Submits one job for each sequence of positional arguments, and returns when all are durable.

        Raises BatchError when some are not; it says which.
        """
        rows = self._checked_rows(calls)
        return self.app.sender.send_many(self.default_head(), rows)

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
        if not self._checks():
            return rows
        low, high = self._signature.required, self._signature.most
        for number, count in enumerate(map(len, rows)):
            if not low <= count <= high:
                self._signature.check(rows[number], {}, self.name)
        return rows

    # -- what a call is made of ---------------------------------------------------------------------------------------

    def check(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raises TypeError when the arguments do not fit the function."""
        if self._checks():
            self._signature.check(args, kwargs, self.name)

    def _checks(self) -> bool:
        return self._typing and self.app.conf.strict_typing

    def default_head(self) -> Head:
        """What all calls without options share; made anew only when a setting has changed."""
        version = self.app.conf.version
        if self._head is None or self._head[0] != version:
            self._head = version, make_head(self.name, self.options, {}, self.app.conf)
        return self._head[1]

    def head(self, options: Mapping[str, Any]) -> Head:
        """What a call with these options says beside its arguments."""
        if not options or (len(options) == 1 and "task_id" in options):
            return self.default_head()
        refuse_unknown(options, CALL_OPTIONS, f"apply_async of {self.name}")
        return make_head(self.name, self.options, options, self.app.conf)

    def AsyncResult(self, id: str) -> AsyncResult[R]:  # noqa: A002, N802 - Celery's names
        """The result of a job of this task by its id. Raises ValueError for what cannot be an id."""
        return self.app.AsyncResult(id)

    def _instead_of_pickling(self) -> str:
        return f"send its name, {self.name!r}, and write app.tasks[name] or app.send_task(name, ...) there"

    def __repr__(self) -> str:
        return f"<Task {self.name}>"


class AsyncTask(Task[P, R]):
    """A task whose function is `async def`: a local call gives the coroutine, a job's result is what it returns."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:  # type: ignore[override]
        """The coroutine, to be awaited here, as if it were not a task."""
        coroutine: Coroutine[Any, Any, R] = self.run(*args, **kwargs)
        return coroutine
