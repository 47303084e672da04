"""One job as its task sees it: `self.request`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from tqbroker.ids import Key, text_of
from tqbroker.request_values import PLAIN, Said


class Channel(Protocol):
    """The way from a running job to the broker."""

    def note(self, request: Request, state: str, meta: Any, done: float, total: float, text: str) -> None:
        """Says how far the job is; what is said often is thinned out, the last word is always said."""
        ...

    def checkpoint(self, request: Request, data: Any, timeout: float) -> None:
        """Stores where the job can go on, and returns once that is durable."""
        ...


class Request:
    """One job as the task body sees it, under Celery's names and some of ours.

    `id` is the job's id, None when the task was called as a plain function (`called_directly`). `retries` counts failed
    attempts before this one, `lost_leases` deliveries that were lost with their worker, and `attempt` is the number of
    this one, from 1. `hostname` is the worker's name. `fence` is the fencing token of this attempt: it rises with every
    attempt of the job, so a database can refuse a write by an older one. `cancelled` turns true when somebody cancels
    the job while it runs. `checkpoint` is what an earlier attempt left with `self.checkpoint(...)`, or None.
    """

    __slots__ = (
        "__dict__",
        "_id",
        "args",
        "called_directly",
        "channel",
        "fence",
        "headers",
        "hostname",
        "ignore_result",
        "kwargs",
        "lost_leases",
        "priority",
        "queue",
        "retries",
        "task",
    )

    # What is so for nearly all jobs is an attribute of the class: making a request is on the way of every job.
    cancelled = False
    is_eager = False
    details = PLAIN
    said = Said()
    entered = True
    """False until a task's own `__call__` has passed the call on to Task's."""
    retry: BaseException | None = None
    """What `self.retry(throw=False)` has decided."""

    eager_beside: list[Any] | None = None
    """In `apply`: takes the results of what the body adds to its chord."""

    outer: Any = None
    """Of a call as a plain function: the task and request of the job that made it, as in `tqbroker.context`."""
    trail: list[Any] | None = None
    """The results of what it has submitted; None before the first."""

    # Nothing that a broker of messages has: what follows on a job stands in its workflow.
    chain = callbacks = errbacks = origin = reply_to = None
    replaced_task_nesting = 0
    utc = True

    def __init__(
        self,
        id: Key | None = None,  # noqa: A002 - Celery's name
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
        channel: Channel | None = None,
    ) -> None:
        self._id = id
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
        self.channel = channel
        self.called_directly = id is None

    @property
    def id(self) -> str | None:
        """The job's id as text; None when the task was called directly."""
        key = self._id
        if isinstance(key, bytes):  # text is made of it for those who ask, which few tasks do
            key = self._id = text_of(key)
        return key

    @property
    def worker(self) -> str | None:
        """The worker's name, the same as `hostname`."""
        return self.hostname

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self.retries + self.lost_leases + 1

    @property
    def lease_token(self) -> int:
        """The same as `fence`."""
        return self.fence

    @property
    def correlation_id(self) -> str | None:
        """The same as `id`."""
        return self.id

    @property
    def root_id(self) -> str | None:
        """The job that all of this began with: the first of its workflow, or the one whose body submitted others."""
        return self.details.root or self.id

    @property
    def parent_id(self) -> str | None:
        """The job whose end released this one, or whose body submitted it."""
        return self.details.parent or None

    @property
    def group(self) -> str | None:
        """The id of the group that it is a member of."""
        return self.details.group or None

    @property
    def group_index(self) -> int | None:
        """Its place among the members of the group, from 0."""
        return self.details.group_index if self.details.group else None

    @property
    def chord(self) -> str | None:
        """The id of the group, if something follows on the group."""
        return self.group if self.details.in_chord else None

    @property
    def children(self) -> list[Any]:
        """The results of what its body has submitted so far."""
        if self.trail is None:
            self.trail = []
        return self.trail

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

    @property
    def properties(self) -> dict[str, Any]:
        """What a message would say of itself, under Celery's keys."""
        return {"correlation_id": self.id, "reply_to": None, "priority": self.priority, **self.delivery_info}

    @property
    def eta(self) -> str | None:
        """When the job was due, as ISO text in UTC; None for one that never waited for a time."""
        return _iso(self.details.due_ms)

    @property
    def expires(self) -> str | None:
        """When the job would have expired, as ISO text in UTC."""
        return _iso(self.details.expires_ms)

    @property
    def time_limit(self) -> float | None:
        """Seconds after which this attempt is stopped."""
        return self.details.hard_ms / 1000 or None

    @property
    def soft_time_limit(self) -> float | None:
        """Seconds after which SoftTimeLimitExceeded is raised in the task."""
        return self.details.soft_ms / 1000 or None

    @property
    def timelimit(self) -> list[float | None]:
        """Both limits: hard, soft."""
        return [self.time_limit, self.soft_time_limit]

    @property
    def deadline(self) -> datetime | None:
        """When the nearest of both limits strikes; None without any."""
        limits = [limit for limit in (self.details.soft_ms, self.details.hard_ms) if limit]
        return _moment(self.details.started_ms + min(limits)) if limits else None

    @property
    def stamps(self) -> dict[str, list[str]]:
        """The job's stamps: each name with its values."""
        found: dict[str, list[str]] = {}
        for stamp in self.details.stamps:
            name, _, value = stamp.partition("=")
            found.setdefault(name, []).append(value)
        return found

    @property
    def stamped_headers(self) -> list[str]:
        """The names of the stamps."""
        return list(self.stamps)

    @property
    def shadow(self) -> str | None:
        """The name to show instead of the task's."""
        return self.details.shadow or None

    @property
    def tenant(self) -> str | None:
        """Whose job it is."""
        return self.details.tenant or None

    @property
    def ordering_key(self) -> str | None:
        """What it is kept in order by."""
        return self.details.ordering_key or None

    @property
    def checkpoint(self) -> Any:
        """What an earlier attempt left; None when none did."""
        return self.details.checkpoint

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute or a header by name."""
        return getattr(self, name, default)

    def __getattr__(self, name: str) -> Any:
        """A header, as Celery shows those that the caller gave."""
        if not name.startswith("_") and name in (headers := self.headers):
            return headers[name]
        raise AttributeError(f"self.request has no {name!r}, and the job no such header")

    def __repr__(self) -> str:
        return f"<Request {self.task} id={self.id} retries={self.retries}>"


def _moment(millis: int) -> datetime:
    return datetime.fromtimestamp(millis / 1000, UTC)


def _iso(millis: int) -> str | None:
    return _moment(millis).isoformat() if millis else None
