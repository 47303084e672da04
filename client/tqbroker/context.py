"""The job that is being run here, if any: `self.request` and `current_task`.

Kept in a context variable: threads and asyncio tasks each see their own.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tqbroker.task import Task


class Request:
    """One job as the task body sees it.

    `id` is the job's id, None when the task was called as a plain function (`called_directly`). `retries` counts failed
    attempts before this one, `lost_leases` deliveries that were lost with their worker. `hostname` is the worker's
    name. `fence` is the fencing token of this attempt: it rises with every attempt of the job, so a database can refuse
    a write by an older one.
    """

    __slots__ = (
        "args",
        "called_directly",
        "fence",
        "headers",
        "hostname",
        "id",
        "ignore_result",
        "kwargs",
        "lost_leases",
        "priority",
        "queue",
        "retries",
        "task",
    )

    def __init__(
        self,
        id: str | None = None,  # noqa: A002 - Celery's name
        task: str = "",
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        retries: int = 0,
        lost_leases: int = 0,
        hostname: str | None = None,
        queue: str = "",
        priority: int = 0,
        headers: Mapping[str, Any] | None = None,
        fence: int = 0,
        ignore_result: bool = False,
    ) -> None:
        self.id = id
        self.task = task
        self.args = args
        self.kwargs = kwargs or {}
        self.retries = retries
        self.lost_leases = lost_leases
        self.hostname = hostname
        self.queue = queue
        self.priority = priority
        self.headers = headers or {}
        self.fence = fence
        self.ignore_result = ignore_result
        self.called_directly = id is None

    @property
    def worker(self) -> str | None:
        """The worker's name, the same as `hostname`."""
        return self.hostname

    @property
    def delivery_info(self) -> dict[str, Any]:
        """Where the job came from, under Celery's keys."""
        return {
            "exchange": "",
            "routing_key": self.queue,
            "queue": self.queue,
            "priority": self.priority,
            "redelivered": self.lost_leases > 0,
        }

    def __repr__(self) -> str:
        return f"<Request {self.task} id={self.id} retries={self.retries}>"


Running = tuple["Task[..., Any]", Request]
_running: ContextVar[Running | None] = ContextVar("tqbroker_running", default=None)


def push(task: Task[..., Any], request: Request) -> Token[Running | None]:
    """Makes `request` the one that `task.request` and `current_task` show here. Give the token to `pop`."""
    return _running.set((task, request))


def pop(token: Token[Running | None]) -> None:
    """Undoes one `push`, in the same context."""
    _running.reset(token)


def running() -> Running | None:
    """The task and request being run here, or None."""
    return _running.get()


def request_of(task: Task[..., Any]) -> Request:
    """The request being run here if it is one of `task`, else that of a direct call."""
    current = _running.get()
    return current[1] if current is not None and current[0] is task else Request(task=task.name)


class _CurrentTask:
    """Stands for the task being run here; false, and without attributes, outside of a task."""

    def __getattr__(self, name: str) -> Any:
        current = _running.get()
        if current is None:
            raise AttributeError(f"current_task.{name}: no task is being run here")
        return getattr(current[0], name)

    def __bool__(self) -> bool:
        return _running.get() is not None

    def __repr__(self) -> str:
        current = _running.get()
        return "<current_task: none>" if current is None else f"<current_task: {current[0].name}>"


current_task = cast("Task[..., Any]", _CurrentTask())
"""The task being run here. `if current_task:` asks whether there is one."""
