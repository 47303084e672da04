"""AsyncResult: a job seen from outside, here or in another process, now or later."""

from __future__ import annotations

from collections.abc import Generator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, cast

from tqbroker import codec
from tqbroker.batch import active_batch
from tqbroker.exceptions import (
    ResultNotFound,
    TaskRevokedError,
    TimeoutError,  # noqa: A004 - ours is a builtin TimeoutError too
    UnknownJob,
    WorkerLostError,
)
from tqbroker.failures import exception_of
from tqbroker.handle import Handle
from tqbroker.ids import Key, key_of, text_of
from tqbroker.signal_names import signal_name
from tqbroker.states import FINAL, Phase, RevokeEffect, state_of

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.transport import AttemptInfo, JobInfo

R = TypeVar("R")


class Progress(NamedTuple):
    """How far a job is, as its task says."""

    done: float
    total: float
    note: str


class AsyncResult(Handle, Generic[R]):
    """One job by its id. Two results with the same id are equal.

    Properties ask the broker each time until the job has ended; then what was read is kept here. Questions raise
    OperationalError when the broker does not answer within `app.conf.request_timeout` seconds.
    """

    __slots__ = ("__weakref__", "_final", "_key", "app")

    def __init__(self, id: str, app: App | None = None) -> None:  # noqa: A002 - Celery's name
        if app is None:
            raise TypeError("AsyncResult(id) needs the app, which knows the broker: write app.AsyncResult(id)")
        self._key: Key = key_of(id)
        self.app = app
        self._final: JobInfo | None = None

    @classmethod
    def _of(cls, key: Key, app: App) -> AsyncResult[R]:
        """The result of a job made here: its text is written only when somebody asks for it."""
        self = cls.__new__(cls)
        self._key = key
        self.app = app
        self._final = None
        return self

    @property
    def id(self) -> str:
        """The job's id as text."""
        return text_of(self._key)

    task_id = id  # noqa: A003 - the property above
    """Celery's second name for `id`."""

    # -- where it stands ----------------------------------------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        """Our word for where the job stands, finer than `state`: SCHEDULED, QUEUED, RUNNING, ..."""
        return self._info().phase

    @property
    def state(self) -> str:
        """PENDING, STARTED, RETRY, SUCCESS, FAILURE or REVOKED; UNKNOWN when the broker knows no such job.

        While a job runs, the state that its task has named by `self.update_state`, if it has.
        """
        info = self._info()
        named = info.progress.state if info.phase is Phase.RUNNING and info.progress is not None else ""
        return named or state_of(info.phase, info.retries)

    status = state

    def ready(self) -> bool:
        """Whether the job has ended, however it did."""
        info = self._info()
        return info.phase in FINAL or info.forgotten

    def successful(self) -> bool:
        """Whether it ended with a return value."""
        return self._info().phase is Phase.SUCCEEDED

    def failed(self) -> bool:
        """Whether it ended by raising."""
        return self._info().phase is Phase.FAILED

    def exists(self) -> bool:
        """Whether the broker keeps an outcome of this job."""
        return self._info().phase in FINAL

    # -- the outcome --------------------------------------------------------------------------------------------------

    def get(self, timeout: float | None = None, propagate: bool = True) -> R:
        """Waits for the job's end and returns its value; None for a job that ignores its result.

        Raises what the job raised, with the remote traceback as its cause (with `propagate=False` the exception is
        returned instead); TaskRevokedError when it was cancelled or expired; TimeoutError after `timeout` seconds, the
        job goes on; UnknownJob or ResultNotFound at once when there is nothing to wait for. A broker restart is waited
        through. OperationalError when the broker cannot be reached at first; RuntimeError inside of the batch that will
        send the job.
        """
        if self._final is None:
            self._refuse_unsent()
            conf = self.app.conf
            self._settle(self.app.transport.wait(self._key, timeout, conf.request_timeout), timeout)
        return self._outcome(propagate)

    wait = get

    async def aget(self, timeout: float | None = None, propagate: bool = True) -> R:
        """`get` for asyncio."""
        if self._final is None:
            self._refuse_unsent()
            conf = self.app.conf
            self._settle(await self.app.async_transport.wait(self._key, timeout, conf.request_timeout), timeout)
        return self._outcome(propagate)

    def __await__(self) -> Generator[Any, None, R]:
        return self.aget().__await__()

    @property
    def result(self) -> Any:
        """The return value, the exception of a job that ended badly, or None when it has not ended."""
        info = self._info()
        return self._value(info) if info.phase in FINAL else None

    @property
    def info(self) -> Any:
        """`result`; of a job that runs the `meta` that its task has given to `self.update_state`."""
        known = self._info()
        if known.phase is not Phase.RUNNING or known.progress is None or not known.progress.meta:
            return self.result
        return codec.decode(known.progress.meta, known.progress.format or codec.DEFAULT_FORMAT)

    @property
    def progress(self) -> Progress | None:
        """What the task has said by `self.progress` and `self.update_state`; None when it has said nothing."""
        said = self._info().progress
        return Progress(said.done, said.total, said.note) if said is not None else None

    @property
    def attempts(self) -> list[AttemptInfo]:
        """Every attempt that did not end the job, and the one that made it FAILED: worker, times, error, traceback."""
        return self.app.operator.job(self._key).attempts

    @property
    def waits_for(self) -> str:
        """Why a queued job is not handed out, in words; empty when it is simply next, or not queued."""
        return self._info().waits_for

    @property
    def traceback(self) -> str | None:
        """The formatted traceback of a failed job."""
        failure = self._info().failure
        return failure.traceback or None if failure is not None else None

    # -- what is known of it ------------------------------------------------------------------------------------------

    @property
    def name(self) -> str | None:
        """The task's name."""
        return self._info().task or None

    @property
    def args(self) -> tuple[Any, ...] | None:
        """The positional arguments, None when the job is not kept any more."""
        call = self._call()
        return call and call[0]

    @property
    def kwargs(self) -> dict[str, Any] | None:
        """The keyword arguments, None when the job is not kept any more."""
        call = self._call()
        return call and call[1]

    @property
    def queue(self) -> str | None:
        """The queue it was submitted to."""
        return self._info().queue or None

    @property
    def worker(self) -> str | None:
        """The worker that has or had the last attempt."""
        return self._info().worker or None

    @property
    def retries(self) -> int:
        """Attempts that failed and were tried again."""
        return self._info().retries

    @property
    def lost_leases(self) -> int:
        """Attempts that ended because their worker went away or fell silent."""
        return self._info().lost_leases

    @property
    def date_done(self) -> datetime | None:
        """When it ended, as an aware datetime in UTC."""
        millis = self._info().finished_ms
        return datetime.fromtimestamp(millis / 1000, UTC) if millis else None

    # -- what to do with it -------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Drops the stored outcome of a finished job. Its id stays known: a late resend does not run it again."""
        self.app.transport.forget([self._key], self.app.conf.request_timeout)
        self._final = None

    def revoke(self, terminate: bool = False, signal: str | int = "SIGTERM") -> RevokeEffect:
        """Cancels the job durably, and returns what that did.

        A running job goes on, and may look at `self.request.cancelled`, unless `terminate` is set: then its process
        gets `signal`, its coroutine is cancelled, or an exception is raised in its thread. Raises ValueError for what
        is no signal.
        """
        name = signal_name(signal) if terminate else ""
        timeout = self.app.conf.request_timeout
        return self.app.transport.cancel([self._key], timeout, terminate=terminate, signal=name)[0]

    # -- inside -------------------------------------------------------------------------------------------------------

    def _refuse_unsent(self) -> None:
        """A batch sends its jobs when it is left: waiting inside of it would be for nothing."""
        batch = active_batch(self.app)
        if batch is not None and self in batch.results:
            raise RuntimeError(f"job {self.id} is not sent yet: get it after its `with app.batch():` has been left")

    def _info(self) -> JobInfo:
        if self._final is not None:
            return self._final
        return self._keep(self.app.transport.get([self._key], self.app.conf.request_timeout)[0])

    def _keep(self, info: JobInfo) -> JobInfo:
        """What is final cannot change, so it is read once."""
        if info.phase in FINAL:
            self._final = info
        return info

    def _settle(self, info: JobInfo | None, timeout: float | None) -> None:
        if info is None:
            raise TimeoutError(f"job {self.id} has not ended within {timeout:g} s; it goes on, ask again later")
        if info.forgotten:
            raise ResultNotFound(f"the result of job {self.id} is no longer kept: forgotten, or past result_expires")
        if info.phase is Phase.UNKNOWN:
            raise UnknownJob(f"the broker knows no job {self.id}: it was never stored, or dropped long ago")
        self._keep(info)

    def _outcome(self, propagate: bool) -> R:
        assert self._final is not None
        value = self._value(self._final)
        if propagate and self._final.phase is not Phase.SUCCEEDED:
            raise cast(Exception, value)
        return cast(R, value)

    def _value(self, info: JobInfo) -> Any:
        """The return value, or a fresh exception: each caller raises its own."""
        if info.phase is Phase.SUCCEEDED:
            return codec.decode(info.result, info.result_format or codec.DEFAULT_FORMAT)
        if info.phase is Phase.CANCELLED:
            return TaskRevokedError(f"job {self.id} was cancelled")
        if info.phase is Phase.EXPIRED:
            return TaskRevokedError(f"job {self.id} expired before a worker started it")
        if info.failure is None:
            return WorkerLostError(f"job {self.id} lost its worker {info.lost_leases} times")
        return exception_of(info.failure)

    def _call(self) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        info = self.app.transport.get([self._key], self.app.conf.request_timeout, with_args=True)[0]
        return codec.decode_call(info.args, info.format or codec.DEFAULT_FORMAT) if info.args else None

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, AsyncResult) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    def _instead_of_pickling(self) -> str:
        return f"send its id, {self.id!r}, and write app.AsyncResult(id) there"

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<AsyncResult: {self.id}>"
