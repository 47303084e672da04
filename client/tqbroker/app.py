"""App: the registry of tasks, the settings, and the way to the broker."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, Unpack, overload

from tqbroker import _grpc_environment as _grpc_environment
from tqbroker import current
from tqbroker._grpc_forks import loading
from tqbroker.app_periodic import AppPeriodic
from tqbroker.canvas_options import CALLBACKS
from tqbroker.config import Settings
from tqbroker.options import CallOptions, TaskOptions, check_call_options
from tqbroker.parameters import is_async, positional
from tqbroker.registry import TaskRegistry, task_name
from tqbroker.setting_options import SettingOptions
from tqbroker.task import AsyncTask, Task
from tqbroker.task_options import BY_SETTING

if TYPE_CHECKING:
    from tqbroker._grpc_admin import GrpcOperator
    from tqbroker.async_result import AsyncResult
    from tqbroker.batch import BatchContext
    from tqbroker.canvas_signature import Signature
    from tqbroker.control import Control
    from tqbroker.events import Events
    from tqbroker.group_result import GroupResult
    from tqbroker.result_set import ResultSet
    from tqbroker.sending import Sender
    from tqbroker.transport import AsyncTransport, Transport

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", bound=Task[..., Any])
Bound = Task[..., Any]
"""What a bound task gets as its first argument."""


class Decorator(Protocol):
    """`@app.task(...)`: keeps the function's parameters and result for editors and type checkers."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...


class BoundDecorator(Protocol):
    """The same with bind=True: the first parameter is the task itself, of its `base`, and not part of a call."""

    @overload
    def __call__(self, function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Any, P], R], /) -> Task[P, R]: ...


_OF_TASKS = frozenset({"task_annotations", *BY_SETTING.values()})


