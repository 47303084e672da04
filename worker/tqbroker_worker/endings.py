"""From what an attempt returned or raised to what the parent is told of it, with hooks and signals on the way."""

from __future__ import annotations

from contextvars import copy_context
from typing import Any

from tqbroker import context, hooks, signals, states
from tqbroker._failpoint import hit
from tqbroker.codec import encode
from tqbroker.einfo import ExceptionInfo
from tqbroker.exceptions import EncodeError, OperationalError, TimeLimitExceeded
from tqbroker.failures import FailureData, failure_of
from tqbroker.handle import Handle
from tqbroker.ids import text_of
from tqbroker.request import Request
from tqbroker.retrying import Ending, ending_of
from tqbroker_worker.attempts import Attempt
from tqbroker_worker.delivery import Job, Success
from tqbroker_worker.handing import NotFetchedError
from tqbroker_worker.outcomes import Times, ended, shown, trail_of
from tqbroker_worker.plans import Plans
from tqbroker_worker.protocol import Ended, Verdict

MAX_RESULT = 1 << 20
"""Bytes a result may have; the broker refuses larger ones."""


class Endings:
    """Concludes attempts. Results are encoded in `format`; with `show` they are also made readable, for the log."""

    def __init__(self, plans: Plans, format: str, show: bool) -> None:  # noqa: A002
        self._plans = plans
        self._format = format
        self._show = show

    def outcome(self, attempt: Attempt, value: Any, raised: BaseException | None) -> Success | Ended:
        """What to tell the parent of an attempt that returned `value`, or raised; hooks and signals have run then.

        Never raises: who runs jobs would end, and the job with it.
        """
        try:
            return self._outcome(attempt, value, raised)
        except BaseException as error:
            return Ended(attempt.job.token, Verdict.FAILED, failure_of(error), attempt.started_ms, attempt.runtime_us())

    def _outcome(self, attempt: Attempt, value: Any, raised: BaseException | None) -> Success | Ended:
        request = attempt.request
        if raised is None and (request is None or request.retry is None):
            try:
                return self._success(attempt, value)
            except BaseException as error:  # whoever encodes it may raise SystemExit
                raised = error
        if raised is None:
            assert request is not None
            raised = request.retry
        assert raised is not None
        return self._otherwise(attempt, raised)

    def timed_out(self, job: Job, request: Request | None, hard_ms: int) -> Ended:
        """The outcome of a job that was stopped by its hard time limit while its thread or task goes on."""
        return copy_context().run(self._timed_out, job, request, hard_ms)

    def _timed_out(self, job: Job, request: Request | None, hard_ms: int) -> Ended:
        attempt = Attempt(job)
        attempt.plan = plan = self._plans.of(job.head.task)
        attempt.request = request
        attempt.started_ms -= hard_ms
        attempt.clock -= hard_ms / 1000
        if request is not None:
            context.push(plan.task, request)
        error = TimeLimitExceeded(f"hard time limit ({hard_ms / 1000:g}s) exceeded")
        outcome = self._conclude(attempt, Ending(states.FAILURE, error))
        assert isinstance(outcome, Ended)
        assert outcome.failure is not None
        outcome.failure = outcome.failure._replace(traceback="")  # it was not raised anywhere
        return outcome

    def tell(self, attempt: Attempt, ending: Ending) -> None:
        """Runs the hooks and signals of an attempt that ended so; one that was not decoded has none."""
        if attempt.plan is not None and attempt.request is not None:
            hooks.after(attempt.plan.task, attempt.request, ending)

    def _success(self, attempt: Attempt, value: Any) -> Success:
        job, plan = attempt.job, attempt.plan
        assert plan is not None
        runtime_us = attempt.runtime_us()
        hit("child_after_run")
        data = _as_data(value) if isinstance(value, Handle) else value
        result = b"" if job.head.ignore_result else encode(data, self._format)
        if len(result) > MAX_RESULT:
            raise EncodeError(
                f"the result of {job.head.task} has {len(result)} bytes, at most {MAX_RESULT} are allowed: "
                "store it elsewhere and return where, or set ignore_result=True"
            )
        if plan.hooked:
            self.tell(attempt, Ending(states.SUCCESS, value))
        text = shown(value, plan.shown) if self._show else ""
        request = attempt.request
        trail = trail_of(request) if request is not None and request.trail else None
        return Success(job.token, result, attempt.started_ms, runtime_us, text, trail)

    def _otherwise(self, attempt: Attempt, error: BaseException) -> Success | Ended:
        plan, request = attempt.plan, attempt.request
        if isinstance(error, NotFetchedError):
            failure = FailureData("OperationalError", OperationalError.__module__, str(error))
            return Ended(attempt.job.token, Verdict.REQUEUED, failure)
        if plan is None or request is None:
            _internal_error(attempt, error)
            return self._conclude(attempt, Ending(states.FAILURE, error))
        try:
            return self._conclude(attempt, ending_of(plan.task, request, error))
        except EncodeError as unsent:  # the arguments of a retry
            return self._conclude(attempt, Ending(states.FAILURE, unsent))

    def _conclude(self, attempt: Attempt, ending: Ending) -> Success | Ended:
        plan = attempt.plan
        times = Times(attempt.started_ms, attempt.runtime_us())
        outcome = ended(attempt.job, times, ending, plan and plan.task, self._format)
        if plan is not None and plan.hooked:
            self.tell(attempt, ending)
        return _with_trail(outcome, attempt.request)


def _with_trail(outcome: Success | Ended, request: Request | None) -> Success | Ended:
    trail = trail_of(request)
    if isinstance(outcome, Ended):
        outcome.trail = trail
        return outcome
    return outcome._replace(trail=trail)


def _as_data(value: Handle) -> Any:
    """The result of another job, or of a group, that a job returned: it goes as the tuple that stands for it."""
    as_tuple = getattr(value, "as_tuple", None)
    return value if as_tuple is None else as_tuple()


def _internal_error(attempt: Attempt, error: BaseException) -> None:
    """The job could not even be begun: its task or its arguments are not what they should be."""
    signals.task_internal_error.send(
        sender=attempt.job.head.task,
        task_id=text_of(attempt.job.id),
        args=(),
        kwargs={},
        request=attempt.request,
        exception=error,
        traceback=error.__traceback__,
        einfo=ExceptionInfo(error),
    )
