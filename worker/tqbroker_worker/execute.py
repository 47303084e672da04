"""One delivery to one outcome: decode, call, encode. Whatever the task does, an outcome comes back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextvars import copy_context
from time import perf_counter, time
from types import CoroutineType
from typing import Any

from tqbroker import context, hooks, signals, states
from tqbroker._failpoint import hit
from tqbroker.app import App
from tqbroker.codec import decode, decode_call, encode
from tqbroker.context import Request
from tqbroker.einfo import ExceptionInfo
from tqbroker.exceptions import EncodeError, TimeLimitExceeded, WorkerLostError
from tqbroker.failures import exception_of
from tqbroker.ids import text_of
from tqbroker.request import Channel, Details
from tqbroker.retrying import Ending, ending_of
from tqbroker_worker.delivery import Job, Success, jobs_of
from tqbroker_worker.guard import Guard
from tqbroker_worker.limits import Bounds, TimeLimits
from tqbroker_worker.outcomes import Times, ended, shown
from tqbroker_worker.plans import Plan, Plans
from tqbroker_worker.protocol import Ended, Extra, Failed, Traits, Verdict
from tqbroker_worker.slots import Slot, Slots

MAX_RESULT = 1 << 20
"""Bytes a result may have; the broker refuses larger ones."""

_NO_TRAITS, _NO_EXTRA = Traits(), Extra()
_NO_CALL: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})


class Attempt:
    """One job on its way through an executor. `request` and `plan` are there once it is decoded."""

    __slots__ = ("call", "clock", "job", "plan", "request", "started_ms")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.started_ms = int(time() * 1000)
        self.clock = perf_counter()
        self.plan: Plan | None = None
        self.request: Request | None = None
        self.call: tuple[tuple[Any, ...], dict[str, Any]] = _NO_CALL

    def runtime_us(self) -> int:
        """Microseconds since it began."""
        return int((perf_counter() - self.clock) * 1_000_000)


class Executor:
    """Runs jobs of one app, in the thread or the loop of the caller.

    `worker` is the name that tasks see as `self.request.hostname`. With `show` results are also made readable, for
    the log. `channel` takes what running jobs say of themselves.
    """

    def __init__(
        self,
        app: App,
        worker: str,
        show: bool,
        *,
        slots: Slots | None = None,
        limits: TimeLimits | None = None,
        channel: Channel | None = None,
    ) -> None:
        self.format = app.conf.result_format
        self.slots = slots or Slots(lambda _number: None)
        self.limits = limits or TimeLimits(app.tasks)
        self.plans = Plans(app.tasks)
        self._worker = worker
        self._show = show
        self._channel = channel
        self._loops = threading.local()

    # -- in a thread --------------------------------------------------------------------------------------------------

    def run(self, job: Job, slot: Slot) -> Success | Ended | None:
        """Runs a job here; an `async def` task runs in an event loop that this thread keeps for such tasks.

        None when the slot was abandoned meanwhile: the outcome was told by somebody else.
        """
        return copy_context().run(self._run, job, slot)

    def _run(self, job: Job, slot: Slot) -> Success | Ended | None:
        """In a context that ends with the job: what it sets there, no other job sees."""
        attempt = Attempt(job)
        value: Any = None
        raised: BaseException | None = None
        try:
            value = slot.run(job, self._body, attempt, slot)
        except BaseException as error:  # SystemExit too: a task does not end its worker
            raised = error
        if slot.abandoned:
            return None
        return self.outcome(attempt, value, raised)

    def _body(self, attempt: Attempt, slot: Slot) -> Any:
        """What the task returns."""
        bounds = self.prepare(attempt)
        plan, request = attempt.plan, attempt.request
        assert plan is not None
        assert request is not None
        if bounds.soft_ms or bounds.hard_ms:
            slot.limit(bounds.soft_ms, bounds.hard_ms)
        self.slots.begun(slot, attempt.job, request)
        if plan.hooked:
            hooks.before(plan.task, request)
        args, kwargs = attempt.call
        value = plan.body(*args, **kwargs)
        return self._await(value, slot) if type(value) is CoroutineType else value

    def _await(self, coroutine: Coroutine[Any, Any, Any], slot: Slot) -> Any:
        runner: asyncio.Runner | None = getattr(self._loops, "runner", None)
        if runner is None:
            runner = self._loops.runner = asyncio.Runner()
        slot.guard = guard = Guard(coroutine, runner.get_loop())
        return runner.run(guard.run(), context=copy_context())  # the runner's own context is that of its first job

    def close(self) -> None:
        """Ends the event loop of this thread, if async tasks ever ran in it."""
        runner: asyncio.Runner | None = getattr(self._loops, "runner", None)
        if runner is not None:
            runner.close()
            del self._loops.runner

    # -- steps that all ways of running share -------------------------------------------------------------------------

    def prepare(self, attempt: Attempt) -> Bounds:
        """Decodes the call, and puts the request in place for the rest of this context."""
        job = attempt.job
        head = job.head
        plan = self.plans.of(head.task)
        attempt.plan = plan
        attempt.call = args, kwargs = decode_call(job.args, head.format)
        hit("child_before_run")
        bounds = self.limits.of(head)
        request = Request(
            text_of(job.id),
            head.task,
            args,
            kwargs,
            retries=job.retries,
            lost_leases=job.lost,
            hostname=self._worker,
            queue=head.queue,
            priority=head.priority,
            headers=decode(head.headers, head.format) if head.headers else None,
            fence=job.token,
            ignore_result=head.ignore_result,
            channel=self._channel,
        )
        if head.traits is not None or job.extra is not None or bounds.soft_ms or bounds.hard_ms:
            request.details = _details(attempt, bounds)
        if plan.task.own_call:
            request.entered = False
        attempt.request = request
        context.push(plan.task, request)
        if job.lost and plan.task.acks_late is False:
            raise WorkerLostError(f"{head.task} has acks_late=False, and the worker that had this job was lost")
        return bounds

    def outcome(self, attempt: Attempt, value: Any, raised: BaseException | None) -> Success | Ended:
        """What to tell the parent of an attempt that returned `value`, or raised; hooks and signals have run then."""
        request = attempt.request
        if raised is None and (request is None or request.retry is None):
            try:
                return self._success(attempt, value)
            except Exception as error:
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
        attempt.plan = plan = self.plans.of(job.head.task)
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

    def failed(self, message: Failed) -> None:
        """Runs hooks and signals of a job that the parent has ended itself."""
        for job in jobs_of(message.jobs):
            copy_context().run(self._failed, job, message)

    def _failed(self, job: Job, message: Failed) -> None:
        attempt = Attempt(job)
        try:
            self.prepare(attempt)
        except Exception:  # it failed for another reason first; who has no request has no hooks
            return
        state = states.REVOKED if message.verdict is Verdict.CANCELLED else states.FAILURE
        self._told(attempt, Ending(state, exception_of(message.failure)))

    def _success(self, attempt: Attempt, value: Any) -> Success:
        job, plan = attempt.job, attempt.plan
        assert plan is not None
        runtime_us = attempt.runtime_us()
        hit("child_after_run")
        result = b"" if job.head.ignore_result else encode(value, self.format)
        if len(result) > MAX_RESULT:
            raise EncodeError(
                f"the result of {job.head.task} has {len(result)} bytes, at most {MAX_RESULT} are allowed: "
                "store it elsewhere and return where, or set ignore_result=True"
            )
        if plan.hooked:
            self._told(attempt, Ending(states.SUCCESS, value))
        text = shown(value, plan.shown) if self._show else ""
        return Success(job.token, result, attempt.started_ms, runtime_us, text)

    def _otherwise(self, attempt: Attempt, error: BaseException) -> Success | Ended:
        plan, request = attempt.plan, attempt.request
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
        outcome = ended(attempt.job, times, ending, plan and plan.task, self.format)
        if plan is not None and plan.hooked:
            self._told(attempt, ending)
        return outcome

    def _told(self, attempt: Attempt, ending: Ending) -> None:
        if attempt.plan is not None and attempt.request is not None:
            hooks.after(attempt.plan.task, attempt.request, ending)


def _details(attempt: Attempt, bounds: Bounds) -> Details:
    traits = attempt.job.head.traits or _NO_TRAITS
    extra = attempt.job.extra or _NO_EXTRA
    return Details(
        due_ms=extra.due_ms,
        expires_ms=extra.expires_ms,
        started_ms=attempt.started_ms,
        soft_ms=bounds.soft_ms,
        hard_ms=bounds.hard_ms,
        shadow=traits.shadow,
        stamps=traits.stamps,
        tenant=traits.tenant,
        ordering_key=traits.ordering_key,
        checkpoint=None if extra.checkpoint is None else decode(extra.checkpoint, extra.checkpoint_format),
    )


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