class App(AppPeriodic):
    """One application: its tasks, its settings, its broker.

    `main` is the name that tasks of a script run as `__main__` get in front. `broker` is tq://host[:port] or
    tq+unix:///path; without it TQBROKER_URL is used, then tq://localhost. Further settings are keywords, see
    `tqbroker.setting_values`; `config_source` is what `config_from_object` reads, with `namespace`. `task_cls` is the
    class of tasks that name no `base`. The app made last is `current_app`, unless it has `set_as_current=False`.
    Raises ImproperlyConfigured for a URL of another broker or an unknown setting, naming what to write. Nothing is
    connected before the first call.
    """

    def __init__(
        self,
        main: str | None = None,
        *,
        broker: str | None = None,
        config_source: Any = None,
        namespace: str | None = None,
        task_cls: type[Bound] | str | None = None,
        set_as_current: bool = True,
        **settings: Unpack[SettingOptions],
    ) -> None:
        if broker is not None:
            settings["broker_url"] = broker
        super().__init__()
        self.main = main
        self.conf = Settings(**settings)
        self.tasks = TaskRegistry(self)
        self._task_cls = task_cls
        self._pinned = frozenset(settings)
        self._discover = []
        self.conf.listeners.append(self._settings_changed)
        if config_source is not None:
            self.config_from_object(config_source, namespace=namespace)
        current.join(self, set_as_current)
        self._sender: Sender | None = None
        self._group_result: type[GroupResult] | None = None

    # -- tasks --------------------------------------------------------------------------------------------------------

    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(self, /, *, bind: Literal[True], **options: Unpack[TaskOptions]) -> BoundDecorator: ...
    @overload
    def task(self, /, *, bind: Literal[False] = False, **options: Unpack[TaskOptions]) -> Decorator: ...

    def task(self, function: Callable[..., Any] | None = None, /, *, bind: bool = False, **options: Any) -> Any:
        """Registers a function as a task: `@app.task`, or `@app.task(queue="mail")` with options, see TaskOptions.

        With `bind=True` the function's first parameter is the task, for `self.request`. Raises TypeError for an unknown
        option and ValueError for a value that is not allowed.
        """
        if function is not None:
            return self._register(function, bind, options)
        return lambda decorated: self._register(decorated, bind, options)

    def register_task(self, task: T | type[T], **options: Unpack[TaskOptions]) -> T:
        """Registers a task that is a class with a `run` method, or an instance of one, and returns the instance.

        Its name is the attribute `name`, else module.Class. Raises TypeError and ValueError as `task` does.
        """
        if isinstance(task, type):
            made = task.make(self, **options)
        else:
            made = task
            made.define(self, **options)
        self.tasks.register(made)
        return made

    def gen_task_name(self, name: str, module: str) -> str:
        """The name of a task that names none: module.function. Override it for another rule."""
        return task_name(self.main, name, module)

    def _register(self, function: Callable[..., Any], bind: bool, options: Any) -> Task[..., Any]:
        if not callable(function):
            raise TypeError(f"@app.task takes a function, not {function!r}; write options by name")
        base = options.get("base") or self._base(function)
        if not isinstance(base, type) or not issubclass(base, Task):
            raise TypeError(f"base={base!r} is no subclass of tqbroker.Task: derive it from Task")
        task: Task[..., Any] = base.make(self, function, bind=bind, **options)
        self.tasks.register(task)
        return task

    def _base(self, function: Callable[..., Any]) -> type[Bound]:
        if self._task_cls is None:
            return AsyncTask if is_async(function) else Task
        return self.Task

    def _settings_changed(self, names: Iterable[str]) -> None:
        if not _OF_TASKS.isdisjoint(names):
            for task in self.tasks.values():
                task.annotate()

    # -- calls --------------------------------------------------------------------------------------------------------

    def send_task(
        self,
        name: str,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> AsyncResult[Any]:
        """Submits a job by the name of its task, whose code need not be here. Options and errors as in apply_async."""
        from tqbroker.plans import prepare_by_name

        if not CALLBACKS.isdisjoint(options):
            return self.signature(name, args, kwargs, dict(options)).apply_async()
        check_call_options(options, f"send_task of {name}")
        given = positional(args, f"send_task of {name}")
        head, own = prepare_by_name(self, name, given, kwargs or {}, options)
        return self.sender.send(head, given, kwargs or {}, own)

    async def asend_task(
        self,
        name: str,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> AsyncResult[Any]:
        """`send_task` for asyncio."""
        from tqbroker.plans import prepare_by_name

        if not CALLBACKS.isdisjoint(options):
            return await self.signature(name, args, kwargs, dict(options)).aapply_async()
        check_call_options(options, f"asend_task of {name}")
        given = positional(args, f"asend_task of {name}")
        head, own = prepare_by_name(self, name, given, kwargs or {}, options)
        return await self.sender.asend(head, given, kwargs or {}, own)

    def signature(self, varies: Any, *args: Any, **kwargs: Any) -> Signature[Any]:
        """`tqbroker.signature` of this app: of a task or the name of one, or what a mapping describes."""
        from tqbroker.canvas import maybe_signature, signature

        found = maybe_signature(signature(varies, *args, **kwargs), app=self)
        assert found is not None
        return found

    def batch(self) -> BatchContext:
        """`with app.batch():` collects every call made inside and makes all durable on leaving.

        Inside, results are handed out at once, but nothing is sent yet; when the block raises, nothing is. Raises
        BatchError on leaving when some calls are not known to be stored. `async with` does the same for asyncio.
        """
        from tqbroker.batch import BatchContext

        return BatchContext(self)

    def AsyncResult(self, id: str) -> AsyncResult[Any]:  # noqa: A002, N802 - Celery's names
        """The result of a job of which only the id is known. Raises ValueError for what cannot be an id."""
        from tqbroker.async_result import AsyncResult

        return AsyncResult(id, app=self)

    @property
    def GroupResult(self) -> type[GroupResult]:  # noqa: N802 - Celery's name
        """The class of results of groups at this app's broker: `app.GroupResult.restore(id)`."""
        if self._group_result is None:
            from tqbroker.group_result import GroupResult

            self._group_result = GroupResult.of_app(self)
        return self._group_result

    def ResultSet(self, results: Iterable[Any]) -> ResultSet:  # noqa: N802 - Celery's name
        """Many results as one."""
        from tqbroker.result_set import ResultSet

        return ResultSet(results, app=self)

    # -- the broker ---------------------------------------------------------------------------------------------------

    @property
    def sender(self) -> Sender:
        """What encodes and submits; loaded with the first call."""
        if self._sender is None:
            with loading("sending"):
                from tqbroker.sending import Sender
            self._sender = Sender(self)
        return self._sender

    @property
    def transport(self) -> Transport:
        """The connection of this process to the broker, opened with its first use."""
        with loading("grpc"):
            from tqbroker._grpc import transport_for
        return transport_for(self.conf.broker_url)

    @property
    def async_transport(self) -> AsyncTransport:
        """The same for the running event loop."""
        with loading("grpc.aio"):
            from tqbroker._grpc_aio import transport_for
        return transport_for(self.conf.broker_url)

    @property
    def operator(self) -> GrpcOperator:
        """What an operator can ask and order, beside Celery's `control`: jobs, queues, limits."""
        return self.transport.operator(self.conf.request_timeout)

    @property
    def control(self) -> Control:
        """Commands to workers: `app.control.ping()`, `app.control.revoke(id)`, `app.control.inspect().active()`."""
        from tqbroker.control import Control

        return Control(self)

    @property
    def events(self) -> Events:
        """The event log of the broker: `for event in app.events.follow(): ...`."""
        from tqbroker.events import Events

        return Events(self)

    def close(self) -> None:
        """Closes this process's connection to the broker. The next call opens it again."""
        from tqbroker._grpc import close

        close(self.conf.broker_url)

    async def aclose(self) -> None:
        """Closes the running event loop's connection to the broker."""
        from tqbroker._grpc_aio import close

        await close(self.conf.broker_url)

    @property
    def Task(self) -> type[Task[..., Any]]:  # noqa: N802 - Celery's name
        """The class of tasks that name no `base`, and what others are derived from."""
        if isinstance(self._task_cls, str):
            from tqbroker.dotted import load

            loaded: type[Bound] = load(self._task_cls, "task_cls")
            self._task_cls = loaded
        return Task if self._task_cls is None else self._task_cls

    @Task.setter
    def Task(self, cls: type[Bound]) -> None:  # noqa: N802
        self._task_cls = cls

    def __repr__(self) -> str:
        return f"<App {self.main or '(no name)'} at {self.conf.broker_url}>"


Celery = App
"""App's name for those who come from Celery."""
