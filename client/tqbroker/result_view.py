"""What the broker says of one job, as properties: asked anew each time until it can change no more."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from tqbroker import codec
from tqbroker.handle import Handle
from tqbroker.ids import Key, text_of
from tqbroker.outcomes import lasts, said_by, state_named, value_of
from tqbroker.states import FINAL, Phase

if TYPE_CHECKING:
    from tqbroker.app import App
    from tqbroker.transport import AttemptInfo, JobInfo


class Progress(NamedTuple):
    """How far a job is, as its task says."""

    done: float
    total: float
    note: str


class ResultView(Handle):
    """One job by its id. Two views of the same id are equal.

    Properties ask the broker each time until the job has ended for good; then what was read is kept here. A job that
    FAILED is asked for each time: somebody may redrive it. Questions raise OperationalError when the broker does not
    answer within `app.conf.request_timeout` seconds.
    """

    __slots__ = ("_final", "_key", "app")

    app: App
    _key: Key
    _final: JobInfo | None

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
        return state_named(self._info())

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

    # -- how it ended -------------------------------------------------------------------------------------------------

    @property
    def result(self) -> Any:
        """The return value, the exception of a job that ended badly, or None when it has not ended."""
        info = self._info()
        return value_of(info) if info.phase in FINAL else None

    @property
    def info(self) -> Any:
        """`result`; of a job that runs the `meta` that its task has given to `self.update_state`."""
        known = self._info()
        return value_of(known) if known.phase in FINAL else said_by(known)

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

    @property
    def workflow_id(self) -> str | None:
        """The id of the workflow that it is part of, for `tqbroker workflows show`."""
        workflow = self._info().workflow
        return text_of(workflow) if workflow else None

    @property
    def group_id(self) -> str | None:
        """The id of the group that it is a member of."""
        group = self._info().group
        return text_of(group) if group else None

    # -- inside -------------------------------------------------------------------------------------------------------

    def _info(self) -> JobInfo:
        if self._final is not None:
            return self._final
        return self._keep(self.app.transport.get([self._key], self.app.conf.request_timeout)[0])

    def _keep(self, info: JobInfo) -> JobInfo:
        if lasts(info):
            self._final = info
        return info

    def _call(self) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        info = self.app.transport.get([self._key], self.app.conf.request_timeout, with_args=True)[0]
        return codec.decode_call(info.args, info.format or codec.DEFAULT_FORMAT) if info.args else None

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, ResultView) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    def _instead_of_pickling(self) -> str:
        return f"send its id, {self.id!r}, and write app.AsyncResult(id) there"

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id}>"
