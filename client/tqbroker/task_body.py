"""What a task is while it runs: its options for that, its hooks, and what its body may ask for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextvars import Token
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NoReturn, overload

from tqbroker import context
from tqbroker.context import Request, request_of
from tqbroker.exceptions import MaxRetriesExceededError, Retry
from tqbroker.handle import Handle
from tqbroker.request_values import Said

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.canvas_signature import Signature

HOOKS = ("before_start", "on_success", "on_retry", "on_failure", "after_return")
MAX_STATE, MAX_NOTE = 255, 1024
"""Characters of a state of the task's own, and of a progress note: a line for people."""


class TaskBody(Handle):
    """The side of Task that its body and its hooks see. Attributes are Celery's, with Celery's defaults."""

    app: App
    name: str

    max_retries: int | None = 3
    """Times that an attempt is repeated; None is for ever."""
    default_retry_delay: float | timedelta = 180
    """Seconds before a retry that says no other."""
    autoretry_for: Any = ()
    """Exceptions after which the job is tried again by itself."""
    dont_autoretry_for: Any = ()
    """Those among them after which it is not."""
    retry_kwargs: Mapping[str, Any] = {}
    """What such a retry is made with: max_retries, countdown, eta, args, kwargs."""
    retry_backoff: bool | float = False
    """Seconds before the first such retry, doubled with each; True is 1."""
    retry_backoff_max: float | timedelta = 600
    """Most seconds that the doubling comes to."""
    retry_jitter: bool = True
    """Draws the real delay between 0 and the computed one."""
    throws: Any = ()
    """Exceptions that are no news: logged in one line, as information. The job is FAILED all the same."""
    time_limit: float | timedelta | None = None
    """Seconds after which an attempt is stopped and the job FAILED; None is the worker's."""
    soft_time_limit: float | timedelta | None = None
    """Seconds after which SoftTimeLimitExceeded is raised in the task; None is the worker's."""
    rate_limit: Any = None
    """Most starts per time, over all workers."""
    max_concurrency: int | None = None
    """Most jobs of this task at once, over all workers."""
    acks_late: bool = True
    """False: a job that was lost with its worker is not run again."""
    trail: bool = True
    """False: a job does not remember what it has submitted; see `self.request.children`."""

    MaxRetriesExceededError = MaxRetriesExceededError
    own_hooks: frozenset[str] = frozenset()
    """Names of the hooks that this task has."""

    _pushed: list[Token[context.Running | None]]

    @abstractmethod
    def check(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raises TypeError when the arguments do not fit the function."""

    # -- hooks, for subclasses: see tqbroker.hooks for their order ----------------------------------------------------

    def before_start(self, task_id: Any, args: Any, kwargs: Any) -> None:
        """Called before the body. What it raises the attempt fails with."""

    def on_success(self, retval: Any, task_id: Any, args: Any, kwargs: Any) -> None:
        """Called when the body has returned and its result can be sent."""

    def on_retry(self, exc: Any, task_id: Any, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called when the job will be tried again."""

    def on_failure(self, exc: Any, task_id: Any, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called when the job has failed for good."""

    def after_return(self, status: Any, retval: Any, task_id: Any, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called last, but not after a retry. `status` is SUCCESS, FAILURE or REVOKED."""

    # -- for the body -------------------------------------------------------------------------------------------------

    @property
    def request(self) -> Request:
        """The job being run here; that of a direct call outside of a worker."""
        return request_of(self)

    @overload
    def retry(
        self,
        args: Sequence[Any] | None = ...,
        kwargs: Mapping[str, Any] | None = ...,
        exc: BaseException | None = ...,
        throw: Literal[True] = ...,
        eta: datetime | str | None = ...,
        countdown: float | timedelta | None = ...,
        max_retries: int | None = ...,
        **options: Any,
    ) -> NoReturn: ...

    @overload
    def retry(
        self,
        args: Sequence[Any] | None = ...,
        kwargs: Mapping[str, Any] | None = ...,
        exc: BaseException | None = ...,
        *,
        throw: bool,
        eta: datetime | str | None = ...,
        countdown: float | timedelta | None = ...,
        max_retries: int | None = ...,
        **options: Any,
    ) -> Retry: ...

    def retry(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: datetime | str | None = None,
        countdown: float | timedelta | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> Retry:
        """Ends this attempt and has the job run again, in `countdown` seconds or at `eta`.

        Raises Retry, which the body must let pass (`raise self.retry(exc=error)`); with `throw=False` returns it, and
        the job is tried again when the body has returned. `exc` is why. When the job was retried `max_retries` times
        already (by default the task's), raises `exc`, else MaxRetriesExceededError. `args` and `kwargs` replace the
        job's. Outside of a worker raises `exc`, else Retry. Raises TypeError for other options: a job keeps its queue,
        priority and the like over all attempts.
        """
        from tqbroker.retrying import call_of, plan, raise_from_here

        if options:
            raise TypeError(
                f"retry of {self.name} takes no {', '.join(sorted(options))}: a job keeps its queue, priority and the "
                "like over all attempts; allowed are args, kwargs, exc, throw, eta, countdown, max_retries"
            )
        request = self.request
        if request.called_directly:
            raise_from_here(exc if isinstance(exc, BaseException) else Retry("Task can be retried", exc))
        call = call_of(request, args, kwargs)
        if call is not None:
            self.check(*call)
        retry = plan(self, request, exc, call=call, when=countdown if eta is None else eta, max_retries=max_retries)
        if throw:
            raise retry from exc if isinstance(exc, BaseException) else None
        request.retry = retry
        return retry

    def update_state(self, task_id: str | None = None, state: str | None = None, meta: Any = None, **_: Any) -> None:
        """Says in what state of its own this job is, with a value that goes with it; see AsyncResult.state and info.

        It is part of the progress of the running attempt and never overwrites how the job ends. Without a `state` the
        one named before stays. Raises ValueError for another job's `task_id`. Does nothing outside of a worker.
        """
        if task_id is not None and task_id != self.request.id:
            raise ValueError(f"update_state(task_id={task_id!r}): a job speaks for itself only, leave task_id out")
        said = self.request.said
        self._say(said._replace(state=said.state if state is None else state, meta=meta))

    def progress(self, done: float = 0, total: float = 0, note: str = "", *, meta: Any = None) -> None:
        """Says how far this job is: `done` of `total` (0: not known), and a line for people.

        What `update_state` has said stays, but for a `meta` given here. Cheap: of what is said many times a second the
        broker gets a few, and always the last. Does nothing outside of a worker.
        """
        said = self.request.said
        meta = said.meta if meta is None else meta
        self._say(Said(said.state, meta, _amount("done", done), _amount("total", total), note))

    def checkpoint(self, data: Any, timeout: float | None = None) -> None:
        """Stores where this job can go on; its next attempt finds it in `self.request.checkpoint`.

        Returns when it is durable. Raises EncodeError for what cannot be sent, LeaseLostError when this attempt does
        not count any more, and OperationalError when nothing is known after `timeout` seconds
        (`app.conf.submit_timeout` by default). Does nothing outside of a worker.
        """
        request = self.request
        if request.channel is not None:
            request.channel.checkpoint(request, data, self.app.conf.submit_timeout if timeout is None else timeout)

    async def acheckpoint(self, data: Any, timeout: float | None = None) -> None:
        """`checkpoint` for asyncio: the loop goes on meanwhile."""
        import asyncio

        await asyncio.to_thread(self.checkpoint, data, timeout)

    def send_event(self, type_: str, **fields: Any) -> None:
        """Logs the event: the broker keeps events of jobs itself, and none of other kinds."""
        import logging

        logger = logging.getLogger("tqbroker.task")
        logger.info("event %s of %s[%s]: %r", type_, self.name, self.request.id, fields)

    # -- its workflow --------------------------------------------------------------------------------------------------

    def replace(self, sig: Signature[Any]) -> NoReturn:
        """Has a signature run in place of this job, and ends the attempt: `raise self.replace(sig)`.

        What waits for this job, or asks for its result, gets that of the signature; of a group the list of its results.
        The end of the attempt and the start of the signature are one commit. Raises RuntimeError outside of a job,
        TypeError for what is no signature, ImproperlyConfigured for an empty chain, and what `apply_async` raises.
        """
        from tqbroker.replacing import replacement

        self.on_replace(replacement(self, sig))
        raise RuntimeError(f"on_replace of {self.name} has returned: it must end with super().on_replace(sig)")

    def on_replace(self, sig: Signature[Any]) -> Any:
        """Called by `replace` with what is to run: stores it, and ends the attempt. For subclasses to look at it."""
        from tqbroker.replacing import replace

        replace(self, sig)

    def add_to_chord(self, sig: Signature[Any], lazy: bool = False) -> Any:
        """Adds a signature to the header of the chord that this job is in: the body waits for it too, and gets its
        result last in the list.

        Submits it and returns its result; with `lazy` returns the signature, to be sent while this job still runs.
        Raises RuntimeError outside of a job and ValueError when it is in no chord.
        """
        from tqbroker.replacing import added

        wanted = added(self, sig)
        return wanted if lazy else wanted.apply_async()

    # -- for tests ----------------------------------------------------------------------------------------------------

    def push_request(self, **fields: Any) -> None:
        """Makes `self.request` one with these fields, until `pop_request`."""
        others = {
            name: fields.pop(name) for name in ("called_directly", "cancelled", "details", "is_eager") if name in fields
        }
        request = Request(**{"task": self.name, **fields})
        for name, value in others.items():
            setattr(request, name, value)
        self._pushed.append(context.push(self, request))

    def pop_request(self) -> None:
        """Undoes one `push_request`."""
        context.pop(self._pushed.pop())

    def _say(self, said: Said) -> None:
        state, note = said.state, said.note
        if not (_is_text(state, MAX_STATE) and _is_text(note, MAX_NOTE)):
            allowed = f"text of at most {MAX_STATE} and {MAX_NOTE} characters, without lone surrogates"
            raise ValueError(f"state {state!r:.80} and note {note!r:.80} must be {allowed}")
        request = self.request
        if request.channel is not None:
            request.channel.note(request, *said)
            request.said = said


def _is_text(value: Any, most: int) -> bool:
    """Whether this is text that the wire carries: UTF-8 has no lone surrogates."""
    return isinstance(value, str) and len(value) <= most and not any("\ud800" <= each <= "\udfff" for each in value)


def _amount(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise ValueError(f"progress {name}={value!r} is not allowed: give a number from 0 up")
    return float(value)
